"""What the board (`board.py`) knows of runs, trials and phones: plain values. Times are seconds of one clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from harness.core.errors import UsageError
from harness.core.phone import DeviceWord, PhoneKind, Virtual, parse_device_word
from harness.core.standing import GivenUpBy, TrialStanding
from harness.farm.wire import Announcement, JobId

STRIKES = 3
"""So many trials in a row that a phone spoilt take it out."""
CANCELLED = "cancelled"
"""Begins the reason of trials that nobody wanted any more."""


@dataclass(frozen=True)
class Target:
    """Which phones may run a run's trials: `word` is a phone's name, a class, or a virtual phone's word.

    Physical and virtual phones never share a run: `class:iPhone17,1` is one of physical phones, and attached virtual
    ones (`harness virtual run`) are `class:iPhone17,1 (virtual)`. A virtual phone that its own process has started is
    only meant by the word that it was joined with.
    """

    word: str

    def means(self, phone: Announcement) -> bool:
        """Whether the phone may run them."""
        if self.word == phone.phone:
            return True
        if not is_attached(phone):
            return self.word == virtual_word(phone.word)
        if self.word == class_text(phone.product_type, phone.kind):
            return True
        return phone.kind == PhoneKind.PHYSICAL and same_udid(self.word, phone.udid)

    @property
    def of_class(self) -> tuple[str, str] | None:
        """Kind and product type of the phones; None: it is no class."""
        if not self.word.startswith(_CLASS):
            return None
        product_type = self.word.removeprefix(_CLASS).removesuffix(_VIRTUAL)
        kind = PhoneKind.VIRTUAL if self.word.endswith(_VIRTUAL) else PhoneKind.PHYSICAL
        return kind.value, product_type


_CLASS, _VIRTUAL = "class:", " (virtual)"


def class_text(product_type: str, kind: str) -> str:
    """`Target.word` of the attached phones of a class and kind."""
    return f"{_CLASS}{product_type}{_VIRTUAL if kind == PhoneKind.VIRTUAL else ''}"


def both_kinds(product_type: str) -> str:
    """For people, where a class has physical phones and virtual ones."""
    return f"class:{product_type}: physical and virtual phones of it are there; each kind has a run of its own"


def is_attached(phone: Announcement) -> bool:
    """Whether it is behind a usbmuxd, as all but those are that their own process has started."""
    return phone.kind == PhoneKind.PHYSICAL or not isinstance(said_word(phone.word), Virtual)


@lru_cache(maxsize=1024)
def said_word(text: str) -> DeviceWord | None:
    """What a phone's process has announced as its word; None: it is no such word."""
    try:
        return parse_device_word(text)
    except UsageError:
        return None


def virtual_word(text: str) -> str:
    """The one form of several that mean the same virtual phone: `virtual` is `virtual:iphone-16-pro`."""
    word = said_word(text)
    return word.text if isinstance(word, Virtual) else text


def same_udid(one: str, other: str) -> bool:
    """Some usbmuxd drop the dash."""
    return one.replace("-", "").lower() == other.replace("-", "").lower()


@dataclass(frozen=True)
class BoardTrial:
    """A trial of a run, as far as placing it needs to know."""

    case: str
    ordinal: int
    number: int
    """In the suite's order, from 1: of equals the first goes first."""
    duration_s: float | None
    """What it takes, from records; None: no record tells."""
    model: str
    """What has to be on the phone: the file's digest where it is known, else the model's name."""
    push_s: float | None = None
    """What bringing the model there takes; None: not known, or nothing to speak of."""
    pause_s: float = 0.0
    """Rest of the phone after it."""
    attempt: int = 1
    """Number of the next attempt."""


@dataclass(frozen=True)
class BoardRun:
    run_id: str
    target: Target
    priority: int
    submitted_s: float
    """Of two with one priority the earlier goes first."""
    attempts: int
    """At most, at each trial."""


@dataclass(frozen=True)
class Assignment:
    """A trial for a phone, now."""

    job: JobId
    phone: str
    worker: str


@dataclass(frozen=True)
class Change:
    """A trial's new state: what the ledger has to keep. The board has it already."""

    job: JobId
    """Its attempt: of a waiting trial the next one's number."""
    state: TrialStanding
    phone: str | None = None
    host: str | None = None
    trial_id: str | None = None
    """Of the record that counts."""
    reason: str = ""
    """Why it waits again, or was given up."""
    given_up_by: GivenUpBy | None = None


@dataclass(frozen=True)
class BoardEvent:
    """Something that happened to a run, as `wire.FarmEvent` without its number and time."""

    run_id: str
    what: str
    """begun, ended, lost, late, given_up or note."""
    job: JobId | None = None
    phone: str | None = None
    outcome: str | None = None
    expected: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Mark:
    """What is to be kept of a phone (or of a host that is drained) beyond the hub's end."""

    what: str
    """The phone's or the host's name."""
    drained: str | None = None
    out: str | None = None
    reserved_until_s: float | None = None
    reserved_by: str = ""
    reserved_why: str = ""


class Taken(StrEnum):
    """What a delivered record is to its trial."""

    RESULT = "result"
    RETRY = "retry"
    """The phone or the host spoilt it, and there is an attempt left: evidence."""
    LATE = "late"
    """Another attempt counts, or will: evidence."""
    UNKNOWN = "unknown"
    """Of a run that the board does not have."""


@dataclass
class PhoneStanding:
    """A phone on the board; changed by the board alone."""

    said: Announcement
    heard_s: float
    gone: str | None = None
    """Why, when its process left or was lost."""
    job: JobId | None = None
    """That the hub believes to be under way on it."""
    strikes: list[str] = field(default_factory=list)
    """Reasons, of trials in a row that it spoilt; of three different trials."""
    struck_by: list[tuple[str, str, int]] = field(default_factory=list)
    """Which (run, case, ordinal)."""
    out: str | None = None
    """Why it takes no trials until it passes `doctor`."""
    drained: str | None = None
    """By whom and why."""
    reserved_until_s: float | None = None
    reserved_by: str = ""
    reserved_why: str = ""
    rests_until_s: float = 0.0
    done: int = 0
    assigned_s: float = 0.0
    """When it was given `job`."""
    without_s: float | None = None
    """Since when it says that it is not at `job`."""
    not_before_s: float = 0.0
    """It had a job that it could not begin, and is given none before."""
    not_had: int = 0
    """How often in a row."""
    denied_s: float | None = None
    """Since when it is free and got nothing, though something waits."""
    examine_at_s: float = 0.0
    """While it is out: when it is to be examined next."""
    examined: int = 0
    """How often it was told to be, since it is out."""
    models: set[str] = field(default_factory=set)
    """What is on it: digests it has announced, and models of trials that it has run."""

    @property
    def reserved_text(self) -> str:
        """By whom and why."""
        return f"{self.reserved_by}: {self.reserved_why}" if self.reserved_why else self.reserved_by
