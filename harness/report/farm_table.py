"""A farm as rows of text: its phones, its runs, what went wrong. The same for the live table and for `status`.

Pure; what is told is asked for by name, so that nothing of the farm's own room is known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from harness.core.standing import RunStanding
from harness.core.text import MISSING
from harness.report.fitting import GAP, cropped, fitting, longest

PHONE_HEADINGS = ("Phone", "Host", "Class", "iOS", "State", "Trial", "Doing", "Done", "Battery", "Temp", "Heat")
PHONE_RIGHT = ("Done", "Battery", "Temp")
PHONE_EXPENDABLE = ("Heat", "Done", "Temp", "Battery", "iOS", "Class", "Doing", "Host", "Trial")
"""What a narrow terminal goes without, the first first; so below."""
LIVE_HEADINGS = ("Phone", "Class", "State", "Doing", "Trial")
LIVE_EXPENDABLE = ("Class",)
RUN_HEADINGS = (
    "Run", "Suite", "Target", "By", "Priority", "State", "Waiting", "Running", "Done", "Given up",
    "Planned", "Took", "Left",
)  # fmt: skip  # one heading a line would be a page
RUN_RIGHT = RUN_HEADINGS[4:5] + RUN_HEADINGS[6:]
RUN_EXPENDABLE = ("Priority", "By", "Waiting", "Running", "Planned", "Took", "Suite", "Given up", "Left")
MIN_UDID_CHARS = 6
"""So much of a UDID is left at least where it is told short."""
MIN_TRIAL_CHARS = 28
MAX_REASON_CHARS = 240
MAX_UDID_CHARS = 40
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
    """In the order of PHONE_HEADINGS, a host's phones together; a host that a phone's name tells is not told again."""
    return [
        (
            phone.phone,
            "" if phone.phone.endswith(f"@{phone.host}") else phone.host,
            class_text(phone),
            phone.os_version,
            state_text(phone),
            MISSING if phone.job is None else phone.job.text,
            MISSING if phone.job is None else doing_text(phone),
            str(phone.done),
            MISSING if phone.battery_percent is None else f"{phone.battery_percent} %",
            MISSING if phone.battery_celsius is None else f"{phone.battery_celsius:.0f} °C",
            phone.thermal or MISSING,
        )
        for phone in by_host(phones)
    ]


def note_lines(phones: Iterable[Phone]) -> list[str]:
    """What is to be said of phones beside their state, a line for each of which there is something."""
    return [f"{phone.phone}: {note}" for phone in by_host(phones) if (note := note_text(phone))]


def live_rows(
    phones: Iterable[Phone], run_ids: Sequence[str] | None, width: int
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Headings, and a phone's state with its cells, in a table of at most `width` characters if that can be.

    Phones are told short, as `phone_names` has it; a trial of another run than `run_ids` is told as such. Of a phone
    that does nothing the note stands in the place of the trial.
    """
    ordered = by_host(phones)
    names = phone_names(ordered)
    rows: list[tuple[str, ...]] = []
    for phone in ordered:
        trial = note_text(phone) if phone.job is None else phone.job.text
        if phone.job is not None and run_ids is not None and phone.job.run_id not in run_ids:
            trial = f"(another run) {trial}"
        # what a phone that is gone was at when it was last heard of is not what it does
        doing = "" if phone.job is None or phone.doing is None else doing_text(phone)
        rows.append((names[phone.phone], class_text(phone), state_text(phone), doing, trial))
    # the last column gets what the others leave: they are fitted to its least
    least = [(*row[:-1], row[-1][:MIN_TRIAL_CHARS]) for row in rows]
    headings, cells = fitting(LIVE_HEADINGS, least, width, LIVE_EXPENDABLE)
    widths = [max(longest(heading), *(len(row[at]) for row in cells), 0) for at, heading in enumerate(headings[:-1])]
    left = max(MIN_TRIAL_CHARS, width - sum(widths) - GAP * len(widths))
    told: list[tuple[str, list[str]]] = []
    for phone, cell, row in zip(ordered, cells, rows, strict=True):
        # a trial's number is its end; of a note the beginning tells most
        last = cropped(row[-1], left, of_end=0.0 if phone.job is None else 0.6)
        told.append((phone.state, [*cell[:-1], last]))
    return headings, told


def by_host(phones: Iterable[Phone]) -> list[Phone]:
    """A host's phones together."""
    return sorted(phones, key=lambda phone: (phone.host, phone.phone))


def phone_names(phones: Sequence[Phone]) -> dict[str, str]:
    """For a table that is looked at: `…6135FD@mac-mini-3`, or `…6135FD` where there is one host only."""
    udids = {phone.phone: phone.phone.removesuffix(f"@{phone.host}") for phone in phones}
    apart = len({(phone.host, phone.phone) for phone in phones})
    hosts = {phone.host for phone in phones}
    chars = MIN_UDID_CHARS
    while chars < MAX_UDID_CHARS and len({(phone.host, udids[phone.phone][-chars:]) for phone in phones}) < apart:
        chars += 2
    names: dict[str, str] = {}
    for phone in phones:
        udid = udids[phone.phone]
        short = udid if len(udid) <= chars + 1 else f"…{udid[-chars:]}"
        names[phone.phone] = short if len(hosts) == 1 else f"{short}@{phone.host}"
    return names


def state_text(phone: Phone) -> str:
    """`not ready`."""
    return phone.state.replace("_", " ")


def doing_text(phone: Phone) -> str:
    """`push 40 %`."""
    if phone.doing is None:
        return MISSING
    return phone.doing if phone.share is None else f"{phone.doing} {phone.share * 100:.0f} %"


def note_text(phone: Phone) -> str:
    """What is to be said of a phone beside its state."""
    told = [one_line(phone.note)] if phone.note else []
    if phone.note.startswith("by ") and phone.state == "reserved":
        # beside a name it has to be said what is by somebody
        told = [f"reserved {told[0]}"]
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
            f"{run.done} of {run.total}",
            str(run.given_up) if run.given_up else "",
            rough_text(run.planned_s),
            rough_text(run.took_s),
            rough_text(run.left_s) if run.state == RunStanding.ACTIVE else MISSING,
        )
        for run in runs
    ]


def failure_lines(events: Iterable[Event]) -> list[str]:
    """A line for each, of any length; times of the day, in UTC as the hub tells them."""
    lines: list[str] = []
    for event in events:
        named = [text for text in ("" if event.job is None else event.job.text, event.phone or "") if text]
        of = f" {' on '.join(named)}" if named else ""
        lines.append(f"{time_text(event.at)} {event.what.replace('_', ' ')}{of}: {one_line(event.text)}")
    return lines


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
    """`smoke on class:iPhone17,1: 48 of 64 done, 4 running, about 3 min left`; whatever is neither waits."""
    parts = [f"{run.done} of {run.total} done"]
    if run.running:
        parts.append(f"{run.running} running")
    if run.given_up:
        parts.append(f"{run.given_up} given up")
    if run.state == RunStanding.ACTIVE:
        parts.append("end not known yet" if run.left_s is None else f"about {rough_text(run.left_s)} left")
    else:
        parts.append(run.state)
    return f"{run.suite} on {run.target}: {', '.join(parts)}"


def plan_line(run: Run) -> str:
    """Planned against real: `planned 12 min, took 13 min`."""
    planned = "not planned, for no record told how long its trials take" if run.planned_s is None else ""
    planned = planned or f"planned {rough_text(run.planned_s)}"
    return planned if run.took_s is None else f"{planned}; took {rough_text(run.took_s)}"
