"""Exports as JSON: one document, or a head and a trial a line (JSON Lines). `docs/results.schema.json` describes them.

Everything is in `trials`; what stands before them (devices, builds, statistics by case) is for other tools and is
made anew from `trials` by whoever reads the file again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from harness import __version__
from harness.core.record import TrialRecord
from harness.store.exchange.benchmarks import benchmarks, builds, devices
from harness.store.exchange.errors import ExchangeError, named, shown
from harness.store.exchange.records import plain_to_record, record_to_plain
from harness.store.schema import SCHEMA_VERSION

FORMAT = "iphone-load-harness results"
VERSION = 1
"""Of the document around the trials; the columns' version is `schema_version`."""
MAX_DIGITS = 400
"""Of one number: a float's shortest text has up to 17 and an exponent, an integer of 64 bits 19."""

_HEAD_KEYS = ("format", "version", "schema_version", "harness_version", "exported_at")
_ABOUT_KEYS = ("devices", "builds", "benchmarks")
_KEYS = (*_HEAD_KEYS, *_ABOUT_KEYS, "trials")


def head() -> dict[str, Any]:
    """What every export begins with."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "schema_version": SCHEMA_VERSION,
        "harness_version": __version__,
        "exported_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def write_json(target: TextIO, records: Sequence[TrialRecord]) -> None:
    """The whole document; each trial on a line of its own, so that two exports can be compared by line."""
    about = {**head(), "devices": devices(records), "builds": builds(records), "benchmarks": benchmarks(records)}
    text = json.dumps(about, indent=1, allow_nan=False)
    target.write(text.removesuffix("\n}") + ',\n "trials": [')
    separator = "\n"
    for record in records:
        target.write(f"{separator}  {_line(record)}")
        separator = ",\n"
    target.write("\n ]\n}\n")


def write_json_lines(target: TextIO, records: Sequence[TrialRecord]) -> None:
    """The head, then a trial a line."""
    target.write(json.dumps(head(), allow_nan=False) + "\n")
    for record in records:
        target.write(_line(record) + "\n")


def read_json(text: str, name: str) -> Iterator[TrialRecord]:
    """The trials of a document; raises ExchangeError naming `name`, the trial and what is wrong."""
    document = parse(text, name)
    older = check_head(document, name)
    unknown = [str(key) for key in document if key not in _KEYS]
    if unknown:
        raise ExchangeError(f"{name}: unknown: {named(unknown)}; an export has {', '.join(_KEYS)}")
    trials = document.get("trials")
    if not isinstance(trials, list):
        raise ExchangeError(f"{name}: trials is {shown(trials)}, not a list")
    for number, values in enumerate(trials):
        yield plain_to_record(values, f"{name}: trials[{number}]", absent=older)


def read_json_lines(text: str, name: str) -> Iterator[TrialRecord]:
    """The trials of a head and lines; as `read_json`."""
    # only newlines: a text within a line may hold other characters that str.splitlines takes for an end
    lines = text.split("\n")
    document = parse(lines[0], f"{name}: line 1")
    older = check_head(document, name)
    unknown = [str(key) for key in document if key not in _HEAD_KEYS]
    if unknown:
        raise ExchangeError(f"{name}: line 1: unknown: {named(unknown)}; the head has {', '.join(_HEAD_KEYS)}")
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            place = f"{name}: line {number}"
            yield plain_to_record(parse(line, place), place, absent=older)


def check_head(document: Mapping[str, Any], name: str) -> bool:
    """Whether the file is older than this version's columns; raises ExchangeError for another format or a newer one."""
    if document.get("format") != FORMAT:
        raise ExchangeError(
            f"{name}: format is {shown(document.get('format'))}, not {FORMAT!r}; it is no export of this harness"
        )
    for key, known in (("version", VERSION), ("schema_version", SCHEMA_VERSION)):
        found = document.get(key)
        if type(found) is not int or found < 1:
            raise ExchangeError(f"{name}: {key} is {shown(found)}, not a whole number from 1")
        if found > known:
            raise ExchangeError(
                f"{name}: {key} {shown(found)} is newer than this harness knows ({known}): "
                "use the harness that wrote it"
            )
    return bool(document["schema_version"] < SCHEMA_VERSION)


def parse(text: str, name: str) -> dict[str, Any]:
    """An object of JSON from outside; as `parse_any`."""
    value = parse_any(text, name)
    if not isinstance(value, dict):
        raise ExchangeError(f"{name}: is {shown(value)}, not an object")
    return value


def parse_any(text: str, name: str) -> Any:
    """JSON from outside: no key twice, no NaN, no number or nesting without bound; raises ExchangeError."""
    try:
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_bounded_int,
            parse_float=_bounded_float,
            object_pairs_hook=_unique,
        )
    except ExchangeError as error:
        raise ExchangeError(f"{name}: {error}") from None
    except RecursionError:
        raise ExchangeError(f"{name}: nested too deep to be an export") from None
    except ValueError as error:
        raise ExchangeError(f"{name}: not JSON: {error}") from None


def _line(record: TrialRecord) -> str:
    # ASCII: what a phone wrote may hold half a character, which UTF-8 does not have
    return json.dumps(record_to_plain(record), allow_nan=False)


def _refuse_constant(constant: str) -> Any:
    raise ExchangeError(f"{constant} is no number; null says that one is not known")


def _bounded_int(text: str) -> int:
    # Python's own bound depends on the interpreter's settings
    if len(text) > MAX_DIGITS:
        raise ExchangeError(f"a number of {len(text)} digits")
    return int(text)


def _bounded_float(text: str) -> float:
    if len(text) > MAX_DIGITS:
        raise ExchangeError(f"a number of {len(text)} characters")
    return float(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ExchangeError(f"{shown(twice)} is there twice in one object")
    return values
