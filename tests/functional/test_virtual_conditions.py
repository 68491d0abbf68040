"""What a phone does to its apps beside killing them: warns, warms up, reboots, jumps in time; and what it tells."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import PasswordRequiredError
from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from harness.virtual.running import ControlRefused, RunningPhone

if TYPE_CHECKING:
    from tests.functional.conftest import MakeIpa, StartPhone

Eventually = Callable[[Callable[[], object]], None]
BUNDLE_ID = "com.example.probe"
MIB = 1024 * 1024
LIMIT_MIB = 60
# 80 % of the limit is 48 MiB: two thirds of the way up is past it with the interpreter's own few MiB
APP = f"""#!{sys.executable} -IS
import json, os, signal, sys, time
task, *words = sys.argv[1:]
told = []
if "catch" in words:
    signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
if task == "rise":
    for _ in range(int(words[0])):
        held = bytearray({46 * MIB})
        time.sleep(0.1)
        del held
        time.sleep(0.1)
    with open("Documents/told", "w") as file:
        file.write(str(len(told)))
if task == "burn":
    while True:
        pass
time.sleep(100)
"""


def install(phone: RunningPhone, package: Path) -> None:
    async def run() -> None:
        client = await create_using_usbmux(serial=phone.udid, autopair=True)
        async with client, InstallationProxyService(client) as installer:
            await installer.install_from_local(package, developer=True)

    asyncio.run(run())


def launch(phone: RunningPhone, *arguments: str) -> int:
    return int(phone.control("launch", bundle_id=BUNDLE_ID, arguments=list(arguments))["pid"])


def warnings(phone: RunningPhone, pid: int) -> list[dict[str, Any]]:
    return [entry for entry in phone.truth() if entry["event"] == "memory_warning" and entry["pid"] == pid]


def told(phone: RunningPhone) -> dict[str, Any]:
    """What an app that reads the file of VIRTUAL_SYSTEM_STATE is told."""
    said: dict[str, Any] = json.loads((phone.home / "system_state.json").read_text(encoding="utf-8"))
    return said


def device_ids(phone: RunningPhone) -> list[int]:
    devices = asyncio.run(usbmux.list_devices(usbmux_address=phone.usbmux))
    return [device.devid for device in devices if device.serial == phone.udid]


@pytest.fixture
def probe(phone_starter: StartPhone, make_ipa: MakeIpa) -> RunningPhone:
    phone = phone_starter({"footprint_limit": f"{LIMIT_MIB}MiB"})
    install(phone, make_ipa(APP))
    return phone


def test_an_app_near_its_limit_is_warned_once_for_each_time(probe: RunningPhone, eventually: Eventually) -> None:
    pid = launch(probe, "rise", "2", "catch")
    count = probe.home / "Containers" / BUNDLE_ID / "Documents" / "told"
    eventually(lambda: count.exists() and count.read_text())
    assert count.read_text() == "2"
    eventually(lambda: len(warnings(probe, pid)) == 2)
    for warning in warnings(probe, pid):
        assert warning["told"]
        assert LIMIT_MIB * MIB * 8 // 10 <= warning["warned_footprint_bytes"] <= LIMIT_MIB * MIB


def test_an_app_that_does_not_listen_is_not_ended_by_a_warning(probe: RunningPhone, eventually: Eventually) -> None:
    pid = launch(probe, "rise", "1")
    eventually(lambda: warnings(probe, pid))
    count = probe.home / "Containers" / BUNDLE_ID / "Documents" / "told"
    eventually(lambda: count.exists() and count.read_text())
    assert [warning["told"] for warning in warnings(probe, pid)] == [False]
    assert [row["pid"] for row in probe.control("processes")["processes"]] == [pid]
    probe.control("kill", pid=pid)
    eventually(lambda: any(entry["event"] == "end" for entry in probe.truth()))
    (end,) = [entry for entry in probe.truth() if entry["event"] == "end"]
    assert end["memory_warnings"] == 1


def test_work_warms_the_phone(probe: RunningPhone, eventually: Eventually) -> None:
    before = probe.control("conditions")
    launch(probe, "burn")
    eventually(lambda: probe.control("conditions")["battery_celsius"] > before["battery_celsius"] + 0.01)


def test_apps_are_told_what_hands_have_done(probe: RunningPhone, eventually: Eventually) -> None:
    pid = launch(probe, "sleep")
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert f"VIRTUAL_SYSTEM_STATE={probe.home / 'system_state.json'}".encode() in environment
    assert not any(word.startswith(b"VIRTUAL_GPU") for word in environment), "off unless asked for"
    assert told(probe) == {"thermal": 0, "low_power": False, "battery_percent": 87}
    probe.control("thermal", state="serious")
    probe.control("low_power", on=True)
    probe.control("battery", percent=12)
    assert told(probe) == {"thermal": 2, "low_power": True, "battery_percent": 12}
    probe.control("thermal", state=None)
    assert told(probe)["thermal"] == 0
    probe.control("battery", temperature_celsius=45.0)
    assert told(probe)["thermal"] == 3
    assert probe.control("conditions")["thermal"] == "critical"
    with pytest.raises(ControlRefused, match="state"):
        probe.control("thermal", state="hot")


def test_a_reboot_ends_apps_without_a_report_and_keeps_pairings(probe: RunningPhone, eventually: Eventually) -> None:
    pid = launch(probe, "sleep")
    (before,) = device_ids(probe)
    probe.control("reboot", away_s=0.05)
    assert probe.control("processes")["processes"] == []
    (end,) = [entry for entry in probe.truth() if entry["event"] == "end"]
    assert (end["pid"], end["signal"]) == (pid, signal.SIGKILL)
    eventually(lambda: device_ids(probe))
    assert device_ids(probe) != [before], "a phone that comes back is a new device to usbmuxd"
    assert list((probe.home / "CrashReports").iterdir()) == []
    probe.control("trust", state="denied")  # a new pairing would fail, so this is the old one

    async def session() -> bool:
        async with await create_using_usbmux(serial=probe.udid, autopair=False) as client:
            return bool(client.paired)

    assert asyncio.run(session())
    launch(probe, "sleep")


def test_after_a_reboot_a_phone_may_be_locked(probe: RunningPhone, eventually: Eventually) -> None:
    probe.control("reboot", away_s=0, locked=True)
    eventually(lambda: device_ids(probe))
    with pytest.raises(ControlRefused, match="locked"):
        launch(probe, "sleep")

    async def session() -> None:
        async with await create_using_usbmux(serial=probe.udid, autopair=True):
            pass

    with pytest.raises(PasswordRequiredError):
        asyncio.run(session())
    probe.control("trust", state="trusted")
    launch(probe, "sleep")
    asyncio.run(session())


def test_a_phone_without_its_cable_does_not_get_one_by_rebooting(probe: RunningPhone) -> None:
    probe.control("unplug")
    probe.control("reboot", away_s=0)
    probe.control("conditions")  # a turn of the loop later it would be back
    assert device_ids(probe) == []


def test_a_jetsam_event_about_another_process_does_not_name_the_app(probe: RunningPhone) -> None:
    pid = launch(probe, "sleep")
    for name, known_pid in (("SpringBoard", 34), ("mediaanalysisd", None)):
        report = probe.home / "CrashReports" / probe.control("jetsam_other", name=name)["report"]
        body = json.loads(report.read_text(encoding="utf-8").partition("\n")[2])
        (victim,) = [process for process in body["processes"] if "reason" in process]
        assert victim["name"] == name
        assert victim["pid"] not in (pid, 0)
        assert known_pid in (victim["pid"], None)
        pids = [process["pid"] for process in body["processes"]]
        assert pid in pids, "the app is in the list, alive"
        assert len(set(pids)) == len(pids)
    assert [row["pid"] for row in probe.control("processes")["processes"]] == [pid]


def test_the_clock_jumps_for_hosts_and_reports_alike(probe: RunningPhone) -> None:
    probe.control("clock_jump", seconds=-86400)

    async def ahead_s() -> float:
        async with await create_using_usbmux(serial=probe.udid, autopair=True) as client:
            return float(await client.get_value(key="TimeIntervalSince1970")) - time.time()

    assert asyncio.run(ahead_s()) == pytest.approx(-86400, abs=60)
    report = probe.control("jetsam_other", name="SpringBoard")["report"]
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400))
    assert report.startswith(f"JetsamEvent-{yesterday}")
    with pytest.raises(ControlRefused, match="seconds"):
        probe.control("clock_jump", seconds=1e12)
