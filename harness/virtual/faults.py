"""What can go wrong with a phone, and when: faults as data, and the one line of text each can be written as.

``unplug:seconds=2@load`` is a fault: its name, what is particular about it, and its trigger after ``@`` (``@now`` when
absent). Several are joined by ``+``. Knows nothing of a phone; `fault_injector` makes faults happen.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.core.units import BYTES_PER_UNIT, parse_bytes

TEXT_LIMIT_CHARS = 4096
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_SECONDS = re.compile(r"\d{1,7}(?:\.\d{1,6})?", re.ASCII)
_COUNT = re.compile(r"-?\d{1,15}", re.ASCII)
_BARE_BYTES = re.compile(r"\d{1,15}", re.ASCII)
_DECIMALS = 6

Value = str | int | float


class FaultError(ValueError):
    """A fault, parameter or trigger that does not exist or has no such value; the message names the valid ones."""


class Moment(StrEnum):
    """When a fault strikes, in terms of what the phone sees."""

    NOW = "now"
    INSTALL = "install"
    PUSH = "push"
    LAUNCH = "launch"
    LOAD = "load"
    GENERATE = "generate"
    UNLOAD = "unload"
    PHASE = "phase"
    REPORT = "report"
    AFTER = "after"


MEANINGS: dict[Moment, str] = {
    Moment.NOW: "as soon as it is armed",
    Moment.INSTALL: "installation_proxy gets Install or Upgrade",
    Moment.PUSH: "push:OFFSET, a write over AFC brings a file of an app's container to that byte",
    Moment.LAUNCH: "an app has been started",
    Moment.LOAD: "an app tells its host that it begins to load: phases create_engine, map or read",
    Moment.GENERATE: "an app tells its host that it begins to generate: phases prefill or first_token",
    Moment.UNLOAD: "an app tells its host that it begins to unload: phase unload",
    Moment.PHASE: "phase:NAME, an app tells its host that this phase begins",
    Moment.REPORT: "a client opens a crash report to read it",
    Moment.AFTER: "after:SECONDS, counted from when it is armed",
}
PHASES: dict[Moment, frozenset[str]] = {
    Moment.LOAD: frozenset({"create_engine", "map", "read"}),
    Moment.GENERATE: frozenset({"prefill", "first_token"}),
    Moment.UNLOAD: frozenset({"unload"}),
}
"""The names of the runner's phases (docs/runner-protocol.md) that a moment stands for."""


@dataclass(frozen=True)
class Trigger:
    """A moment with what belongs to it: `offset_bytes` to PUSH, `seconds` to AFTER, `phase` to PHASE."""

    moment: Moment = Moment.NOW
    offset_bytes: int = 0
    seconds: float = 0.0
    phase: str = ""

    @property
    def phases(self) -> frozenset[str]:
        """The phases whose beginning is meant; empty when the trigger is of another kind."""
        return frozenset({self.phase}) if self.moment is Moment.PHASE else PHASES.get(self.moment, frozenset())

    def __str__(self) -> str:
        detail: dict[Moment, str] = {
            Moment.PUSH: str(self.offset_bytes),
            Moment.AFTER: _format_seconds(self.seconds),
            Moment.PHASE: self.phase,
        }
        return f"{self.moment}:{detail[self.moment]}" if self.moment in detail else str(self.moment)


@dataclass(frozen=True)
class Parameter:
    """One `key=value` of a fault: how it is read, and what it is when not given (None: it must be given)."""

    meaning: str
    read: Callable[[str], Value]
    default: Value | None


@dataclass(frozen=True)
class Kind:
    """One entry of `KINDS`."""

    meaning: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """One thing that will go wrong. `parameters` is complete; whatever is left to chance follows `seed`."""

    name: str
    trigger: Trigger = Trigger()
    parameters: Mapping[str, Value] = field(default_factory=dict)
    seed: str = "0"

    def chance(self) -> random.Random:
        """A source of chance that is the same for the same fault and seed."""
        return random.Random(f"{self.seed}/{self}")  # noqa: S311  # it must be reproducible, not secret

    def seconds(self, key: str = "seconds") -> float:
        """A parameter that is a time; infinity is for good."""
        return float(self.parameters[key])

    def count(self, key: str) -> int:
        """A parameter that is a whole number."""
        return int(self.parameters[key])

    def text(self, key: str) -> str:
        """A parameter that is a name."""
        return str(self.parameters[key])

    def __str__(self) -> str:
        kind = KINDS[self.name]
        given = (
            f":{key}={_format(self.parameters[key])}"
            for key, parameter in kind.parameters.items()
            if self.parameters[key] != parameter.default
        )
        return f"{self.name}{''.join(given)}@{self.trigger}"


def parse_faults(text: str, seed: str = "0") -> list[Fault]:
    """The faults of ``a@t+b:key=value@t``; FaultError names what is wrong and what there is."""
    if len(text) > TEXT_LIMIT_CHARS:
        raise FaultError(f"{len(text)} characters of faults exceed {TEXT_LIMIT_CHARS}")
    return [_parse_fault(word, seed) for word in text.split("+")]


def format_faults(faults: Iterable[Fault]) -> str:
    """The text `parse_faults` reads."""
    return "+".join(map(str, faults))


def make_fault(name: str, parameters: Mapping[str, str], at: str = "now", seed: str = "0") -> Fault:
    """A fault from its parts, all still words; FaultError names what is wrong and what there is."""
    kind = KINDS.get(name)
    if kind is None:
        raise FaultError(f"there is no fault {name[:60]!r}; there are: {', '.join(KINDS)}")
    for key in parameters:
        if key not in kind.parameters:
            known = ", ".join(kind.parameters) or "none"
            raise FaultError(f"{name} has no parameter {key[:60]!r}; it has: {known}")
    values: dict[str, Value] = {}
    for key, parameter in kind.parameters.items():
        if key in parameters:
            values[key] = _read(f"{name}: {key}", parameter.read, parameters[key])
        elif parameter.default is None:
            raise FaultError(f"{name} needs {key}={parameter.meaning}")
        else:
            values[key] = parameter.default
    return Fault(name, parse_trigger(at), values, seed)


def parse_trigger(text: str) -> Trigger:
    """A trigger from its words; FaultError names the valid ones."""
    word, colon, detail = text.partition(":")
    if word not in set(Moment):
        raise FaultError(f"there is no trigger {word[:60]!r}; there are: {', '.join(Moment)}")
    moment = Moment(word)
    match moment:
        case Moment.PUSH:
            return Trigger(moment, offset_bytes=int(_read("push:OFFSET", _bytes, detail)) if colon else 0)
        case Moment.AFTER:
            return Trigger(moment, seconds=float(_read("after:SECONDS", _finite_seconds, detail)))
        case Moment.PHASE:
            return Trigger(moment, phase=str(_read("phase:NAME", _name, detail)))
    if colon:
        raise FaultError(f"the trigger {word} takes nothing after a colon, got {detail[:60]!r}")
    return Trigger(moment)


def _parse_fault(text: str, seed: str) -> Fault:
    head, _, at = text.partition("@")
    name, *pairs = head.strip().split(":")
    parameters: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise FaultError(f"{text[:60]!r}: {pair[:60]!r} is no key=value")
        if key in parameters:
            raise FaultError(f"{text[:60]!r}: {key} is given twice")
        parameters[key] = value
    if "@" in text and not at:
        raise FaultError(f"{text[:60]!r}: after @ comes a trigger: {', '.join(Moment)}")
    return make_fault(name, parameters, at.strip() or "now", seed)


def _read(what: str, read: Callable[[str], Value], text: str) -> Value:
    try:
        return read(text)
    except ValueError as error:
        raise FaultError(f"{what}: {error}") from error


def _format(value: Value) -> str:
    return _format_seconds(value) if isinstance(value, float) else str(value)


def _format_seconds(seconds: float) -> str:
    if math.isinf(seconds):
        return "inf"
    return f"{seconds:.{_DECIMALS}f}".rstrip("0").rstrip(".")


# -- readers of values; ValueError says what is accepted


def _seconds(text: str) -> Value:
    return math.inf if text == "inf" else _finite_seconds(text)


def _finite_seconds(text: str) -> Value:
    if not _SECONDS.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is no number of seconds, such as 2 or 0.5")
    return float(text)


def _name(text: str) -> Value:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is no name: letters, digits, dots, hyphens and underscores")
    return text


def _bytes(text: str) -> Value:
    if _BARE_BYTES.fullmatch(text):
        return int(text)
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ValueError(
            f"{text[:40]!r} is no size: bytes, or a number and one of {', '.join(BYTES_PER_UNIT)}"
        ) from error


def _count(lowest: int, highest: int) -> Callable[[str], Value]:
    def read(text: str) -> Value:
        if not _COUNT.fullmatch(text) or not lowest <= int(text) <= highest:
            raise ValueError(f"{text[:60]!r} is no whole number from {lowest} to {highest}")
        return int(text)

    return read


def _rate(text: str) -> Value:
    rate = _bytes(text)
    if rate == 0:
        raise ValueError("nothing would get through: give more than 0 bytes a second")
    return rate


_SERVICE = Parameter("NAME of a service, such as com.apple.afc", _name, None)
_FOR_GOOD = Parameter("how long it lasts, inf for good", _seconds, math.inf)
_AWAY = Parameter("how long the phone is away, inf for good", _seconds, 1.0)
_SECONDS_OF_DECADE = 10 * 365 * 86400

KINDS: dict[str, Kind] = {
    "unplug": Kind("the cable is pulled and put back", {"seconds": _AWAY}),
    "tunnel-drop": Kind("every developer tunnel breaks without a farewell"),
    "drop-large-packets": Kind("packets of the host over 8192 bytes vanish in the tunnel", {"seconds": _FOR_GOOD}),
    "slow-link": Kind(
        "the cable is slow for connections made after the fault was armed",
        {
            "bandwidth": Parameter("bytes a second each way, such as 40MB", _rate, 1_000_000),
            "latency_ms": Parameter("milliseconds added to a round trip", _count(0, 60_000), 0),
            "seconds": _FOR_GOOD,
        },
    ),
    "service-refuses": Kind(
        "lockdownd will not start a service; behind the tunnel its connections close at once",
        {
            "service": _SERVICE,
            "error": Parameter("lockdownd's Error", _name, "ServiceProhibited"),
            "seconds": _FOR_GOOD,
        },
    ),
    "service-hangs": Kind(
        "a service takes connections and never says a word", {"service": _SERVICE, "seconds": _FOR_GOOD}
    ),
    "afc-error": Kind(
        "the write at hand, or else the next, into an app's container ends with a status; what came before it is kept",
        {"status": Parameter("AFC's number, 18 is disk full", _count(1, 255), 18)},
    ),
    "file-truncated": Kind("the next file pushed into an app's container loses its end once closed"),
    "file-corrupted": Kind("the next file pushed into an app's container is damaged once closed"),
    "kill-app": Kind("running apps get a signal", {"signal": Parameter("its number", _count(1, 64), 9)}),
    "app-silent": Kind("what apps send never reaches the host; connections stay open", {"seconds": _FOR_GOOD}),
    "app-garbage": Kind(
        "random bytes get into what an app sends", {"bytes": Parameter("how many", _count(1, 1_000_000), 4096)}
    ),
    "reboot": Kind("the phone restarts: apps die, it detaches and comes back", {"seconds": _AWAY}),
    "revoke-trust": Kind(
        "every host is forgotten, its connections break, and whoever pairs again meets the dialog",
        {"seconds": Parameter("how long the dialog stays without an answer", _seconds, math.inf)},
    ),
    "jetsam-other": Kind(
        "another app is killed for memory, and a report says so",
        {"app": Parameter("its name", _name, "MobileMail")},
    ),
    "sysmontap-silent": Kind("the system monitor takes no samples", {"seconds": _FOR_GOOD}),
    "sysmontap-slow": Kind(
        "the system monitor gives a sample every few seconds, how many is left to chance",
        {
            "least": Parameter("seconds", _finite_seconds, 3.0),
            "most": Parameter("seconds", _finite_seconds, 5.0),
            "seconds": _FOR_GOOD,
        },
    ),
    "clock-jump": Kind(
        "the phone's wall clock jumps",
        {"offset": Parameter("seconds, negative for back", _count(-_SECONDS_OF_DECADE, _SECONDS_OF_DECADE), 3600)},
    ),
}
"""Every fault there is."""
