"""One trial: a record begun, an attempt made, its figures taken, the record finished."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime

from harness import __version__
from harness.analysis.summary import telemetry_figures
from harness.bench.attempt import Attempt, AttemptRunner
from harness.bench.listener import Listener
from harness.bench.models import LocalModel
from harness.bench.plan import Case, PlannedTrial
from harness.core.errors import HarnessError
from harness.core.job import CacheState, Guard, Job, Prewarm
from harness.core.outcome import Evidence, EvidenceKind, HostFailure, Known, Outcome, classify
from harness.core.record import TrialRecord, TrialState
from harness.device.errors import StepError
from harness.device.push import PushedModel
from harness.device.session import PhoneSession
from harness.store.database import ResultStore

# Below a trial's artifacts: those of the load that filled the weight cache for it.
FILL_FOLDER = "cache-fill"

log = logging.getLogger(__name__)


def new_id(now: datetime) -> str:
    """Sorts by time; unique by its random end."""
    return f"{now:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}"


class TrialRunner:
    """Runs trials of one run on one phone, and remembers which weight caches they have left there."""

    def __init__(self, session: PhoneSession, store: ResultStore, run_id: str, listener: Listener) -> None:
        self._session = session
        self._store = store
        self._run_id = run_id
        self._listener = listener
        self._warm_caches: set[tuple[str, str, str]] = set()
        self._attempt = Attempt()
        self._battery_celsius: float | None = None

    async def run(self, planned: PlannedTrial, model: LocalModel) -> TrialRecord:
        """The finished record, also when the trial failed. Re-raises a cancellation after the record is kept."""
        record = self._store.begin(self._first_record(planned, model))
        self._attempt = Attempt()
        try:
            pushed = await self._prepare(model)
            if pushed is not None:
                await self._measure(record, _job(planned.case, pushed, model), planned.case.options.progress_limit_s)
        except BaseException as error:
            # Ctrl-C, or a fault of our own: the record says so, and the error goes on its way
            if self._attempt.host_failure is None:
                self._fail(HostFailure(Outcome.HARNESS_ERROR, "trial", _blame(error)))
            self._finish(record)
            raise
        return self._finish(record)

    async def _prepare(self, model: LocalModel) -> PushedModel | None:
        """The app and the model in place; None when a step failed."""
        self._battery_celsius = None
        try:
            await self._session.ensure_app()
            self._battery_celsius = await self._session.transport.battery_celsius()
            return await self._session.ensure_model(model.path, model.sha256)
        except StepError as error:
            present: bool | None = None
            with suppress(StepError):
                present = await self._session.transport.is_present()
            self._fail(HostFailure(error.outcome, error.step, error.message), present)
            return None

    def _fail(self, failure: HostFailure, phone_present: bool | None = None) -> None:
        self._attempt.host_failure = failure
        self._attempt.classification = classify(Known(host_failure=failure, phone_present=phone_present))

    async def _measure(self, record: TrialRecord, job: Job, progress_limit_s: float) -> None:
        """A warm trial whose cache this run has not built gets it from an unmeasured cold load first."""
        cache = (job.sha256, job.engine, job.backend)
        if job.cache is CacheState.WARM and cache not in self._warm_caches:
            await self._load(record, job.filling_the_cache(), progress_limit_s, fill=True)
            if not self._attempt.measured:
                self._attempt = _blamed_on_fill(self._attempt)
                return
        if job.cache is CacheState.COLD:
            self._warm_caches.discard(cache)
        await self._load(record, job, progress_limit_s, fill=False)
        if self._attempt.measured and job.cache is not CacheState.NONE:
            self._warm_caches.add(cache)

    async def _load(self, record: TrialRecord, job: Job, progress_limit_s: float, *, fill: bool) -> None:
        """One process of the runner; `fill` loads are kept as files beside the trial's, not as telemetry."""
        artifacts = self._store.artifacts_dir(record.trial_id)
        trial_id = record.trial_id
        with ExitStack() as stack:
            spool = None
            if fill:
                trial_id, artifacts = f"{trial_id}-fill", artifacts / FILL_FOLDER
                artifacts.mkdir()
            else:
                spool = stack.enter_context(self._store.spool(trial_id))
            runner = AttemptRunner(self._session, trial_id, artifacts, spool, self._listener, progress_limit_s)
            self._attempt = runner.attempt
            await runner.run(job)

    def _first_record(self, planned: PlannedTrial, model: LocalModel) -> TrialRecord:
        case, facts, now = planned.case, self._session.facts, datetime.now(UTC)
        return TrialRecord(
            trial_id=new_id(now),
            run_id=self._run_id,
            suite=case.suite,
            case=case.name,
            ordinal=planned.ordinal,
            state=TrialState.RUNNING,
            started_at=now.isoformat(),
            host_pid=os.getpid(),
            harness_version=__version__,
            device_kind=facts.kind,
            device_udid=facts.udid,
            device_product_type=facts.product_type,
            device_os_version=facts.os_version,
            device_os_build=facts.os_build,
            device_settings=facts.settings,
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
            expected_outcome=case.expected,
        )

    def _finish(self, record: TrialRecord) -> TrialRecord:
        attempt = self._attempt
        seen, result = attempt.observation, attempt.observation.result
        readings = attempt.readings
        figures = telemetry_figures(readings)
        entitlements = self._session.entitlements
        done = replace(
            record,
            finished_at=datetime.now(UTC).isoformat(),
            battery_celsius=self._battery_celsius,
            app_bundle_id=self._session.runner.bundle_id,
            app_build=seen.hello.build if seen.hello else None,
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
            last_sample_ns=figures.last_sample_ns,
            seq_missing=attempt.missing_events,
            clock_offset_ns=attempt.clock.offset_ns if attempt.clock else None,
            clock_round_trip_ns=attempt.clock.round_trip_ns if attempt.clock else None,
            artifacts_dir=f"artifacts/{record.trial_id}",
        )
        try:
            return self._store.finish(done, readings)
        except (HarnessError, ValueError, TypeError) as error:
            # a figure that no column takes must not cost the outcome, nor leave the record running
            log.exception("trial %s: its figures could not be kept", record.trial_id)
            reason = f"{done.reason!a}; its figures could not be kept: {error!a}"
            bare = replace(
                record, finished_at=done.finished_at, outcome=done.outcome, outcome_family=done.outcome_family,
                reason=reason, artifacts_dir=done.artifacts_dir,
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
    )


def _blame(error: BaseException) -> str:
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
        return "interrupted"
    return f"{type(error).__name__}: {error}"
