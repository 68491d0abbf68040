"""A farm as rows of text: its phones, its runs, what went wrong. The same for the live table and for `status`.

Pure; what is told is asked for by name, so that nothing of the farm's own room is known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from harness.core.text import MISSING

PHONE_HEADINGS = ("Phone", "Class", "iOS", "State", "Trial", "Doing", "Done", "Battery", "Temp", "Heat", "Note")
LIVE_HEADINGS = ("Phone", "Class", "State", "Trial", "Doing", "Share")
RUN_HEADINGS = (
    "Run", "Suite", "Target", "By", "Priority", "State", "Waiting", "Running", "Done", "Given up", "Of",
    "Planned", "Took", "Left",
)  # fmt: skip  # one heading a line would be a page
RUN_RIGHT = RUN_HEADINGS[4:5] + RUN_HEADINGS[6:]
FAILURE_HEADINGS = ("At", "What", "Run", "Trial", "Phone", "Why")
MAX_REASON_CHARS = 240
QUIET_S = 15.0
"""A phone that was not heard of for so long: it is told."""


class Job(Protocol):
    @property
    def text(self) -> str: ...
    @property
    def run_id(self) -> str: ...


class Phone(Protocol):
    """As the hub tells of one."""

    @property
    def phone(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def product_type(self) -> str: ...
    @property
    def os_version(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def note(self) -> str: ...
    @property
    def job(self) -> Job | None: ...
    @property
    def doing(self) -> str | None: ...
    @property
    def share(self) -> float | None: ...
    @property
    def strikes(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def battery_percent(self) -> int | None: ...
    @property
    def battery_celsius(self) -> float | None: ...
    @property
    def thermal(self) -> str | None: ...
    @property
    def heard_s(self) -> float: ...


class Run(Protocol):
    """As the hub tells of one."""

    @property
    def run_id(self) -> str: ...
    @property
    def suite(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def by(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def total(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def given_up(self) -> int: ...
    @property
    def planned_s(self) -> float | None: ...
    @property
    def took_s(self) -> float | None: ...
    @property
    def left_s(self) -> float | None: ...


class Event(Protocol):
    """Something that happened to a run."""

    @property
    def run_id(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def job(self) -> Job | None: ...
    @property
    def phone(self) -> str | None: ...
    @property
    def text(self) -> str: ...


def rough_text(seconds: float | None) -> str:
    """`45 s`, `13 min`, `2.5 h`, to plan by; a dash for what is not known."""
    if seconds is None:
        return MISSING
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


def class_text(phone: Phone) -> str:
    """`iPhone17,1 (virtual)`."""
    return f"{phone.product_type} (virtual)" if phone.kind == "virtual" else phone.product_type


def phone_rows(phones: Iterable[Phone]) -> list[tuple[str, ...]]:
    """In the order of PHONE_HEADINGS, a host's phones together."""
    return [
        (
            phone.phone if f"@{phone.host}" in phone.phone else f"{phone.phone} on {phone.host}",
            class_text(phone),
            phone.os_version,
            phone.state,
            MISSING if phone.job is None else phone.job.text,
            doing_text(phone),
            str(phone.done),
            MISSING if phone.battery_percent is None else f"{phone.battery_percent} %",
            MISSING if phone.battery_celsius is None else f"{phone.battery_celsius:.0f} °C",
            phone.thermal or MISSING,
            note_text(phone),
        )
        for phone in sorted(phones, key=lambda phone: (phone.host, phone.phone))
    ]


def live_rows(phones: Iterable[Phone], run_ids: Sequence[str] | None = None) -> list[tuple[str, ...]]:
    """In the order of LIVE_HEADINGS; a trial of another run than `run_ids` is told as such."""
    rows: list[tuple[str, ...]] = []
    for phone in sorted(phones, key=lambda phone: (phone.host, phone.phone)):
        trial = "" if phone.job is None else phone.job.text
        if phone.job is not None and run_ids is not None and phone.job.run_id not in run_ids:
            trial = f"(another run) {trial}"
        share = "" if phone.share is None else f"{phone.share * 100:.0f} %"
        rows.append((phone.phone, class_text(phone), phone.state, trial, phone.doing or note_text(phone), share))
    return rows


def doing_text(phone: Phone) -> str:
    """`push 40 %`."""
    if phone.doing is None:
        return MISSING
    return phone.doing if phone.share is None else f"{phone.doing} {phone.share * 100:.0f} %"


def note_text(phone: Phone) -> str:
    """What is to be said of a phone beside its state."""
    told = [one_line(phone.note)] if phone.note else []
    if phone.strikes:
        told.append(f"{phone.strikes} {'strike' if phone.strikes == 1 else 'strikes'}")
    if phone.heard_s > QUIET_S and phone.state != "gone":
        told.append(f"not heard for {rough_text(phone.heard_s)}")
    return "; ".join(told)


def run_rows(runs: Iterable[Run]) -> list[tuple[str, ...]]:
    """In the order of RUN_HEADINGS."""
    return [
        (
            run.run_id,
            run.suite,
            run.target,
            run.by or MISSING,
            str(run.priority),
            run.state,
            str(run.waiting),
            str(run.running),
            str(run.done),
            str(run.given_up),
            str(run.total),
            rough_text(run.planned_s),
            rough_text(run.took_s),
            rough_text(run.left_s) if run.state == "active" else MISSING,
        )
        for run in runs
    ]


def failure_rows(events: Iterable[Event]) -> list[tuple[str, ...]]:
    """In the order of FAILURE_HEADINGS; times of the day, in UTC as the hub tells them."""
    return [
        (
            time_text(event.at),
            event.what.replace("_", " "),
            event.run_id,
            MISSING if event.job is None else event.job.text,
            event.phone or MISSING,
            one_line(event.text),
        )
        for event in events
    ]


def one_line(text: str) -> str:
    """A reason as a line of a list has it: without line breaks, and not longer than anybody reads."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON_CHARS else line[: MAX_REASON_CHARS - 1] + "…"


def time_text(at: str) -> str:
    """`18:20:07` of a time as the hub tells it; the text itself if it is none."""
    try:
        return f"{datetime.fromisoformat(at):%H:%M:%S}"
    except ValueError:
        return at


def run_line(run: Run) -> str:
    """`smoke on class:iPhone17,1: 12 waiting, 4 running, 48 done of 64, about 3 min left`."""
    parts = [f"{run.waiting} waiting, {run.running} running, {run.done} done of {run.total}"]
    if run.given_up:
        parts.append(f"{run.given_up} given up")
    if run.state == "active":
        parts.append("end not known yet" if run.left_s is None else f"about {rough_text(run.left_s)} left")
    else:
        parts.append(run.state)
    return f"{run.suite} on {run.target}: {', '.join(parts)}"


def plan_line(run: Run) -> str:
    """Planned against real: `planned 12 min, took 13 min`."""
    planned = "not planned, for no record told how long its trials take" if run.planned_s is None else ""
    planned = planned or f"planned {rough_text(run.planned_s)}"
    return planned if run.took_s is None else f"{planned}; took {rough_text(run.took_s)}"
