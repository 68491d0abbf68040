"""What a case needs of its phone against what the phone says: unmet needs, with reading and remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.phone import PhoneFacts, PhoneKind
from harness.device.interface import PhoneCondition
from harness.device.readiness import AppReading, Needs, ThermalState, thermal_state, unmet_by_app, unmet_by_phone

FACTS = PhoneFacts("0000", PhoneKind.VIRTUAL, "iPhone17,1", "18.5", "22F76", "phone")
GOOD = PhoneCondition(
    battery_celsius=30.0,
    battery_percent=80,
    charging=True,
    free_bytes=10**10,
    locked=False,
    developer_mode=True,
    developer_image=True,
    clock_offset_ns=0,
)
EVERYTHING = Needs(
    max_battery_celsius=35.0,
    max_thermal=ThermalState.FAIR,
    min_battery_percent=50,
    charging=True,
    low_power=False,
    min_free_bytes=10**9,
    min_ram_bytes=2**32,
    min_ios="17.4",
    max_ios="18",
)
GOOD_APP = AppReading(ThermalState.NOMINAL, low_power=False, ram_bytes=2**33)


def names(needs: Needs, condition: PhoneCondition, facts: PhoneFacts = FACTS) -> list[str]:
    return [unmet.need for unmet in unmet_by_phone(needs, facts, condition)]


def test_a_good_phone_has_nothing_unmet() -> None:
    assert names(EVERYTHING, GOOD) == []
    assert unmet_by_app(EVERYTHING, GOOD_APP) == []


def test_without_needs_only_what_every_trial_needs_is_looked_at() -> None:
    assert names(Needs(), PhoneCondition()) == []
    assert unmet_by_app(Needs(), AppReading()) == []
    assert names(Needs(), replace(GOOD, battery_celsius=60.0, battery_percent=1, free_bytes=0, charging=False)) == []
    assert names(Needs(), replace(GOOD, locked=True)) == [], "recorded, and told when a launch is refused"


@pytest.mark.parametrize(
    ("change", "need", "waits"),
    [
        ({"battery_celsius": 35.1}, "max_battery_celsius", True),
        ({"battery_percent": 49}, "min_battery_percent", True),
        ({"battery_percent": 49, "charging": False}, "min_battery_percent", False),
        ({"charging": False}, "charging", False),
        ({"free_bytes": 10**9 - 1}, "min_free", False),
        ({"developer_mode": False}, "Developer Mode", False),
        ({"developer_image": False}, "developer image", False),
        ({"battery_celsius": None}, "max_battery_celsius", False),
        ({"battery_percent": None}, "min_battery_percent", False),
        ({"charging": None}, "charging", False),
        ({"free_bytes": None}, "min_free", False),
    ],
)
def test_each_need_of_the_phone(change: dict[str, object], need: str, waits: bool) -> None:
    unmet = unmet_by_phone(EVERYTHING, FACTS, replace(GOOD, **change))  # type: ignore[arg-type]  # names of its fields
    found = next(one for one in unmet if one.need == need)
    assert (found.progress is not None) is waits
    assert found.remedy
    assert found.reading in found.words


@pytest.mark.parametrize(
    ("change", "need", "waits"),
    [
        ({"thermal": ThermalState.SERIOUS}, "max_thermal", True),
        ({"thermal": None}, "max_thermal", False),
        ({"low_power": True}, "low_power", False),
        ({"low_power": None}, "low_power", False),
        ({"ram_bytes": 2**31}, "min_ram", False),
        ({"ram_bytes": None}, "min_ram", False),
    ],
)
def test_each_need_of_the_app(change: dict[str, object], need: str, waits: bool) -> None:
    (found,) = unmet_by_app(EVERYTHING, replace(GOOD_APP, **change))  # type: ignore[arg-type]  # names of its fields
    assert found.need == need
    assert (found.progress is not None) is waits


def test_low_power_must_be_off_unless_asked_for_where_the_app_can_tell() -> None:
    on, off = replace(GOOD_APP, low_power=True), replace(GOOD_APP, low_power=False)
    assert [one.need for one in unmet_by_app(Needs(), on)] == ["low_power"]
    assert unmet_by_app(Needs(), off) == []
    assert unmet_by_app(Needs(low_power=True), on) == []
    assert [one.need for one in unmet_by_app(Needs(low_power=True), off)] == ["low_power"]


@pytest.mark.parametrize(
    ("version", "fits"),
    [("17.3", False), ("17.4", True), ("17.4.1", True), ("18", True), ("18.6.2", True), ("26.0", False)],
)
def test_the_range_of_ios(version: str, fits: bool) -> None:
    assert (names(EVERYTHING, GOOD, replace(FACTS, os_version=version)) == []) is fits


def test_what_no_waiting_mends_comes_first() -> None:
    assert names(EVERYTHING, replace(GOOD, battery_celsius=40.0, free_bytes=0)) == ["min_free", "max_battery_celsius"]


def test_a_thermal_state_by_name() -> None:
    assert thermal_state("serious") is ThermalState.SERIOUS
    assert thermal_state("boiling") is None
    assert thermal_state(None) is None
