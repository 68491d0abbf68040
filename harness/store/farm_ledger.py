"""The ledger of a farm's hub: its runs, how each trial stands, what was said of phones, and the fence for records.

A record becomes its trial's result in one transaction with the trial's own row, and only while the ledger says that
this very attempt is under way. Whatever comes otherwise is kept as evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, Text, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from harness.core.outcome import Evidence, EvidenceKind
from harness.core.record import TrialRecord, TrialState
from harness.core.standing import Kept, RunStanding, TrialStanding
from harness.store.database import ResultStore, check_trial_id
from harness.store.errors import StoreError
from harness.store.farm_hold import Hold, hold
from harness.store.farm_rows import (
    LedgerPhone,
    LedgerRun,
    LedgerTrial,
    from_row,
    to_row,
)
from harness.store.schema import farm_phones, farm_runs, farm_trials, record_to_row, trials

__all__ = ["FarmLedger", "LedgerPhone", "LedgerRun", "LedgerTrial"]

_SAME = ("run_id", "case", "ordinal", "attempt", "started_at", "device_udid")
"""By which a record that comes twice is known; not its verdict and files, which may change here."""
_CHUNK = 500
_CHANGE = update(farm_trials).where(
    farm_trials.c.run_id == bindparam("of_run"),
    farm_trials.c.case == bindparam("of_case"),
    farm_trials.c.ordinal == bindparam("of_ordinal"),
    # a result was taken for good; who writes so has not heard of it yet
    or_(
        farm_trials.c.state != TrialStanding.DONE.value, bindparam("to_state", type_=Text()) == TrialStanding.DONE.value
    ),
)


class FarmLedger:
    """Of one database; methods may be called from several threads. Raises StoreError when it cannot be had."""

    def __init__(self, store: ResultStore) -> None:
        """`store` is open to be written, and stays the caller's."""
        self.store = store
        self._hold: Hold | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """For the length of the block no other hub has this database. Raises StoreError naming the one that has."""
        with hold(self.store) as self._hold:
            try:
                yield
            finally:
                self._hold = None

    def still_held(self) -> bool:
        """Whether that is still so; asks the server. Once False (it was restarted), for ever: begin anew."""
        return self._hold is not None and self._hold.is_held()

    def add_run(self, run: LedgerRun, its_trials: Sequence[LedgerTrial]) -> None:
        """Keeps a run with all its trials. Raises StoreError if it is there already."""
        if any(one.run_id != run.run_id for one in its_trials):
            raise StoreError(f"run {run.run_id}: a trial of another run among its own")
        at = _now()
        try:
            with self.store.writing() as connection:
                connection.execute(farm_runs.insert(), to_row(run))
                if its_trials:
                    connection.execute(farm_trials.insert(), [to_row(one) | {"changed_at": at} for one in its_trials])
        except IntegrityError as error:
            raise StoreError(f"run {run.run_id}: the ledger has it already, or one of its trials twice") from error

    def runs(self, *, state: str | None = None, newest: int | None = None) -> list[LedgerRun]:
        """Newest first: those in `state` (any, for None), at most `newest`."""
        query = select(farm_runs).order_by(farm_runs.c.submitted_at.desc(), farm_runs.c.run_id.desc()).limit(newest)
        if state is not None:
            query = query.where(farm_runs.c.state == RunStanding(state).value)
        return [from_row(LedgerRun, row) for row in self._rows(query)]

    def run(self, run_id: str) -> LedgerRun | None:
        """None: the ledger has none of that id."""
        found = [from_row(LedgerRun, row) for row in self._rows(select(farm_runs).where(farm_runs.c.run_id == run_id))]
        return found[0] if found else None

    def trials(self, run_id: str) -> list[LedgerTrial]:
        """In the suite's order."""
        query = select(farm_trials).where(farm_trials.c.run_id == run_id).order_by(farm_trials.c.number)
        return [from_row(LedgerTrial, row) for row in self._rows(query)]

    def counts(self, run_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """Run → state → how many of its trials, 0 too; a run that the ledger does not know has none."""
        ids = list(dict.fromkeys(run_ids))
        found = {run_id: dict.fromkeys((one.value for one in TrialStanding), 0) for run_id in ids}
        with self.store.reading() as connection:
            for start in range(0, len(ids), _CHUNK):
                query = (
                    select(farm_trials.c.run_id, farm_trials.c.state, func.count())
                    .where(farm_trials.c.run_id.in_(ids[start : start + _CHUNK]))
                    .group_by(farm_trials.c.run_id, farm_trials.c.state)
                )
                for run_id, state, count in connection.execute(query):
                    found[run_id][state] = count
        return found

    def change(self, changes: Sequence[LedgerTrial]) -> list[LedgerTrial]:
        """Keeps how trials stand now, all or none; `number` is left as it is.

        A trial that is done stays done: returns what the ledger says of those (whoever would change them has not heard
        of the result yet). Raises StoreError for a trial that `add_run` did not bring.
        """
        if not changes:
            return []
        at = _now()
        values = [_changed(one) | {"changed_at": at} for one in changes]
        with self.store.writing() as connection:
            if connection.execute(_CHANGE, values).rowcount == len(changes):
                return []
            return _left_done(connection, changes)

    def end_run(self, run_id: str, state: str, ended_at: str) -> None:
        """Keeps that a run is `done` or `cancelled`, since when. Raises StoreError for a run that there is not."""
        ended = {"state": RunStanding(state).value, "ended_at": ended_at}
        with self.store.writing() as connection:
            changed = connection.execute(update(farm_runs).where(farm_runs.c.run_id == run_id).values(ended))
            if changed.rowcount != 1:
                raise StoreError(f"run {run_id}: the farm's ledger has no such run")

    def take(self, record: TrialRecord, *, counts: bool, why_not: str = "") -> Kept:
        """Keeps a record that a host has delivered; its files are on disk here already.

        RESULT: it `counts`, and its attempt is the one that is under way; the trial is done with it. EVIDENCE: it is
        kept as `cut_short`, its reason and an item of evidence say why (`why_not`, or what the ledger knows); of a
        run that is not in the ledger it is kept as it is. ALREADY: it was kept before. Raises StoreError for a
        record that is not done, or whose id another trial has.
        """
        check_trial_id(record.trial_id)
        if record.state != TrialState.DONE.value:
            raise StoreError(f"trial {record.trial_id}: is {record.state[:20]}; only one that is done is delivered")
        try:
            with self.store.writing() as connection:
                return _take(connection, record, counts, why_not)
        except IntegrityError:
            # it came twice at once, and the other was quicker
            with self.store.writing() as connection:
                return _take(connection, record, counts, why_not)

    def keep_phone(self, phone: LedgerPhone) -> None:
        """Keeps what is said of a phone, in place of what was said before."""
        row = to_row(phone)
        with self.store.writing() as connection:
            insert = insert_into(connection, farm_phones).values(row)
            connection.execute(insert.on_conflict_do_update(index_elements=[farm_phones.c.phone], set_=row))

    def phones(self) -> list[LedgerPhone]:
        """All of which something was ever said, by name."""
        return [from_row(LedgerPhone, row) for row in self._rows(select(farm_phones).order_by(farm_phones.c.phone))]

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        with self.store.reading() as connection:
            return connection.execute(query).mappings().all()


def insert_into(connection: Connection, table: Table) -> Any:
    """An insert that may say what to do about a row that is there: each database has its own."""
    dialects: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return dialects[connection.dialect.name](table)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _changed(trial: LedgerTrial) -> dict[str, Any]:
    row = to_row(trial)
    kept = {name: row[name] for name in ("attempt", "state", "phone", "host", "trial_id", "reason", "given_up_by")}
    which = {"of_run": trial.run_id, "of_case": trial.case, "of_ordinal": trial.ordinal}
    return kept | which | {"to_state": row["state"]}


def _left_done(connection: Connection, changes: Sequence[LedgerTrial]) -> list[LedgerTrial]:
    left = []
    for one in changes:
        stands = _standing(connection, one.run_id, one.case, one.ordinal)
        if stands is None:
            raise StoreError(f"run {one.run_id}: the farm's ledger has no trial {one.case}#{one.ordinal}")
        if stands.state == TrialStanding.DONE and one.state != TrialStanding.DONE:
            left.append(stands)
    return left


def _standing(connection: Connection, run_id: str, case: str, ordinal: int) -> LedgerTrial | None:
    which = (farm_trials.c.run_id == run_id, farm_trials.c.case == case, farm_trials.c.ordinal == ordinal)
    row: Any = connection.execute(select(farm_trials).where(*which)).mappings().one_or_none()
    return None if row is None else from_row(LedgerTrial, row)


def _take(connection: Connection, record: TrialRecord, counts: bool, why_not: str) -> Kept:
    if _is_here(connection, record):
        return Kept.ALREADY
    if counts and _passes_fence(connection, record):
        connection.execute(trials.insert(), record_to_row(record))
        return Kept.RESULT
    if connection.execute(select(farm_runs.c.run_id).where(farm_runs.c.run_id == record.run_id)).scalar() is not None:
        record = _as_evidence(record, why_not or _why_not(connection, record))
    connection.execute(trials.insert(), record_to_row(record))
    return Kept.EVIDENCE


def _is_here(connection: Connection, record: TrialRecord) -> bool:
    row = record_to_row(record)
    query = select(*(trials.c[name] for name in _SAME)).where(trials.c.trial_id == record.trial_id)
    there = connection.execute(query).mappings().one_or_none()
    if there is None:
        return False
    other = [name for name in _SAME if there[name] != row[name]]
    if other:
        raise StoreError(
            f"trial {record.trial_id}: another trial has this id here (its {', '.join(other)} differ); "
            "every trial has an id of its own, and a record is never replaced"
        )
    return True


def _passes_fence(connection: Connection, record: TrialRecord) -> bool:
    """Of two that come at once for one trial the row lets one pass: the other waits for it, and finds it done."""
    of_this_attempt = (
        farm_trials.c.run_id == record.run_id,
        farm_trials.c.case == record.case,
        farm_trials.c.ordinal == record.ordinal,
        farm_trials.c.attempt == record.attempt,
        farm_trials.c.state == TrialStanding.RUNNING.value,
    )
    done = {"state": TrialStanding.DONE.value, "trial_id": record.trial_id, "reason": "", "changed_at": _now()}
    return connection.execute(update(farm_trials).where(*of_this_attempt).values(done)).rowcount == 1


def _why_not(connection: Connection, record: TrialRecord) -> str:
    standing = _standing(connection, record.run_id, record.case, record.ordinal)
    if standing is None:
        return "its run has no such trial"
    words = {
        TrialStanding.WAITING: f"attempt {standing.attempt} is to come",
        TrialStanding.RUNNING: f"attempt {standing.attempt} is under way",
        TrialStanding.DONE: f"the trial has its result, of attempt {standing.attempt}",
        TrialStanding.GIVEN_UP: f"the trial was given up at attempt {standing.attempt}",
    }
    return words[TrialStanding(standing.state)]


def _as_evidence(record: TrialRecord, why: str) -> TrialRecord:
    told = f"kept as evidence: {why}"
    return replace(
        record,
        cut_short=True,
        reason=f"{record.reason} ({told})" if record.reason else told,
        evidence=(*record.evidence, Evidence(EvidenceKind.STEP, told)),
    )
