"""A program that switches a USB port: its words, its places, its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.core.errors import DeviceError, UsageError
from harness.farm.host import usb_cycle
from harness.farm.host.usb_cycle import cycle_port, filled_in, parse_usb_cycle

UDID = "00008140-001A2B3C4D5E6F70"


def plugged_in(devices: Path, port: str) -> Path:
    (devices / port).mkdir(parents=True)
    (devices / port / "serial").write_text(UDID.replace("-", "") + "\n")
    (devices / port / "busnum").write_text("1\n")
    return devices


@pytest.mark.parametrize(("port", "words"), [("1-2", ["1", "2"]), ("1-2.3", ["1-2", "3"]), ("3-1.4.2", ["3-1.4", "2"])])
def test_places_are_filled_in_as_uhubctl_counts(tmp_path: Path, port: str, words: list[str]) -> None:
    command = parse_usb_cycle("uhubctl -a cycle -l {location} -p {port}")
    filled = filled_in(command, UDID, plugged_in(tmp_path, port))
    assert filled == ["uhubctl", "-a", "cycle", "-l", words[0], "-p", words[1]]


def test_a_place_needs_no_port_where_none_is_asked_for(tmp_path: Path) -> None:
    assert filled_in(parse_usb_cycle("'my tool' --phone={udid}"), UDID, tmp_path) == ["my tool", f"--phone={UDID}"]
    with pytest.raises(DeviceError, match="does not tell at which USB port"):
        filled_in(parse_usb_cycle("tool {port}"), UDID, tmp_path)


@pytest.mark.parametrize("text", ["", "tool {serial}", "tool '", "tool {port} {}"])
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--usb-cycle"):
        parse_usb_cycle(text)


@pytest.mark.anyio
async def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    await cycle_port([sys.executable, "-c", "pass"], UDID)
    with pytest.raises(DeviceError, match="ended with 3: no such hub"):
        await cycle_port([sys.executable, "-c", "import sys; sys.stderr.write('no such hub'); sys.exit(3)"], UDID)
    with pytest.raises(DeviceError, match="cannot be started"):
        await cycle_port(["/nowhere/tool"], UDID)


@pytest.mark.anyio
async def test_a_program_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usb_cycle, "CYCLE_LIMIT_S", 0.2)
    with pytest.raises(DeviceError, match="did not end"):
        await cycle_port([sys.executable, "-c", "import time; time.sleep(60)"], UDID)
