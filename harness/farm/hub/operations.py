"""What the hub can be asked: each operation takes a plain message and answers with one; none ever raises.

Everything is validated before it is looked at. What the hub refuses is told with its reason; what it did not expect is
logged here, and told without where it happened.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from harness import __version__
from harness.bench.kept_suites import keep_suite
from harness.bench.trial import new_id
from harness.core.errors import HarnessError, UsageError
from harness.core.record import TrialState
from harness.core.standing import GivenUpBy, Kept, RunStanding, TrialStanding
from harness.farm.board.words import Target
from harness.farm.hub.blobs import Blobs
from harness.farm.hub.coordinator import Coordinator
from harness.farm.hub.intake import Intake
from harness.farm.hub.news import phone_view, run_view, utc_now
from harness.farm.hub.submissions import (
    KnownOfSuite,
    SubmittedSuite,
    board_trials,
    known_of,
    notes_on,
    read,
    targets_of,
)
from harness.farm.link import PREFIX
from harness.farm.wire import (
    MAX_LONG_CHARS,
    MAX_SHORT_CHARS,
    Announcement,
    Cancel,
    Chunk,
    ChunkAnswer,
    Delivery,
    DeliveryAnswer,
    Drain,
    Examined,
    FetchChunk,
    FetchedChunk,
    Followed,
    FollowRequest,
    GivenUp,
    GivenUpRequest,
    GivenUpTrial,
    Hello,
    Leaves,
    Nothing,
    Orders,
    PhoneView,
    PlanAnswer,
    Records,
    RecordsRequest,
    Reserve,
    Reserved,
    RunView,
    Status,
    Submission,
    Submitted,
    SubmittedRun,
    Wire,
    answer,
    refusal,
)
from harness.store.exchange.records import record_to_plain
from harness.store.farm_ledger import LedgerRun

MAX_TRIALS_AT_ONCE = 200_000
"""In all runs of a submission; the board has each of them in memory, a KiB a trial."""
RECORDS_IN_ANSWER = 200
ENDED_IN_STATUS = 20

_LOG = logging.getLogger(__name__)
_Asked = TypeVar("_Asked", bound=Wire)
Handler = Callable[..., Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Prepared:
    """A submission whose runs could begin."""

    submitted: SubmittedSuite
    runs: tuple[tuple[str, Target, KnownOfSuite], ...]
    """Id, target, and what is known."""

    @property
    def targets(self) -> list[Target]:
        return [target for _, target, _ in self.runs]


class Operations:
    """Of one hub."""

    def __init__(
        self, coordinator: Coordinator, intake: Intake, blobs: Blobs, hub: str, *, own_paths: bool = False
    ) -> None:
        self._coordinator = coordinator
        self._calls = coordinator.phones
        self._events = coordinator.desk.events
        self._ledger = coordinator.ledger
        self._store = coordinator.ledger.store
        self._intake = intake
        self._blobs = blobs
        self._hub = hub
        self._own_paths = own_paths
        self._since = utc_now()
        self._files = asyncio.Lock()
        self._ended: dict[str, RunView] = {}

    def handlers(self) -> dict[str, Handler]:
        """By the names that they have on the wire."""
        operations: dict[str, tuple[type[Wire], Callable[[Any], Awaitable[Wire]]]] = {
            "hello": (Hello, self._hello),
            "announce": (Announcement, self._announce),
            "leave": (Leaves, self._leave),
            "examined": (Examined, self._examined),
            "submit": (Submission, self._submit),
            "plan": (Submission, self._plan),
            "follow": (FollowRequest, self._follow),
            "records": (RecordsRequest, self._records),
            "given_up": (GivenUpRequest, self._given_up),
            "status": (Nothing, self._status),
            "drain": (Drain, self._drain),
            "reserve": (Reserve, self._reserve),
            "cancel": (Cancel, self._cancel),
            "chunk": (Chunk, self._chunk),
            "fetch": (FetchChunk, self._fetch),
            "deliver": (Delivery, self._deliver),
        }
        return {PREFIX + name: _handler(name, asked, operation) for name, (asked, operation) in operations.items()}

    # phones

    async def _hello(self, _hello: Hello) -> Nothing:
        return Nothing()

    async def _announce(self, said: Announcement) -> Orders:
        return await self._calls.announce(said)

    async def _leave(self, said: Leaves) -> Nothing:
        await self._calls.lose(said.phone, said.reason)
        return Nothing()

    async def _examined(self, said: Examined) -> Nothing:
        await self._calls.examined(said.phone, said.passed, said.words)
        return Nothing()

    async def _drain(self, asked: Drain) -> Nothing:
        words = None
        if not asked.undo:
            by = f" by {asked.by}" if asked.by else ""
            words = f"drained{by}" + (f": {asked.reason}" if asked.reason else "")
        await self._calls.drain(asked.what, words)
        return Nothing()

    async def _reserve(self, asked: Reserve) -> Reserved:
        return await self._calls.reserve(asked)

    # runs

    async def _prepared(self, asked: Submission) -> Prepared:
        submitted = await asyncio.to_thread(
            read, asked.suite_text, asked.base, asked.options, own_paths=self._own_paths
        )
        phones = [phone.said for phone in self._coordinator.board.phones.values() if phone.gone is None]
        runs = []
        of_class: dict[tuple[str, str], KnownOfSuite] = {}
        targets = targets_of(asked, submitted.suite, phones)
        count = len(targets) * len(submitted.planned)
        if count > MAX_TRIALS_AT_ONCE:
            raise UsageError(
                f"suite {submitted.suite.name}: {count} trials in {len(targets)} runs are more than are taken at once "
                f"({MAX_TRIALS_AT_ONCE}); submit fewer phones, or a smaller suite"
            )
        for target in targets:
            phone = next(phone for phone in phones if target.means(phone))
            key = (phone.kind, phone.product_type)
            if key not in of_class:
                of_class[key] = await asyncio.to_thread(known_of, self._store, submitted, *key)
            runs.append((new_id(datetime.now(UTC)), target, of_class[key]))
        return Prepared(submitted, tuple(runs))

    async def _submit(self, asked: Submission) -> Submitted:
        prepared = await self._prepared(asked)
        for ref in asked.options.files:
            if not await asyncio.to_thread(self._blobs.has, ref.sha256, ref.size_bytes):
                raise UsageError(f"{ref.file_name}: did not arrive at the hub; submit once more")
        suite = prepared.submitted.suite
        await asyncio.to_thread(keep_suite, self._store.folder, suite)
        submitted_at = utc_now()
        runs = [
            (
                LedgerRun(
                    run_id,
                    suite.name,
                    suite.digest,
                    asked.suite_text,
                    asked.base,
                    target.word,
                    asked.priority,
                    asked.attempts,
                    asked.options.plain(),
                    asked.by,
                    submitted_at,
                ),
                target,
                known,
            )
            for run_id, target, known in prepared.runs
        ]
        ends = await self._coordinator.add_runs(runs, prepared.submitted)
        return Submitted(
            runs=tuple(self._submitted_run(prepared, *run, ends[run[0]]) for run in prepared.runs),
            notes=tuple(note[:MAX_SHORT_CHARS] for note in notes_on(suite, prepared.targets)),
        )

    async def _plan(self, asked: Submission) -> PlanAnswer:
        prepared = await self._prepared(asked)
        ends = self._coordinator.foretold(prepared.runs, prepared.submitted, asked.priority)
        targets = prepared.targets
        return PlanAnswer(
            runs=tuple(self._submitted_run(prepared, *run, ends[run[0]]) for run in prepared.runs),
            phones=self._phones(targets),
            notes=tuple(note[:MAX_SHORT_CHARS] for note in notes_on(prepared.submitted.suite, targets)),
        )

    def _submitted_run(
        self, prepared: Prepared, run_id: str, target: Target, known: KnownOfSuite, planned_s: float | None
    ) -> SubmittedRun:
        board = self._coordinator.board
        trials = board_trials(prepared.submitted, known)
        able = [name for name, phone in board.phones.items() if target.means(phone.said) and board.may_take(name)]
        return SubmittedRun(
            run_id=run_id,
            target=target.word,
            trials=len(trials),
            phones=len(able),
            planned_s=planned_s,
            unknown=sum(trial.duration_s is None for trial in trials),
        )

    async def _follow(self, asked: FollowRequest) -> Followed:
        views = tuple([await self._run_view(run_id) for run_id in asked.run_ids])
        events, more = self._events.since(asked.since, set(asked.run_ids))
        return Followed(
            runs=views,
            phones=self._phones([Target(view.target) for view in views]),
            events=events,
            last=self._events.last,
            more=more,
        )

    async def _run_view(self, run_id: str) -> RunView:
        if (active := self._coordinator.runs.get(run_id)) is not None:
            counts = {state.value: count for state, count in self._coordinator.counts(run_id).items()}
            return run_view(active.run, counts, self._coordinator.left_s(run_id))
        if run_id not in self._ended:
            run = await asyncio.to_thread(self._ledger.run, run_id)
            if run is None:
                raise UsageError(f"run {run_id}: the farm knows no such run; `harness farm status` shows the newest")
            counts = (await asyncio.to_thread(self._ledger.counts, [run_id]))[run_id]
            view = run_view(run, counts, None)
            if run.state == RunStanding.ACTIVE:
                # a run that this version cannot go on with, or one that ends this very moment
                return view
            self._ended[run_id] = view
        return self._ended[run_id]

    def _phones(self, targets: list[Target] | None = None) -> tuple[PhoneView, ...]:
        board, now_s = self._coordinator.board, self._coordinator.clock.now_s()
        return tuple(
            phone_view(phone, board.state_word(name, now_s), now_s)
            for name, phone in sorted(board.phones.items())
            if targets is None or any(target.means(phone.said) for target in targets)
        )

    async def _status(self, _nothing: Nothing) -> Status:
        active = [await self._run_view(run_id) for run_id in list(self._coordinator.runs)]
        newest = await asyncio.to_thread(self._ledger.runs, newest=ENDED_IN_STATUS)
        ended = [await self._run_view(run.run_id) for run in newest if run.run_id not in self._coordinator.runs]
        return Status(
            hub=self._hub,
            version=__version__,
            since=self._since,
            now=utc_now(),
            phones=self._phones(),
            runs=(*active, *ended),
            failures=self._events.failures(),
        )

    async def _records(self, asked: RecordsRequest) -> Records:
        return await asyncio.to_thread(self._read_records, asked)

    def _read_records(self, asked: RecordsRequest) -> Records:
        ids = self._store.trial_ids(run_id=asked.run_id, state=TrialState.DONE.value)
        begin = bisect.bisect_right(ids, asked.after)
        page = ids[begin : begin + RECORDS_IN_ANSWER]
        records = self._store.trials(trial_id=page) if page else []
        plain = tuple(record_to_plain(record) for record in records)
        return Records(records=plain, more=begin + len(page) < len(ids))

    async def _given_up(self, asked: GivenUpRequest) -> GivenUp:
        trials = await asyncio.to_thread(self._ledger.trials, asked.run_id)
        return GivenUp(
            trials=tuple(
                GivenUpTrial(
                    trial=f"{one.case}#{one.ordinal}"[:MAX_SHORT_CHARS],
                    by=GivenUpBy(one.given_up_by or GivenUpBy.LOST),
                    reason=one.reason[:MAX_LONG_CHARS],
                )
                for one in trials
                if one.state == TrialStanding.GIVEN_UP.value
            )
        )

    async def _cancel(self, asked: Cancel) -> Nothing:
        await self._coordinator.cancel(asked.run_id, asked.by)
        return Nothing()

    # files and records

    async def _chunk(self, chunk: Chunk) -> ChunkAnswer:
        add = self._intake.add if chunk.of else self._blobs.add
        async with self._files:
            return ChunkAnswer(next_offset=await asyncio.to_thread(add, chunk))

    async def _fetch(self, asked: FetchChunk) -> FetchedChunk:
        return await asyncio.to_thread(self._blobs.read, asked.sha256, asked.offset)

    async def _deliver(self, delivery: Delivery) -> DeliveryAnswer:
        async with self._files, self._intake.undisturbed():
            delivered = await asyncio.to_thread(self._intake.read, delivery)
            record = delivered.record
            if not await asyncio.to_thread(self._store.trial_ids, trial_id=record.trial_id):
                missing = await asyncio.to_thread(self._intake.missing, record.trial_id, delivery.files)
                if missing:
                    return DeliveryAnswer(kept=Kept.EVIDENCE, missing=missing)
                if delivery.elsewhere:
                    record = self._intake.named_elsewhere(record)
                else:
                    record = await asyncio.to_thread(self._intake.keep_files, record, delivery.files)
            kept = await self._coordinator.take(type(delivered)(record, delivered.job), delivery.phone)
            await asyncio.to_thread(self._intake.done, record.trial_id)
            return DeliveryAnswer(kept=kept)

    def tidy(self) -> list[str]:
        """Removes files that nobody wants any more; their names. Blocks."""
        wanted = {ref.sha256 for active in list(self._coordinator.runs.values()) for ref in active.options.files}
        self._blobs.touch(wanted)
        return [*self._intake.tidy(), *self._blobs.tidy()]


def _handler(name: str, asked: type[_Asked], operation: Callable[[_Asked], Awaitable[Wire]]) -> Handler:
    async def handle(message: object = None, **strange: object) -> dict[str, Any]:
        try:
            if strange:
                raise UsageError(f"{name}: takes one message, and nothing beside it")
            return answer(await operation(asked.read(message)))
        except HarnessError as error:
            return refusal(error)
        except Exception as error:  # noqa: BLE001  # no message may end the hub, nor tell of its insides
            _LOG.exception("operation %s", name)
            return refusal(HarnessError(f"the hub could not do it ({name}: {type(error).__name__}); its log says more"))

    handle.__name__ = PREFIX + name
    return handle
