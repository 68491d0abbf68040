"""What a virtual phone tells its apps about itself, read from the file it rewrites."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.runner.app.system_state import Change, SystemState


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "system_state.json"
    rewrite(path)
    return path


def rewrite(path: Path, *, thermal: int = 0, low_power: bool = False) -> None:
    """Replaced as a whole, as the phone does it."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"thermal": thermal, "low_power": low_power, "battery_percent": 80}))
    new.replace(path)


def test_the_start_is_no_change(file: Path) -> None:
    rewrite(file, thermal=2, low_power=True)
    state = SystemState(file)
    assert (state.thermal, state.low_power) == (2, True)
    assert state.refresh() == []


def test_changes_are_told_once(file: Path) -> None:
    state = SystemState(file)
    rewrite(file, thermal=3, low_power=True)
    assert state.refresh() == [Change("thermal", "critical"), Change("low_power", "on")]
    assert state.thermal == 3
    rewrite(file, thermal=3)
    assert state.refresh() == [Change("low_power", "off")]
    assert state.refresh() == []


def test_a_replacement_within_one_tick_is_seen(file: Path) -> None:
    state = SystemState(file)
    before = file.stat()
    rewrite(file, thermal=1)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert state.refresh() == [Change("thermal", "fair")]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"thermal": 4, "low_power": false}',
        '{"thermal": -1, "low_power": false}',
        '{"thermal": true, "low_power": false}',
        '{"thermal": 0}',
        '{"thermal": 0, "low_power": 1}',
        '{"thermal": 0, "low_power": false' + " " * 5000 + "}",
    ],
)
def test_what_cannot_be_read_is_not_known_and_not_nominal(file: Path, content: str) -> None:
    state = SystemState(file)
    file.write_text(content)
    with pytest.raises(ValueError):  # noqa: PT011  # the text differs, the type is the contract
        SystemState(file)
    assert state.refresh() == []
    assert (state.thermal, state.low_power) == (None, None)
    rewrite(file)
    assert state.refresh() == [], "as it was before"
    assert state.thermal == 0


def test_a_missing_file_is_a_mistake_at_the_start_and_unknown_later(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="VIRTUAL_SYSTEM_STATE"):
        SystemState(tmp_path / "none.json")
    state = SystemState(file)
    file.unlink()
    assert state.refresh() == []
    assert state.thermal is None
