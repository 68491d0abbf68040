"""One trial: a record begun, an attempt made, its figures taken, the record finished."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime

from harness import __version__
from harness.analysis.readings import sample_gaps, telemetry_figures
from harness.bench.attempt import Attempt
from harness.bench.cable import CableWatch
from harness.bench.drive import AttemptRunner
from harness.bench.labels import Labels
from harness.bench.limits import checked
from harness.bench.listener import Listener
from harness.bench.models import LocalModel
from harness.bench.plan import Case, PlannedTrial
from harness.bench.preflight import Preflights, with_error
from harness.bench.ready import wait_until_ready
from harness.bench.step_log import StepLog
from harness.bench.suite_rules import Limit
from harness.core.errors import HarnessError
from harness.core.job import CacheState, Guard, Job, Prewarm
from harness.core.outcome import Evidence, EvidenceKind, HostFailure, Known, Outcome, classify
from harness.core.record import TrialRecord, TrialState
from harness.device.errors import BrokenConnection, StepError
from harness.device.evidence import ReportBook
from harness.device.interface import PhoneCondition
from harness.device.push import PushedModel
from harness.device.readiness import Needs, Unmet, unmet_by_phone
from harness.device.session import PhoneSession
from harness.store.database import ResultStore

# Below a trial's artifacts: those of the load that filled the weight cache for it.
FILL_FOLDER = "cache-fill"
# The runner's word for a file whose digest is not the one asked for.
WRONG_DIGEST = "wrong_digest"

log = logging.getLogger(__name__)


def new_id(now: datetime) -> str:
    """Sorts by time; unique by its random end."""
    return f"{now:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}"


class TrialRunner:
    """Runs trials of one run in one app on one phone, and remembers which weight caches they have left there."""

    def __init__(
        self,
        session: PhoneSession,
        store: ResultStore,
        labels: Labels,
        listener: Listener,
        book: ReportBook,
        preflights: Preflights,
    ) -> None:
        """`book`: the phone's, so shared with the other apps on it."""
        self._session = session
        self._store = store
        self._labels = labels
        self._listener = listener
        self._warm_caches: set[tuple[str, str, str]] = set()
        self._book = book
        self._attempt = Attempt()
        self._condition = PhoneCondition()
        self._cooled_ns = 0
        self._limits: tuple[Limit, ...] = ()
        self._preflights = preflights
        self._at_hand: tuple[Case, LocalModel] | None = None
        self._fill = False
        """Whether the trial at hand needs its weight cache filled first."""
        self.steps = StepLog()
        """Of the trial at hand, or of the last one."""

    @property
    def bundle_id(self) -> str:
        """Of the app."""
        return self._session.runner.bundle_id

    def forget_phone(self) -> None:
        """Another build had the app's place on the phone since the last trial: nothing known of it holds."""
        self._session.forget_app()
        self._warm_caches.clear()

    @property
    def pushed_bytes(self) -> int:
        """What has gone to the phone for this app's trials so far."""
        return self._session.pushed_bytes

    async def preflight_refusal(self, planned: PlannedTrial, model: LocalModel) -> str | None:
        """Why the trial is not begun although there is room for it in the budget; None: it is."""
        return await self._preflights.refusal(planned.case, model, fill=self._fills_first(planned.case, model))

    def _fills_first(self, case: Case, model: LocalModel) -> bool:
        cache = (model.sha256, case.engine, case.backend)
        return case.cache is CacheState.WARM and cache not in self._warm_caches

    async def missing_bytes(self, model: LocalModel) -> int:
        """What a trial with the model would have to push. Raises StepError."""
        return await self._session.missing_bytes(model.path, model.sha256, model.size_bytes)

    async def run(self, planned: PlannedTrial, model: LocalModel) -> TrialRecord:
        """The finished record, also when the trial failed. Re-raises a cancellation after the record is kept."""
        self.steps = StepLog()
        self._at_hand, self._fill = (planned.case, model), self._fills_first(planned.case, model)
        with self.steps.step("begin"):
            await self._preflights.model_file(model)
            record = self._store.begin(self._first_record(planned, model))
        self._attempt = Attempt()
        self._condition, self._cooled_ns = PhoneCondition(), 0
        self._limits = planned.case.limits
        async with CableWatch(self._session.transport, planned.case.options.grace_s) as cable:
            try:
                pushed = await self._prepare(planned.case, model, cable)
                if pushed is not None:
                    await self._measure(record, planned.case, _job(planned.case, pushed, model), cable)
                    await self._forget_harmed(model)
            except BaseException as error:
                # Ctrl-C, or a fault of our own: the record says so, and the error goes on its way
                if self._attempt.host_failure is None:
                    self._fail(HostFailure(Outcome.HARNESS_ERROR, "trial", _blame(error)))
                self._finish(replace(record, cut_short=True), cable)
                raise
            return self._finish(record, cable)

    async def _prepare(self, case: Case, model: LocalModel, cable: CableWatch) -> PushedModel | None:
        """The phone ready, the app and the model in place; None when a step failed."""
        session = self._session
        try:
            with self.steps.step("ready"):
                self._cooled_ns = await wait_until_ready(
                    lambda: self._unmet(case.needs, cable), case.needs, session.facts.udid, self._listener
                )
            with self.steps.step("app"):
                await cable.persist(session.ensure_app, once_more=False)
            with self.steps.step("preflight"):
                await self._preflights.before_push(case, model, fill=self._fill)
            with self.steps.step("model"):
                return await session.ensure_model(model.path, model.sha256, case.options.grace_s)
        except StepError as error:
            present: bool | None = None
            with suppress(StepError):
                present = await session.transport.is_present()
            told = await self._refusal_behind(error) if present else error
            self._fail(HostFailure(told.outcome, told.step, told.message), present)
            return None

    async def _refusal_behind(self, error: StepError) -> StepError:
        """A connection that broke may be a phone that has withdrawn its trust: asked, it says so."""
        if isinstance(error, BrokenConnection):
            try:
                await self._session.transport.condition()
            except StepError as told:
                return told if told.outcome is Outcome.NOT_READY else error
        return error

    async def _unmet(self, needs: Needs, cable: CableWatch) -> list[Unmet]:
        self._condition = await cable.persist(self._session.transport.condition)
        return unmet_by_phone(needs, self._session.facts, self._condition)

    def _fail(self, failure: HostFailure, phone_present: bool | None = None) -> None:
        self._attempt.host_failure = failure
        self._attempt.classification = classify(Known(host_failure=failure, phone_present=phone_present))

    async def _forget_harmed(self, model: LocalModel) -> None:
        """A file that the runner found to be another than its name says must not stay under that name."""
        error = self._attempt.observation.error
        if error is None or error.kind != WRONG_DIGEST:
            return
        try:
            await self._session.forget_model(model.sha256)
        except StepError as trouble:
            self._attempt.findings.problems.append(str(trouble))

    async def _measure(self, record: TrialRecord, case: Case, job: Job, cable: CableWatch) -> None:
        """A warm trial whose cache this run has not built gets it from an unmeasured cold load first."""
        cache = (job.sha256, job.engine, job.backend)
        if job.cache is CacheState.WARM and cache not in self._warm_caches:
            cold = job.filling_the_cache()
            with self.steps.step("cache_fill"):
                await self._load(record, case, cold, cable, fill=True)
            if not self._attempt.measured:
                self._attempt = _blamed_on_fill(self._attempt)
                return
        if job.cache is CacheState.COLD:
            self._warm_caches.discard(cache)
        await self._load(record, case, job, cable, fill=False)
        if self._attempt.measured and job.cache is not CacheState.NONE:
            self._warm_caches.add(cache)

    async def _load(self, record: TrialRecord, case: Case, job: Job, cable: CableWatch, *, fill: bool) -> None:
        """One process of the runner; `fill` loads are kept as files beside the trial's, not as telemetry."""
        artifacts = self._store.artifacts_dir(record.trial_id)
        trial_id, steps = record.trial_id, self.steps
        with ExitStack() as stack:
            spool = None
            if fill:
                trial_id, artifacts, steps = f"{trial_id}-fill", artifacts / FILL_FOLDER, StepLog()
                artifacts.mkdir()
            else:
                spool = stack.enter_context(self._store.spool(trial_id))
            runner = AttemptRunner(
                self._session,
                cable,
                self._book,
                trial_id,
                artifacts,
                spool,
                self._listener,
                steps,
                needs=case.needs,
                progress_limit_s=case.options.progress_limit_s,
                grace_s=case.options.grace_s,
            )
            self._attempt = runner.attempt
            if self._condition.clock_offset_ns is not None:
                self._attempt.findings.phone_clock_offsets_ns.append(self._condition.clock_offset_ns)
            try:
                await runner.run(job)
            finally:
                self._preflights.hear(self._attempt.app_reading, self._attempt.observation.hello)

    def _first_record(self, planned: PlannedTrial, model: LocalModel) -> TrialRecord:
        case, facts, now = planned.case, self._session.facts, datetime.now(UTC)
        return TrialRecord(
            trial_id=new_id(now),
            run_id=self._labels.run_id,
            build=self._labels.build,
            arm=self._labels.arm,
            host_name=self._labels.host_name or socket.gethostname(),
            suite=case.suite,
            case=case.name,
            ordinal=planned.ordinal,
            attempt=planned.attempt,
            suite_digest=case.suite_digest,
            state=TrialState.RUNNING,
            started_at=now.isoformat(),
            host_pid=os.getpid(),
            harness_version=__version__,
            transport=self._session.transport.name,
            device_kind=facts.kind,
            device_udid=facts.udid,
            device_product_type=facts.product_type,
            device_os_version=facts.os_version,
            device_os_build=facts.os_build,
            device_settings=facts.settings,
            app_variant=self._session.runner.variant,
            engine=case.engine,
            model_name=model.name,
            model_file=model.path.name,
            model_sha256=model.sha256,
            model_bytes=model.size_bytes,
            model_quantization=model.quantization,
            backend_requested=case.backend,
            cache_state=case.cache,
            max_tokens=case.options.max_tokens,
            decode_tokens=case.options.decode_tokens,
            sample_hz=case.options.sample_hz,
            seed=case.options.seed,
            prewarm=case.options.prewarm,
            prewarm_chunk_bytes=case.options.prewarm_chunk_bytes if case.options.prewarm else None,
            warmup=case.options.warmup,
            guard_reserve_bytes=case.options.guard_reserve_bytes,
            copies=case.options.copies,
            expected_outcome=case.expected,
            **self._preflights.model_columns(model),
        )

    def _finish(self, record: TrialRecord, cable: CableWatch) -> TrialRecord:
        with self.steps.step("record"):
            return self._keep(record, cable)

    def _keep(self, record: TrialRecord, cable: CableWatch) -> TrialRecord:
        attempt, condition = self._attempt, self._condition
        app = attempt.app_reading
        offset_ns = attempt.clock.offset_ns if attempt.clock else None
        seen, result = attempt.observation, attempt.observation.result
        readings = attempt.readings
        figures, gaps = telemetry_figures(readings), sample_gaps(readings, record.sample_hz)
        phone_clocks = attempt.findings.phone_clock_offsets_ns
        entitlements = self._session.entitlements
        done = replace(
            record,
            finished_at=datetime.now(UTC).isoformat(),
            battery_celsius=condition.battery_celsius,
            battery_percent=condition.battery_percent,
            battery_charging=condition.charging,
            thermal_state_start=app.thermal,
            low_power=app.low_power,
            free_bytes=condition.free_bytes,
            ram_bytes=app.ram_bytes,
            phone_locked=condition.locked,
            developer_mode=condition.developer_mode,
            developer_image=condition.developer_image,
            cooled_ns=self._cooled_ns + attempt.cooled_ns,
            app_bundle_id=self._session.runner.bundle_id,
            app_build=seen.hello.build if seen.hello else None,
            app_commit=self._session.runner.commit,
            app_ballast_bytes=self._session.runner.ballast_bytes,
            app_entitlements=None if entitlements is None else dict(entitlements),
            engine_version=seen.hello.engines.get(record.engine) if seen.hello else None,
            backend_effective=seen.backend.effective if seen.backend else None,
            backend_how=seen.backend.how if seen.backend else None,
            outcome=attempt.classification.outcome,
            outcome_family=attempt.classification.outcome.family,
            reason=attempt.classification.reason,
            evidence=(
                *attempt.classification.evidence,
                *(Evidence(EvidenceKind.STEP, problem) for problem in attempt.findings.problems),
            ),
            pid=attempt.pid,
            phases=tuple(seen.phases),
            notices=tuple(seen.notices),
            # the step that writes this record is in it without its end
            host_steps=self.steps.steps(offset_ns),
            cuts=tuple(cut.on_app_clock(offset_ns) for cut in cable.cuts),
            load_ns=result.load_ns if result else None,
            ttft_ns=result.ttft_ns if result else None,
            prefill_tokens=result.prefill_tokens if result else None,
            prefill_tokens_per_s=result.prefill_tps if result else None,
            decoded_tokens=result.decode_tokens if result else None,
            decode_tokens_per_s=result.decode_tps if result else None,
            peak_footprint_bytes=figures.peak_footprint_bytes,
            peak_resident_bytes=figures.peak_resident_bytes,
            # of a process that died, the mark of its last ended phase would be too low: then there is none
            kernel_peak_resident_bytes=result.kernel_peak_resident if result else None,
            leftover_footprint_bytes=result.leftover_footprint if result else None,
            footprint_limit_bytes=figures.footprint_limit_bytes,
            host_peak_footprint_bytes=figures.host_peak_footprint_bytes,
            output_sha256=result.output_sha256 if result else None,
            sample_count=figures.sample_count,
            sample_gap_max_ns=figures.sample_gap_max_ns,
            sample_gap_count=gaps.count if figures.sample_count else None,
            sample_gap_limit_ns=gaps.limit_ns,
            sample_gaps=gaps.longest,
            last_sample_ns=figures.last_sample_ns,
            seq_missing=attempt.missing_events,
            clock_offset_ns=offset_ns,
            clock_round_trip_ns=attempt.clock.round_trip_ns if attempt.clock else None,
            clock_offset_end_ns=attempt.clock_end.offset_ns if attempt.clock_end else None,
            clock_round_trip_end_ns=attempt.clock_end.round_trip_ns if attempt.clock_end else None,
            phone_clock_offset_ns=condition.clock_offset_ns,
            phone_clock_offset_end_ns=phone_clocks[1] if len(phone_clocks) > 1 else None,
            artifacts_dir=f"artifacts/{record.trial_id}",
        )
        assert self._at_hand is not None, "a trial is at hand"
        told = self._preflights.columns(*self._at_hand, fill=self._fill)
        done = replace(done, **with_error(told, done.outcome, done.peak_footprint_bytes))
        done = replace(done, broken_limits=checked(done, self._limits))
        try:
            return self._store.finish(done, readings)
        except (HarnessError, ValueError, TypeError) as error:
            # a figure that no column takes must not cost the outcome, nor leave the record running
            log.exception("trial %s: its figures could not be kept", record.trial_id)
            reason = f"{done.reason!a}; its figures could not be kept: {error!a}"
            bare = replace(
                record, finished_at=done.finished_at, outcome=done.outcome, outcome_family=done.outcome_family,
                reason=reason, artifacts_dir=done.artifacts_dir, broken_limits=done.broken_limits,
            )  # fmt: skip  # one field a line would hide what is kept
            return self._store.finish(bare, [])


def _blamed_on_fill(fill: Attempt) -> Attempt:
    """The end of a cache fill as the end of the trial that needed it: its verdict and evidence, none of its figures."""
    told = fill.classification
    evidence = tuple(
        replace(item, file=None if item.file is None else f"{FILL_FOLDER}/{item.file}") for item in told.evidence
    )
    reason = f"while the weight cache was filled for it: {told.reason}"
    blamed = Attempt(host_failure=fill.host_failure, classification=replace(told, reason=reason, evidence=evidence))
    blamed.findings.problems = fill.findings.problems
    return blamed


def _job(case: Case, pushed: PushedModel, model: LocalModel) -> Job:
    options = case.options
    return Job(
        model=pushed.path,
        sha256=model.sha256,
        engine=case.engine,
        backend=case.backend,
        cache=case.cache,
        max_tokens=options.max_tokens,
        prompt=options.prompt,
        decode_tokens=options.decode_tokens,
        sample_hz=options.sample_hz,
        hold_ms=options.hold_ms,
        seed=options.seed,
        prewarm=None if options.prewarm is None else Prewarm(options.prewarm, options.prewarm_chunk_bytes),
        warmup=options.warmup,
        guard=None if options.guard_reserve_bytes is None else Guard(options.guard_reserve_bytes),
        copies=options.copies,
    )


def _blame(error: BaseException) -> str:
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
        return "interrupted"
    return f"{type(error).__name__}: {error}"
