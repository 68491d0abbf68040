"""A phone that is not ready: waited for where it cools, refused with the reading and the remedy where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.whole_way import Bench, Watcher

QUICK: dict[str, Any] = {"cool_timeout_s": 30, "cool_poll_s": 0.1}
NO_TIME: dict[str, Any] = {"cool_timeout_s": 0.3, "cool_poll_s": 0.1}


class Cooler(Watcher):
    """Does something to the phone when it hears that the harness waits."""

    def __init__(self, bench: Bench, do: str, **more: object) -> None:
        super().__init__()
        self.notes: list[str] = []
        self._bench, self._do, self._more = bench, do, more

    def note(self, text: str) -> None:
        if text.startswith("cooling") and not self.notes:
            self._bench.ask_phone(self._do, **self._more)
        self.notes.append(text)


def test_every_trial_records_how_the_phone_was(bench: Bench) -> None:
    record = bench.only(settings={"battery_celsius": "31.5", "battery": "64"}, matrix={"caches": ["none"]})
    assert record.outcome == "loaded", record.reason
    assert (record.battery_celsius, record.battery_percent, record.battery_charging) == (31.5, 64, True)
    assert (record.thermal_state_start, record.low_power) == ("nominal", False)
    assert (record.phone_locked, record.developer_mode, record.developer_image) == (False, True, True)
    assert record.ram_bytes == 8 * 1024**3
    assert record.free_bytes
    assert record.cooled_ns == 0
    assert record.phone_clock_offset_ns is not None


def test_a_warm_battery_is_waited_for(bench: Bench) -> None:
    cooler = Cooler(bench, "battery", temperature_celsius=30.0)
    needs = {"max_battery_celsius": 35, **QUICK}
    record = bench.only(settings={"battery_celsius": "41"}, needs=needs, watcher=cooler)
    assert record.outcome == "loaded", record.reason
    assert record.cooled_ns
    assert record.battery_celsius == pytest.approx(30.0, abs=1.0), "the reading that let the trial begin"
    assert "→ 35.0 °C" in cooler.notes[0]


def test_a_hot_phone_is_waited_for_by_the_app(bench: Bench) -> None:
    cooler = Cooler(bench, "thermal", state="nominal")
    record = bench.only(settings={"thermal": "serious"}, needs={"max_thermal": "fair", **QUICK}, watcher=cooler)
    assert record.outcome == "loaded", record.reason
    assert record.cooled_ns
    assert record.thermal_state_start == "nominal"
    assert "serious → fair" in cooler.notes[0]


@pytest.mark.parametrize(
    ("settings", "needs", "words"),
    [
        ({"battery_celsius": "41"}, {"max_battery_celsius": 35, **NO_TIME}, ("41.0 °C", "35.0 °C", "waited")),
        ({"thermal": "critical"}, {"max_thermal": "nominal", **NO_TIME}, ("critical", "nominal", "waited")),
        ({"battery": "20"}, {"min_battery_percent": 50, **NO_TIME}, ("20 %", "50 %", "Charge")),
        ({}, {"charging": False, **QUICK}, ("the phone charges",)),
        ({}, {"min_free": "900 GiB", **QUICK}, ("900 GiB", "Make room")),
        ({}, {"min_ram": "64 GiB", **QUICK}, ("8 GiB", "64 GiB", "more memory")),
        ({}, {"min_ios": "27.0", **QUICK}, ("18.5", "27.0", "Update")),
        ({}, {"max_ios": "17", **QUICK}, ("18.5", "older iOS")),
        ({"developer_mode": "false"}, {}, ("Developer Mode", "Settings")),
        ({"developer_image": "missing"}, {}, ("developer image", "docs/real-iphone.md")),
        ({"low_power": "true"}, {}, ("Low Power Mode is on", "Settings")),
    ],
)
def test_a_phone_that_will_not_do_is_not_ready_and_says_why(
    bench: Bench, settings: dict[str, str], needs: dict[str, Any], words: tuple[str, ...]
) -> None:
    record = bench.only(settings=settings, needs=needs)
    assert record.outcome == "not_ready", record.reason
    assert record.reason is not None
    for word in words:
        assert word in record.reason
    assert [item for item in record.evidence if item.decisive]
    assert record.sample_count == 0


def test_low_power_may_be_asked_for(bench: Bench) -> None:
    record = bench.only(settings={"low_power": "true"}, needs={"low_power": True})
    assert record.outcome == "loaded", record.reason
    assert record.low_power is True
