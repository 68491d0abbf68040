"""Figures of another harness, as CSV: the columns of a trial that it knows, under their names in results/README.md.

What decides whether figures may be compared is required and never guessed; the rest takes the defaults below. A row's
id is made of its content, so that a file that has grown can be imported again: the rows that are here are skipped.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from harness.core.outcome import Outcome
from harness.core.record import TrialRecord, TrialState
from harness.store.exchange.csv_files import CsvTable, typed
from harness.store.exchange.errors import ExchangeError, named, shown
from harness.store.exchange.records import DEFAULTS, plain_to_record
from harness.store.schema import RECORD_TYPES

REQUIRED = (
    "case", "started_at", "outcome", "device_kind", "device_product_type", "device_os_version", "engine", "model_name",
    "model_bytes", "backend_requested", "cache_state", "max_tokens", "decode_tokens",
)  # fmt: skip  # one name a line would hide that it is one list
"""Columns that must be there, or be given for every row."""
FOREIGN_DEFAULTS: dict[str, Any] = {
    "suite": "imported",
    "state": TrialState.DONE.value,
    "host_pid": 0,
    "harness_version": "another harness",
    "device_udid": "unknown",
    "device_os_build": "unknown",
    "device_settings": "",
    "model_file": "unknown",
    "model_sha256": "unknown",
    "sample_hz": 0,
    "seed": 0,
}
"""Instead of columns that are not there. Further: `expected_outcome` is `outcome`; `outcome_family` is that of the
outcome; `run_id` a suite's trials of one day (UTC) on one class of phone; `ordinal` counts the rows of a case in a run,
in the order of the file; every other column has its own default, which is null wherever a column may be."""
_ID_DIGITS = 8


def read_foreign_csv(table: CsvTable, given: Mapping[str, str] | None = None) -> Iterator[TrialRecord]:
    """The trials of a foreign table; `given` are cells that every row has.

    Raises ExchangeError naming the row, the column and what is wrong.
    """
    given = dict(given or {})
    unknown = [column for column in (*table.columns, *given) if column not in RECORD_TYPES]
    if unknown:
        raise ExchangeError(f"{table.name}: no such column: {named(unknown)}; results/README.md lists the columns")
    if twice := [column for column in given if column in table.columns]:
        raise ExchangeError(f"{table.name}: given for every row, and a column of the file: {named(twice)}")
    missing = [column for column in REQUIRED if column not in table.columns and column not in given]
    if missing:
        raise ExchangeError(
            f"{table.name}: the columns are missing: {named(missing)}; figures of another harness need "
            f"{', '.join(REQUIRED)} (--set COLUMN=VALUE gives one for every row)"
        )
    counts = _Counts()
    for where, cells in table.rows():
        yield _record(typed({**given, **cells}, where), where, counts)


class _Counts:
    """What has been numbered within a file."""

    def __init__(self) -> None:
        self.same_rows: Counter[str] = Counter()
        self.ordinals: Counter[tuple[str, str]] = Counter()


def _record(values: dict[str, Any], where: str, counts: _Counts) -> TrialRecord:
    absent = [name for name in REQUIRED if values[name] is None]
    if absent:
        raise ExchangeError(f"{where}: empty: {named(absent)}")
    if values["outcome"] not in tuple(Outcome):
        raise ExchangeError(f"{where}: outcome is {shown(values['outcome'])}; it is one of {', '.join(Outcome)}")
    began = _utc(values["started_at"], where)
    values["started_at"] = began.isoformat(timespec="milliseconds")
    if values.get("finished_at") is not None:
        values["finished_at"] = _utc(values["finished_at"], where).isoformat(timespec="milliseconds")
    known = {name: value for name, value in values.items() if value is not None}
    complete = {**DEFAULTS, **FOREIGN_DEFAULTS, **known}
    day = f"{began:%Y%m%d}"
    complete.setdefault("run_id", f"{day}-{_digest(complete['suite'], *_phone(complete))}")
    complete.setdefault("expected_outcome", complete["outcome"])
    if complete["outcome_family"] is None:
        complete["outcome_family"] = Outcome(complete["outcome"]).family.value
    if "ordinal" not in complete:
        place = (str(complete["run_id"]), complete["case"])
        counts.ordinals[place] += 1
        complete["ordinal"] = counts.ordinals[place]
    if "trial_id" not in complete:
        content = _digest(*(f"{name}={known[name]!r}" for name in sorted(known)))
        counts.same_rows[content] += 1
        complete["trial_id"] = f"{began:%Y%m%d-%H%M%S-%f}-{_digest(content, str(counts.same_rows[content]))}"
    for name, (plain, _) in RECORD_TYPES.items():
        # a default of a record is a tuple where JSON has a list
        if plain is tuple and isinstance(complete.get(name), tuple):
            complete[name] = list(complete[name])
    return plain_to_record(complete, where)


def _phone(values: Mapping[str, Any]) -> tuple[str, str, str]:
    return values["device_kind"], values["device_product_type"], values["device_udid"]


def _utc(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        if time.utcoffset() is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ExchangeError(f"{where}: {shown(text)} is no time with its zone, as in 2026-11-22T16:06:57+01:00")


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "backslashreplace")).hexdigest()[:_ID_DIGITS]
