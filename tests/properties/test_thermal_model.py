"""The emulated thermal model: it rises under load, cools with time, never runs away, and time steps do not matter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.conditions import Conditions
from harness.virtual.profiles import make_state
from harness.virtual.state import Battery, Thermal
from harness.virtual.thermal import (
    BUSY_CORES_LIMIT,
    HYSTERESIS_CELSIUS,
    REST_CELSIUS,
    RISE_CELSIUS_PER_CORE,
    THRESHOLDS_CELSIUS,
    Load,
    advance,
    thermal_state,
)

NS = 1_000_000_000
celsius = st.floats(-10, 90)
seconds = st.floats(0.001, 5000)
cores = st.floats(0, BUSY_CORES_LIMIT)


def load(elapsed_s: float, busy: float) -> Load:
    return Load(elapsed_s, round(elapsed_s * busy * NS))


@given(celsius, seconds, cores, st.booleans())
def test_it_approaches_the_loads_temperature_and_does_not_pass_it(
    start: float, elapsed_s: float, busy: float, charging: bool
) -> None:
    battery = Battery(temperature_celsius=start, charging=charging)
    advance(battery, load(elapsed_s, busy))
    target = REST_CELSIUS + RISE_CELSIUS_PER_CORE * busy
    assert min(start, target) - 1e-3 <= battery.temperature_celsius <= max(start, target) + 1e-3
    assert 0 <= battery.level_percent <= 100


@given(celsius, seconds, cores, st.integers(2, 20))
def test_many_steps_are_one(start: float, elapsed_s: float, busy: float, steps: int) -> None:
    one, many = Battery(temperature_celsius=start), Battery(temperature_celsius=start)
    advance(one, Load(elapsed_s, int(elapsed_s * busy * NS)))
    for _ in range(steps):
        advance(many, Load(elapsed_s / steps, int(elapsed_s * busy * NS / steps)))
    assert many.temperature_celsius == pytest.approx(one.temperature_celsius, abs=1e-3)


@given(celsius, cores, cores, seconds)
def test_more_load_is_hotter_and_costs_more(start: float, little: float, more: float, elapsed_s: float) -> None:
    little, more = sorted((little, more))
    cool, hot = Battery(temperature_celsius=start), Battery(temperature_celsius=start)
    advance(cool, load(elapsed_s, little))
    advance(hot, load(elapsed_s, more))
    assert cool.temperature_celsius <= hot.temperature_celsius + 1e-3
    assert cool.level_percent >= hot.level_percent - 1e-3


def test_time_that_stands_still_or_runs_back_changes_nothing() -> None:
    battery = Battery(temperature_celsius=40.0)
    for elapsed_s in (0.0, -5.0):
        advance(battery, Load(elapsed_s, NS))
    assert battery == Battery(temperature_celsius=40.0)


@given(st.lists(celsius, min_size=1, max_size=20))
def test_the_state_rises_at_a_threshold_and_falls_a_little_under_it(course: list[float]) -> None:
    state = Thermal.NOMINAL
    for temperature in course:
        state = thermal_state(temperature, state)
        for other, threshold in THRESHOLDS_CELSIUS.items():
            if temperature >= threshold:
                assert state >= other
            if temperature < threshold - HYSTERESIS_CELSIUS:
                assert state < other


def test_a_state_near_its_threshold_does_not_flutter() -> None:
    threshold = THRESHOLDS_CELSIUS[Thermal.SERIOUS]
    assert thermal_state(threshold - 0.5, Thermal.SERIOUS) is Thermal.SERIOUS
    assert thermal_state(threshold - 0.5, Thermal.FAIR) is Thermal.FAIR


def test_apps_that_work_heat_the_phone_and_the_file_says_so(tmp_path: Path) -> None:
    """Ten minutes of two busy cores, then an hour of rest, with time from the test."""
    now_s = 0.0
    used_ns: dict[int, int] = {}
    state = make_state("iphone-16-pro", {"charging": "false"}, tmp_path, "x")
    conditions = Conditions(state, lambda: used_ns, lambda: now_s)

    def told() -> dict[str, object]:
        conditions.tell()
        said: dict[str, object] = json.loads(state.system_state_file.read_text())
        return said

    assert told() == {"thermal": 0, "low_power": False, "battery_percent": 87}
    for _ in range(600):
        now_s += 1
        used_ns[4711] = used_ns.get(4711, 0) + 2 * NS
        conditions.step()
    assert state.battery.temperature_celsius > 42
    assert told()["thermal"] == Thermal.SERIOUS
    assert state.battery.percent < 87
    hot_percent = state.battery.percent
    used_ns.clear()
    now_s += 3600
    conditions.step()
    assert state.battery.temperature_celsius == pytest.approx(REST_CELSIUS, abs=0.01)
    assert told()["thermal"] == Thermal.NOMINAL
    assert state.battery.percent < hot_percent, "it has no cable"


def test_a_held_state_does_not_follow_the_model(tmp_path: Path) -> None:
    state = make_state("iphone-16-pro", {"thermal": "critical"}, tmp_path, "x")
    conditions = Conditions(state, dict, lambda: 0.0)
    conditions.step()
    held = state.thermal
    state.thermal_held = None
    assert (held, state.thermal) == (Thermal.CRITICAL, Thermal.NOMINAL)
