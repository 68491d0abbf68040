"""What is under way in results, as of now: for `harness watch` and the live page of `harness report --serve`.

Nothing is written. A run is known by its records, its lock, its note and the streams of its trials; of a run on another
host (records in PostgreSQL) only the records tell.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from harness.bench.kept_suites import kept_suite
from harness.bench.plan import plan_trials
from harness.bench.run_note import RunNote, read_note
from harness.bench.suite import SuiteError
from harness.core.outcome import Family, Outcome
from harness.core.phone import PhoneKind
from harness.core.record import DEMO_ORIGIN, TrialState, is_demo
from harness.report.live_locks import RunLocks
from harness.report.live_memory import MemoryNow, SpoolTail
from harness.report.live_rows import claimed_here, newest_run, rows_of_runs, runs_of_claims
from harness.report.outcome_words import known_outcome
from harness.store.database import ResultStore
from harness.store.errors import StoreError

MAX_ENDED = 500
"""Trials of a run that are told of one by one, the newest; all are counted."""
MAX_NEXT = 5
QUIET_LIMIT = timedelta(minutes=10)
"""A run on another host that has begun no trial for so long is taken for ended."""


class RunState(StrEnum):
    RUNNING = "running"
    GONE = "gone"
    """Its process was killed. The next `harness run` with these results closes what it left open."""
    ENDED = "ended"
    ELSEWHERE = "elsewhere"
    """On another host, by its records; whether its process lives can only be seen there."""


@dataclass(frozen=True)
class PhoneNow:
    kind: str
    udid: str
    product_type: str
    os_version: str
    settings: str
    demo: bool
    """It never was: its trials were made by seed."""

    @property
    def virtual(self) -> bool:
        return self.kind == PhoneKind.VIRTUAL

    @property
    def text(self) -> str:
        """`iPhone17,1 iOS 18.5 (virtual; footprint_limit=90MiB)`."""
        told = (DEMO_ORIGIN if self.demo else "", PhoneKind.VIRTUAL if self.virtual else "", self.settings)
        marks = [mark for mark in told if mark]
        return f"{self.product_type} iOS {self.os_version}" + (f" ({'; '.join(marks)})" if marks else "")


@dataclass(frozen=True)
class TrialNow:
    """A trial that has begun and is not done."""

    trial_id: str
    case: str
    ordinal: int
    attempt: int
    started_at: str
    """Like all times here: ISO 8601, UTC."""
    phase: str | None
    """None: not known, or the runner has not begun its work."""
    phase_since: str | None
    memory: MemoryNow | None

    @property
    def name(self) -> str:
        return f"{self.case}#{self.ordinal}"


@dataclass(frozen=True)
class TrialEnd:
    """A trial that is done."""

    trial_id: str
    case: str
    ordinal: int
    attempt: int
    finished_at: str | None
    outcome: str
    expected_outcome: str
    reason: str | None
    broken_limits: str | None
    cut_short: bool
    load_ns: int | None
    peak_footprint_bytes: int | None
    footprint_limit_bytes: int | None
    ttft_ns: int | None

    @property
    def name(self) -> str:
        return f"{self.case}#{self.ordinal}"

    @property
    def counts(self) -> bool:
        """Neither a warm-up nor an attempt that will be made again."""
        return self.ordinal >= 1 and not self.cut_short

    @property
    def failed(self) -> bool:
        """Counts, and is not as the suite wants it."""
        return self.counts and (self.outcome != self.expected_outcome or bool(self.broken_limits))


@dataclass(frozen=True)
class RunProgress:
    run_id: str
    suite: str | None
    """None, like the phone: no trial has begun yet."""
    phone: PhoneNow | None
    state: RunState
    host_name: str | None
    started_at: str | None
    last_at: str | None
    """The last time that one of its trials began or ended."""
    total: int | None
    """Trials of the plan, warm-ups too; None: not known (a comparison, a search, a suite that was not kept)."""
    done: int
    """Of them; attempts that were cut short are none."""
    now: tuple[TrialNow, ...]
    """Of a run that is gone: what it left open."""
    step: str | None
    """What goes on beside or before a trial: a model is made or pushed, a pause is kept."""
    step_share: float | None
    outcomes: tuple[tuple[str, int], ...]
    """Outcome → trials that ended so, of those that count; most frequent first."""
    failures: int
    failed_families: tuple[Family, ...]
    """Families of the outcomes that were not expected; `model` where a limit was broken."""
    ended: tuple[TrialEnd, ...]
    """In order of time, the newest MAX_ENDED."""
    next: tuple[str, ...]
    """Names of the trials that come next, at most MAX_NEXT."""

    @property
    def in_progress(self) -> bool:
        return self.state in (RunState.RUNNING, RunState.ELSEWHERE)


@dataclass(frozen=True)
class Progress:
    runs: tuple[RunProgress, ...]
    """Those in progress, those that left trials open, those asked for; without any of them, the newest."""

    @property
    def in_progress(self) -> tuple[RunProgress, ...]:
        return tuple(run for run in self.runs if run.in_progress)


class ProgressReader:
    """Looks again and again; each look reads what is new of the streams."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._locks = RunLocks(store.folder)
        self._tails: dict[str, SpoolTail] = {}
        self._plans: dict[str, tuple[tuple[str, int], ...] | None] = {}

    def read(self, also: Collection[str] = ()) -> Progress:
        """As of now; `also`: ids of runs to tell of although they have ended. Raises StoreError."""
        locked = self._locks.look()
        alive = {run_id for run_id, held in locked.items() if held}
        with self._store.reading() as connection:
            claimed = runs_of_claims(connection)
            wanted = {*alive, *claimed, *also}
            if not wanted:
                wanted = newest_run(connection)
            rows = rows_of_runs(connection, wanted)
            here = claimed_here(connection, self._store.folder)
        self._tails = {trial_id: tail for trial_id, tail in self._tails.items() if trial_id in here}
        runs = [self._run(run_id, rows.get(run_id, ()), locked.get(run_id), here) for run_id in sorted(wanted)]
        return Progress(tuple(run for run in runs if run.started_at is not None or run.in_progress))

    def _run(
        self, run_id: str, rows: Sequence[Mapping[str, Any]], held: bool | None, here: Collection[str]
    ) -> RunProgress:
        note = read_note(self._store.folder, run_id) if held else None
        open_rows = [row for row in rows if row["state"] == TrialState.RUNNING]
        ended = [_ended(row) for row in rows if row["state"] == TrialState.DONE]
        kept = {(one.case, one.ordinal) for one in ended if not one.cut_short}
        plan = self._plan(rows)
        if plan is not None and not _goes_by(plan, rows, note):
            plan = None
        last = rows[-1] if rows else None
        last_at = max((row["finished_at"] or row["started_at"] for row in rows), default=None)
        # a search does not know how many there will be, and says 1 of 1 each time
        told = note.total if note is not None and (note.total or 0) > 1 else None
        total = len(plan) if plan is not None else told
        left = None if total is None else max(0, total - len(kept))
        state = self._state(held, open_rows, here, last, left=left, last_at=last_at)
        failed = [one for one in ended if one.failed]
        begun = {(row["case"], row["ordinal"]) for row in open_rows}
        waiting = [one for one in plan or () if one not in kept and one not in begun]
        return RunProgress(
            run_id=run_id,
            suite=last["suite"] if last else None,
            phone=_phone(last) if last else None,
            state=state,
            host_name=last["host_name"] if last else None,
            started_at=rows[0]["started_at"] if rows else None,
            last_at=last_at,
            total=total,
            done=len(kept),
            now=tuple(self._now(row, note) for row in open_rows),
            step=note.step if note else None,
            step_share=note.step_share if note else None,
            outcomes=tuple(Counter(one.outcome for one in ended if one.counts).most_common()),
            failures=len(failed),
            failed_families=tuple(sorted({_family(one) for one in failed})),
            ended=tuple(ended[-MAX_ENDED:]),
            next=tuple(f"{case}#{ordinal}" for case, ordinal in waiting[:MAX_NEXT]),
        )

    def _state(
        self,
        held: bool | None,
        open_rows: Sequence[Mapping[str, Any]],
        here: Collection[str],
        last: Mapping[str, Any] | None,
        *,
        left: int | None,
        last_at: str | None,
    ) -> RunState:
        """`held`: whether a process holds the run's lock; None: nobody has left one."""
        if held:
            return RunState.RUNNING
        # only of a server's records somebody else may be at work
        if held is None and last is not None and self._store.address.url is not None:
            between_trials = last["host_name"] != socket.gethostname() and left != 0 and _recent(last_at)
            if any(row["trial_id"] not in here for row in open_rows) or between_trials:
                return RunState.ELSEWHERE
        if open_rows or (held is False and left != 0):
            return RunState.GONE
        return RunState.ENDED

    def _now(self, row: Mapping[str, Any], note: RunNote | None) -> TrialNow:
        trial_id = row["trial_id"]
        try:
            tail = self._tails.setdefault(trial_id, SpoolTail(self._store.spool_path(trial_id)))
            memory = tail.read()
        except StoreError:
            # an id that is the name of no file
            memory = None
        ours = note is not None and note.trial == f"{row['case']}#{row['ordinal']}"
        return TrialNow(
            trial_id, row["case"], row["ordinal"], row["attempt"], row["started_at"],
            note.phase if note is not None and ours else None,
            note.phase_since if note is not None and ours else None,
            memory,
        )  # fmt: skip  # one column a line would hide which are the record's

    def _plan(self, rows: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, int], ...] | None:
        """(case, ordinal) of each trial of the suite, in order; None: it was not kept, or the run is another kind."""
        digests = {row["suite_digest"] for row in rows if row["arm"] is None}
        (digest,) = digests if len(digests) == 1 else (None,)
        if digest is None or any(row["arm"] is not None for row in rows):
            return None
        if digest not in self._plans:
            try:
                suite = kept_suite(self._store.folder, digest)
            except SuiteError:
                suite = None
            planned = None if suite is None else plan_trials(suite)
            self._plans[digest] = None if planned is None else tuple((one.case.name, one.ordinal) for one in planned)
        return self._plans[digest]


def progress(store: ResultStore) -> Progress:
    """One look; who looks again and again keeps a `ProgressReader`. Raises StoreError."""
    return ProgressReader(store).read()


def _ended(row: Mapping[str, Any]) -> TrialEnd:
    return TrialEnd(
        row["trial_id"], row["case"], row["ordinal"], row["attempt"], row["finished_at"],
        row["outcome"] or Outcome.UNKNOWN, row["expected_outcome"], row["reason"], row["broken_limits"],
        row["cut_short"], row["load_ns"], row["peak_footprint_bytes"], row["footprint_limit_bytes"], row["ttft_ns"],
    )  # fmt: skip  # a row's columns in order


def _goes_by(plan: Sequence[tuple[str, int]], rows: Iterable[Mapping[str, Any]], note: RunNote | None) -> bool:
    """Whether the run is the suite's: a search or a ladder begins with one of its cases, too."""
    if note is not None and note.total is not None and note.total != len(plan):
        return False
    return {(row["case"], row["ordinal"]) for row in rows} <= set(plan)


def _recent(moment: str | None) -> bool:
    try:
        return moment is not None and datetime.now(UTC) - datetime.fromisoformat(moment) < QUIET_LIMIT
    except (ValueError, TypeError):
        return False


def _phone(row: Mapping[str, Any]) -> PhoneNow:
    return PhoneNow(
        row["device_kind"],
        row["device_udid"],
        row["device_product_type"],
        row["device_os_version"],
        row["device_settings"],
        is_demo(row["origin"]),
    )


def _family(end: TrialEnd) -> Family:
    outcome = None if end.outcome == end.expected_outcome else known_outcome(end.outcome)
    return Family.MODEL if outcome is None else outcome.family
