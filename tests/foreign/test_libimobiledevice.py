"""The virtual phone, met by libimobiledevice's own tools: a client nobody here wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.virtual.running import RunningPhone, start_phone

TOOL_LIMIT_S = 60.0


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[RunningPhone]:
    with start_phone(home=tmp_path / "phone") as running:
        yield running


def tool(phone: RunningPhone, name: str, *arguments: str) -> str:
    """Standard output of one of the tools; skips where it is not installed."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (package libimobiledevice-utils)")
    environment = {**os.environ, "USBMUXD_SOCKET_ADDRESS": phone.usbmux, "HOME": str(phone.home)}
    return subprocess.run(
        [name, *arguments], capture_output=True, text=True, timeout=TOOL_LIMIT_S, check=True, env=environment
    ).stdout


def test_idevice_id_lists_the_phone(phone: RunningPhone) -> None:
    assert tool(phone, "idevice_id", "-l").split() == [phone.udid]


def test_idevicepair_pairs_validates_and_unpairs(phone: RunningPhone) -> None:
    assert "SUCCESS: Paired" in tool(phone, "idevicepair", "-u", phone.udid, "pair")
    assert "SUCCESS: Validated" in tool(phone, "idevicepair", "-u", phone.udid, "validate")
    assert "SUCCESS: Unpaired" in tool(phone, "idevicepair", "-u", phone.udid, "unpair")


def test_ideviceinfo_reads_values_over_a_session(phone: RunningPhone) -> None:
    tool(phone, "idevicepair", "-u", phone.udid, "pair")
    assert tool(phone, "ideviceinfo", "-u", phone.udid, "-k", "ProductVersion").strip() == "18.5"
    assert "ProductType: iPhone17,1" in tool(phone, "ideviceinfo", "-u", phone.udid)
    assert "BatteryCurrentCapacity: 87" in tool(
        phone, "ideviceinfo", "-u", phone.udid, "-q", "com.apple.mobile.battery"
    )


def test_idevicediagnostics_reads_the_battery(phone: RunningPhone) -> None:
    tool(phone, "idevicepair", "-u", phone.udid, "pair")
    said = tool(phone, "idevicediagnostics", "-u", phone.udid, "ioregentry", "AppleSmartBattery")
    assert "<key>Temperature</key>" in said


def test_idevicecrashreport_collects_reports(phone: RunningPhone, tmp_path: Path) -> None:
    tool(phone, "idevicepair", "-u", phone.udid, "pair")
    (phone.home / "CrashReports" / "JetsamEvent-2026-01-01-000000.ips").write_text('{"bug_type":"298"}\n{}\n')
    (tmp_path / "out").mkdir()
    tool(phone, "idevicecrashreport", "-u", phone.udid, "-k", str(tmp_path / "out"))
    assert (tmp_path / "out" / "JetsamEvent-2026-01-01-000000.ips").exists()
