"""The settings of a virtual phone, `key=value` each: their names, what they mean, and how their words are read.

A setting is a departure from the profile; none is filled in silently. Knows no profile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.core.units import UnitError, parse_bytes
from harness.virtual.faults import parse_faults
from harness.virtual.state import Connection, Thermal, Trust

UDID = re.compile(r"[0-9A-F]{8}-[0-9A-F]{16}", re.ASCII)
COLDEST_CELSIUS, HOTTEST_CELSIUS = -40.0, 100.0


class BadProfile(ValueError):
    """A profile or a setting that does not exist or has no such value; the message names the valid ones."""


@dataclass(frozen=True)
class Setting:
    """One setting: what it does, the form of its value, and the reader, which raises ValueError with a reason."""

    meaning: str
    form: str
    read: Callable[[str], Any]


def parse_settings(words: list[str]) -> dict[str, str]:
    """`key=value` words as a dictionary; BadProfile for an unknown key or a word without '='."""
    settings: dict[str, str] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or key not in SETTINGS:
            raise BadProfile(f"{word!r} is no setting: write key=value with one of {', '.join(SETTINGS)}")
        if key in settings:
            raise BadProfile(f"{key} is set twice")
        settings[key] = value
    return settings


def read_settings(settings: Mapping[str, str]) -> dict[str, Any]:
    """The values the words stand for; BadProfile names the setting and the form its value must have."""
    values = {}
    for key, text in settings.items():
        if key not in SETTINGS:
            raise BadProfile(f"{key!r} is no setting; there are: {', '.join(SETTINGS)}")
        try:
            values[key] = SETTINGS[key].read(text)
        except ValueError as error:
            raise BadProfile(f"{key}={text[:60]}: {error}; write {key}={SETTINGS[key].form}") from error
    return values


def _text(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


def _faults(text: str) -> str:
    parse_faults(text)
    return text


def _udid(text: str) -> str:
    if not UDID.fullmatch(text):
        raise ValueError("it is no UDID: eight hex digits, a hyphen, sixteen, in capitals")
    return text


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except UnitError as error:
        raise ValueError(str(error)) from error


def _limit(text: str) -> int:
    size_bytes = _bytes(text)
    if size_bytes == 0:
        raise ValueError("that leaves an app nothing")
    return size_bytes


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("it is neither true nor false")
    return text == "true"


def _number(lowest: float, highest: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = float(text) if re.fullmatch(r"-?\d{1,4}(\.\d{1,3})?", text, re.ASCII) else None
        if number is None or not lowest <= number <= highest:
            raise ValueError(f"it is no number from {lowest:g} to {highest:g}")
        return number

    return read


def _one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    return lambda text: kind(text) if text in set(kind) else _unknown(text, list(kind))


def _choice(words: Mapping[str, Any]) -> Callable[[str], Any]:
    return lambda text: words[text] if text in words else _unknown(text, list(words))


def _unknown(text: str, words: list[str]) -> Any:
    raise ValueError(f"{text[:40]!r} is none of {', '.join(words)}")


def _words(kind: type[StrEnum]) -> str:
    return "|".join(kind)


_THERMAL = {state.name.lower(): state for state in Thermal}
_STATES = "|".join(_THERMAL)
_CONNECTIONS = _words(Connection)

SETTINGS: dict[str, Setting] = {
    "ios": Setting("iOS version, one the profile has run", "18.5 (or 18 for the newest 18)", _text),
    "footprint_limit": Setting("where the phone kills an app, whatever its entitlements", "90MiB", _limit),
    "footprint_limit_increased": Setting("the same for an app with increased-memory-limit", "120MiB", _limit),
    "allocation_limit": Setting("how much private memory an app may map, whatever its entitlements", "150MiB", _limit),
    "allocation_limit_extended": Setting("the same for an app with extended-virtual-addressing", "4GiB", _limit),
    "thermal": Setting(
        "hold the thermal state there; else it follows the model", "|".join(_THERMAL), _choice(_THERMAL)
    ),
    "battery": Setting("level to begin with, in percent", "80", _number(0, 100)),
    "battery_celsius": Setting("temperature to begin with", "41.5", _number(COLDEST_CELSIUS, HOTTEST_CELSIUS)),
    "charging": Setting("whether the cable charges it", "true|false", _switch),
    "low_power": Setting("Low Power Mode", "true|false", _switch),
    "disk_free": Setting("how much services may still write before the disk is full", "64MiB", _bytes),
    "trust": Setting("what a host that wants to pair meets", _words(Trust), _one_of(Trust)),
    "developer_mode": Setting("Developer Mode", "true|false", _switch),
    "developer_image": Setting(
        "whether the developer image is mounted", "mounted|missing", _choice({"mounted": True, "missing": False})
    ),
    "connection": Setting(
        "how usbmuxd lists it; on Wi-Fi it refuses connections", _words(Connection), _one_of(Connection)
    ),
    "gpu": Setting("an emulated GPU backend, or none", "none|emulated", _choice({"none": False, "emulated": True})),
    "fault": Setting("what goes wrong, and when: see `faults`", "NAME:KEY=VALUE@TRIGGER+…", _faults),
    "drop_large_packets": Setting("packets of the host over 8192 bytes vanish in the tunnel", "true|false", _switch),
    "plain_services": Setting("services without TLS, which no phone does: for benchmarks", "true|false", _switch),
    "udid": Setting("its UDID", "00008140-0123456789ABCDEF", _udid),
    "seed": Setting("another identity, and the seed of whatever is random", "7", _text),
}
"""Every setting by name."""
