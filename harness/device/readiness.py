"""Is the phone fit for a measurement? What a case needs against what the phone, and the app on it, say.

Pure: readings in, unmet needs out. Who waits for a warm phone is `bench.ready`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from packaging.version import InvalidVersion, Version

from harness.core.phone import PhoneFacts
from harness.core.units import format_bytes
from harness.device.interface import PhoneCondition


class ThermalState(StrEnum):
    """`ProcessInfo.ThermalState`, coolest first."""

    NOMINAL = "nominal"
    FAIR = "fair"
    SERIOUS = "serious"
    CRITICAL = "critical"


_RANK = {state: rank for rank, state in enumerate(ThermalState)}

# A measurement under Low Power Mode is one of another phone, so it must be off unless a suite says otherwise.
COOL_TIMEOUT_S = 900.0
COOL_POLL_S = 10.0


@dataclass(frozen=True)
class Needs:
    """What a trial needs of its phone; None: nothing."""

    max_battery_celsius: float | None = None
    max_thermal: ThermalState | None = None
    min_battery_percent: int | None = None
    charging: bool | None = None
    low_power: bool | None = None
    """None: off, where the app can tell."""
    min_free_bytes: int | None = None
    min_ram_bytes: int | None = None
    min_ios: str | None = None
    max_ios: str | None = None
    """`18` includes every 18.x."""
    cool_timeout_s: float = COOL_TIMEOUT_S
    cool_poll_s: float = COOL_POLL_S


@dataclass(frozen=True)
class AppReading:
    """What only an app on the phone can tell. None: it does not tell."""

    thermal: ThermalState | None = None
    low_power: bool | None = None
    ram_bytes: int | None = None
    footprint_bytes: int | None = None
    """Of the app itself, before it has loaded anything."""
    available_bytes: int | None = None
    largest_mapping_bytes: int | None = None
    """Of private memory, as the app found by trying."""


@dataclass(frozen=True)
class Unmet:
    """A need that is not met: its name in the suite, what was read, what to do."""

    need: str
    reading: str
    remedy: str
    progress: str | None = None
    """Where waiting helps: from where to where it must go, as `cooling: 36.1 °C → 35.0 °C`."""

    @property
    def words(self) -> str:
        return f"{self.need}: {self.reading}. {self.remedy}"


def thermal_state(text: str | None) -> ThermalState | None:
    """The state that an app names; None for one that is not known."""
    return ThermalState(text) if text in tuple(ThermalState) else None


def unmet_by_phone(needs: Needs, facts: PhoneFacts, condition: PhoneCondition) -> list[Unmet]:
    """The needs that the host can check, those that no waiting mends first."""
    found = [*_basics(condition), *_class(needs, facts), *_battery(needs, condition), *_storage(needs, condition)]
    return sorted(found, key=lambda unmet: unmet.progress is not None)


def unmet_by_app(needs: Needs, reading: AppReading) -> list[Unmet]:
    """The needs that the app checks, those that no waiting mends first."""
    found = [*_app(needs, reading)]
    return sorted(found, key=lambda unmet: unmet.progress is not None)


def _basics(condition: PhoneCondition) -> Iterator[Unmet]:
    """What every trial needs; a lock is only told of, since a phone may be used while it says that it is locked."""
    if condition.developer_mode is False:
        remedy = "Switch it on: Settings → Privacy & Security → Developer Mode, and restart the phone"
        yield Unmet("Developer Mode", "it is off", remedy)
    elif condition.developer_image is False:
        remedy = "Mount it: `pymobiledevice3 mounter auto-mount` (docs/real-iphone.md)"
        yield Unmet("developer image", "it is not mounted", remedy)


def _class(needs: Needs, facts: PhoneFacts) -> Iterator[Unmet]:
    if needs.min_ios is None and needs.max_ios is None:
        return
    try:
        version = Version(facts.os_version)
    except InvalidVersion:
        yield Unmet("min_ios", f"the phone's iOS is {facts.os_version!r}, no version", "Use another phone")
        return
    if needs.min_ios is not None and version < Version(needs.min_ios):
        text = f"the phone has iOS {version}, the suite needs {needs.min_ios}"
        yield Unmet("min_ios", text, "Update the phone or use another one")
    if needs.max_ios is not None and not _within(version, needs.max_ios):
        text = f"the phone has iOS {version}, the suite allows at most {needs.max_ios}"
        yield Unmet("max_ios", text, "Use a phone with an older iOS")


def _within(version: Version, maximum: str) -> bool:
    """As far as the maximum says: 18.5 lies within 18."""
    most = Version(maximum)
    return version.release[: len(most.release)] <= most.release


def _battery(needs: Needs, condition: PhoneCondition) -> Iterator[Unmet]:
    celsius, most = condition.battery_celsius, needs.max_battery_celsius
    if most is not None and celsius is None:
        yield _untold("max_battery_celsius", "its battery's temperature")
    elif most is not None and celsius is not None and celsius > most:
        text = f"the battery has {celsius:.1f} °C, the suite allows {most:.1f} °C"
        yield Unmet("max_battery_celsius", text, "Let the phone cool", f"cooling: {celsius:.1f} °C → {most:.1f} °C")
    percent, least = condition.battery_percent, needs.min_battery_percent
    if least is not None and percent is None:
        yield _untold("min_battery_percent", "its battery's level")
    elif least is not None and percent is not None and percent < least:
        text = f"the battery is at {percent} %, the suite needs {least} %"
        # what charges will get there
        progress = f"charging: {percent} % → {least} %" if condition.charging else None
        yield Unmet("min_battery_percent", text, "Charge the phone", progress)
    if needs.charging is not None and condition.charging is None:
        yield _untold("charging", "whether it charges")
    elif needs.charging is not None and condition.charging is not needs.charging:
        text = "the phone does not charge" if needs.charging else "the phone charges"
        remedy = "Use a port that gives power" if needs.charging else "Use a hub that can switch its power off"
        yield Unmet("charging", text, remedy)


def _storage(needs: Needs, condition: PhoneCondition) -> Iterator[Unmet]:
    free, least = condition.free_bytes, needs.min_free_bytes
    if least is not None and free is None:
        yield _untold("min_free", "its free storage")
    elif least is not None and free is not None and free < least:
        text = f"{format_bytes(free)} are free, the suite needs {format_bytes(least)}"
        yield Unmet("min_free", text, "Make room on the phone")


def _app(needs: Needs, reading: AppReading) -> Iterator[Unmet]:
    thermal, most = reading.thermal, needs.max_thermal
    if most is not None and thermal is None:
        yield _untold("max_thermal", "its thermal state")
    elif most is not None and thermal is not None and _RANK[thermal] > _RANK[most]:
        text = f"the thermal state is {thermal}, the suite allows {most}"
        yield Unmet("max_thermal", text, "Let the phone cool", f"cooling: {thermal} → {most}")
    asked = bool(needs.low_power)
    if needs.low_power is not None and reading.low_power is None:
        yield _untold("low_power", "whether Low Power Mode is on")
    elif reading.low_power is not None and reading.low_power is not asked:
        text = "Low Power Mode is off, the suite asks for it" if asked else "Low Power Mode is on"
        yield Unmet("low_power", text, f"Switch it {'on' if asked else 'off'}: Settings → Battery")
    ram, least = reading.ram_bytes, needs.min_ram_bytes
    if least is not None and ram is None:
        yield _untold("min_ram", "its memory")
    elif least is not None and ram is not None and ram < least:
        text = f"the phone has {format_bytes(ram)}, the suite needs {format_bytes(least)}"
        yield Unmet("min_ram", text, "Use a phone with more memory")


def _untold(need: str, what: str) -> Unmet:
    return Unmet(need, f"the phone does not tell {what}", f"Take {need} out of [needs], or use another phone")
