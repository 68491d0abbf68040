"""Flags that say which trials are meant, for every verb of `harness results`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from harness.core.errors import UsageError
from harness.core.phone import PhoneKind

Suites = Annotated[list[str] | None, typer.Option("--suite", metavar="NAME", help="Only this suite; repeatable.")]
Cases = Annotated[list[str] | None, typer.Option("--case", metavar="NAME", help="Only this case; repeatable.")]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", metavar="WORD", help="physical, virtual, a class as iPhone17,1, or a UDID; repeatable."),
]
Outcomes = Annotated[
    list[str] | None, typer.Option("--outcome", metavar="OUTCOME", help="Only these ends, as loaded; repeatable.")
]
Builds = Annotated[list[str] | None, typer.Option("--build", metavar="NAME", help="Only this build; repeatable.")]
Runs = Annotated[list[str] | None, typer.Option("--run", metavar="ID", help="Only this run; repeatable.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="A date (UTC), a time with its zone, or an age as 7d.")
]

_AGE = re.compile(r"([0-9]{1,5})([hdw])\Z", re.ASCII)
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_CLASS = re.compile(r"[A-Za-z]+[0-9]+,[0-9]+\Z", re.ASCII)


def filters(
    suite: list[str] | None = None,
    case: list[str] | None = None,
    device: list[str] | None = None,
    outcome: list[str] | None = None,
    build: list[str] | None = None,
    run: list[str] | None = None,
    since: str | None = None,
) -> dict[str, Any]:
    """Keyword arguments of `ResultStore.trials` and its like; raises UsageError for a flag that means nothing."""
    chosen = {"suite": suite, "case": case, "outcome": _outcomes(outcome), "build": build, "run_id": run}
    wanted: dict[str, Any] = {name: values for name, values in chosen.items() if values}
    for column, word in map(_device, device or ()):
        wanted.setdefault(column, []).append(word)
    if since is not None:
        wanted["since"] = _moment(since)
    return wanted


def parse_age(text: str, flag: str) -> timedelta:
    """`90d`, `12h`, `2w`; raises UsageError naming the flag for anything else."""
    match = _AGE.match(text)
    if match is None:
        raise UsageError(f"{flag}: {text[:40]!r} is no age; write hours, days or weeks as in 12h, 90d, 2w")
    return timedelta(hours=int(match[1]) * _HOURS[match[2]])


def _device(word: str) -> tuple[str, str]:
    """Column and value. Kind, class and UDID never look alike."""
    if word in tuple(PhoneKind):
        return "device_kind", word
    return ("device_product_type", word) if _CLASS.match(word) else ("device_udid", word)


def _outcomes(words: list[str] | None) -> list[str] | None:
    from harness.core.outcome import Outcome

    if unknown := [word for word in words or () if word not in tuple(Outcome)]:
        raise UsageError(f"--outcome: there is no {unknown[0][:40]!r}; there are: {', '.join(Outcome)}")
    return words


def _moment(text: str) -> datetime:
    if _AGE.match(text):
        return datetime.now(UTC) - parse_age(text, "--since")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--since: {text[:40]!r} is no date, no time and no age: 2026-11-22, 2026-11-22T03:00Z or 7d"
        ) from None
    if moment.tzinfo is None and len(text) > len("2026-11-22"):
        raise UsageError(f"--since: {text[:40]!r}: give the time with its zone, as in 2026-11-22T03:00Z")
    # a plain date is a day in UTC
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
