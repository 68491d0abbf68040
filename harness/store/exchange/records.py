"""A trial's record as plain JSON values, and back with every value checked.

Four things stay four: a key that is absent (the column came later than the file), null (not known), 0, and NaN, which
no record holds and none is made of. May know `core` and the tables' columns.
"""

from __future__ import annotations

import math
import re
from dataclasses import MISSING
from datetime import datetime, timedelta
from typing import Any

from harness.core.job import Backend, CacheState
from harness.core.outcome import EvidenceKind, Outcome
from harness.core.phone import PhoneKind
from harness.core.record import TrialRecord, TrialState, record_columns
from harness.core.units import INT64_MAX, INT64_MIN
from harness.store.exchange.errors import ExchangeError, named, shown
from harness.store.schema import ITEM_TYPES, ITEMS, RECORD_TYPES, TRIAL_ID, record_to_row

MAX_TEXT = 256 * 1024
"""Characters of one text; the longest that a trial writes is a crash's last words."""
MAX_ITEMS = 10_000
"""Of one list; a trial has tens of phases, steps and notices."""
MAX_DEPTH = 16
"""Of JSON within a column; entitlements have two levels."""

RUN_ID = re.compile(r"[0-9A-Za-z._-]{1,128}\Z")
SUITE_DIGEST = re.compile(r"[0-9a-f]{12}\Z")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3,6})?(\+00:00|Z)\Z", re.ASCII)
"""One form of the many that ISO 8601 has: rows are ordered and chosen by the text of their times."""
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
CHOICES: dict[str, tuple[str, ...]] = {
    "state": (TrialState.DONE.value,),
    "device_kind": tuple(PhoneKind),
    "backend_requested": tuple(Backend),
    "cache_state": tuple(CacheState),
    "outcome": tuple(Outcome),
    "expected_outcome": tuple(Outcome),
    "arm": ("a", "b"),
}
_TIMES = ("started_at", "finished_at", "files_removed_at")
DEFAULTS: dict[str, Any] = {field.name: field.default for field in record_columns() if field.default is not MISSING}
"""What an older file's trials have in columns that came later."""


def record_to_plain(record: TrialRecord) -> dict[str, Any]:
    """Column → value that JSON has; every column is there."""
    return record_to_row(record)


def plain_to_record(values: object, where: str, *, absent: bool = False) -> TrialRecord:
    """The record of `values`; with `absent` a column that is not there takes its default.

    Raises ExchangeError naming `where`, the column and what is wrong with it.
    """
    if not isinstance(values, dict):
        raise ExchangeError(f"{where}: a trial is an object of columns, not {shown(values)}")
    unknown = [str(key) for key in values if key not in RECORD_TYPES]
    if unknown:
        raise ExchangeError(
            f"{where}: no such column: {named(unknown)}; results/README.md lists the columns of this version"
        )
    missing = [name for name in RECORD_TYPES if name not in values and not (absent and name in DEFAULTS)]
    if missing:
        raise ExchangeError(f"{where}: the columns are missing: {named(missing)}; null says that one is not known")
    kept = {name: _value(value, name, where) for name, value in values.items()}
    for name, kind in ITEMS.items():
        if name in kept:
            kept[name] = tuple(kind(**item) for item in kept[name])
    record = TrialRecord(**kept)
    _check_sense(record, where)
    return record


def _value(value: object, name: str, where: str) -> Any:
    plain, optional = RECORD_TYPES[name]
    place = f"{where}: {name}"
    if value is None:
        if not optional:
            raise ExchangeError(f"{place} is null, yet every trial has it")
        return None
    if plain is tuple:
        return [_item(item, name, place) for item in _list(value, place)]
    if plain is dict:
        if not isinstance(value, dict):
            raise ExchangeError(f"{place} is {shown(value)}, not an object")
        _check_json(value, place, MAX_DEPTH)
        return value
    kept = _scalar(value, plain, place)
    if isinstance(kept, str) and _NO_TEXT.search(kept):
        # within JSON both are kept as escapes; no column of either database takes them
        raise ExchangeError(f"{place} holds a NUL or half a character, which no text of a trial has")
    return kept


def _scalar(value: object, plain: type, place: str) -> Any:
    """Text, yes or no, or a number: never one for another, but a whole number where a rate is asked for."""
    if plain is float and type(value) is int and abs(value) <= INT64_MAX:
        return float(value)
    if type(value) is not plain:
        kind = {str: "text", bool: "true or false", int: "an integer", float: "a number"}[plain]
        raise ExchangeError(f"{place} is {shown(value)}, not {kind}")
    _check_json(value, place, 1)
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        what = f"{len(value)} items long, more than {MAX_ITEMS}" if isinstance(value, list) else f"{shown(value)}"
        raise ExchangeError(f"{place} is {what}; it is a list of objects")
    return value


def _item(item: object, name: str, place: str) -> dict[str, Any]:
    types = ITEM_TYPES[name]
    if not isinstance(item, dict) or set(item) != set(types):
        raise ExchangeError(f"{place}: an item is {shown(item)}; it has just {', '.join(types)}")
    kept: dict[str, Any] = {}
    for key, (plain, optional) in types.items():
        value = item[key]
        inner = f"{place}: {key}"
        if value is None and optional:
            kept[key] = None
        elif plain is EvidenceKind:
            if value not in tuple(EvidenceKind):
                raise ExchangeError(f"{inner} is {shown(value)}, not one of {', '.join(EvidenceKind)}")
            kept[key] = EvidenceKind(value)
        else:
            kept[key] = _scalar(value, plain, inner)
    return kept


def _check_json(value: object, place: str, depth: int) -> None:
    """Bounded and finite."""
    if depth < 1:
        raise ExchangeError(f"{place} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ExchangeError(f"{place} is a text of {len(value)} characters; at most {MAX_TEXT}")
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise ExchangeError(f"{place} does not fit into 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ExchangeError(f"{place} is {value}; give a number, or null where it is not known")
    elif isinstance(value, dict | list):
        if len(value) > MAX_ITEMS:
            raise ExchangeError(f"{place} has {len(value)} items; at most {MAX_ITEMS}")
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise ExchangeError(f"{place} has the key {shown(key)}, which is no text")
                _check_json(key, place, depth)
        for inner in value.values() if isinstance(value, dict) else value:
            _check_json(inner, place, depth - 1)
    else:
        raise ExchangeError(f"{place} is {shown(value)}, which JSON does not have")


def _check_sense(record: TrialRecord, where: str) -> None:
    """What types alone do not say."""
    if not TRIAL_ID.match(record.trial_id):
        raise ExchangeError(f"{where}: trial_id {shown(record.trial_id)}: only digits, letters and dashes, 1 to 128")
    place = f"{where}: trial {record.trial_id}"
    if not RUN_ID.match(record.run_id):
        raise ExchangeError(f"{place}: run_id {shown(record.run_id)}: only digits, letters, . _ and -, 1 to 128")
    if record.suite_digest is not None and not SUITE_DIGEST.match(record.suite_digest):
        raise ExchangeError(f"{place}: suite_digest {shown(record.suite_digest)}: twelve hex digits, or null")
    if record.outcome is None:
        raise ExchangeError(f"{place}: outcome is null; only trials that have ended are exchanged")
    for name, choices in CHOICES.items():
        value = getattr(record, name)
        if value is not None and value not in choices:
            raise ExchangeError(f"{place}: {name} is {shown(value)}; it is one of {', '.join(choices)}")
    family = Outcome(record.outcome).family.value
    if record.outcome_family != family:
        raise ExchangeError(
            f"{place}: outcome_family is {shown(record.outcome_family)}; that of {record.outcome} is {family}"
        )
    for name in _TIMES:
        text = getattr(record, name)
        if text is not None and not _is_utc(text):
            raise ExchangeError(f"{place}: {name} is {shown(text)}; a time is as 2026-11-22T16:06:57.259+00:00")


def _is_utc(text: str) -> bool:
    try:
        return _TIME.match(text) is not None and datetime.fromisoformat(text).utcoffset() == timedelta(0)
    except ValueError:
        return False
