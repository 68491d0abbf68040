"""`harness doctor` on a virtual phone: all is well, or the right step says what is wrong and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import doctor as face
from harness.core.phone import Virtual
from harness.device import limits
from harness.device.doctor import STEPS, Checkup, Patient, StepReport, Verdict, app_steps, walk
from harness.device.lease import LockFolder, who_holds
from tests.functional.in_process import harness

LIMIT_S = 120
OK, FAILED, SKIPPED = Verdict.OK, Verdict.FAILED, Verdict.SKIPPED
APP = {"launch", "runner_clock", "telemetry", "system_monitor", "kill", "termination_notice"}


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The phone's home, pair records and locks lie apart from the user's."""
    monkeypatch.setenv("HOME", str(tmp_path / "host"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("IPHONE_LOAD_HARNESS_LOCKS", str(tmp_path / "locks"))
    # enough for a few readings of the monitor; the command itself takes its time in one test
    monkeypatch.setattr(app_steps, "HOLD_MS", 1500)
    # the session sets it; this restores what was there
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "")
    (tmp_path / "host").mkdir()
    return tmp_path


async def examine(folder: Path, profile: str = "iphone-16-pro", **settings: str) -> dict[str, StepReport]:
    checkup = Checkup()
    patient = Patient(
        Virtual(profile, settings), runner="auto", transport="auto", lease_wait_s=0.0, tell=print, scratch=folder
    )
    async with patient:
        async for _ in walk(STEPS, patient, checkup, patient.still_there):
            pass
    assert who_holds(LockFolder(folder / "locks")) == {}
    return {report.name: report for report in checkup.reports}


def names(reports: dict[str, StepReport], verdict: Verdict) -> set[str]:
    return {name for name, report in reports.items() if report.verdict is verdict}


def home(folder: Path) -> Path:
    return folder / "state/iphone-load-harness/virtual/iphone-16-pro/1"


def test_a_healthy_phone_is_found_healthy_and_left_as_it_was(desk: Path) -> None:
    command = [sys.executable, "-m", "harness.cli", "doctor", "--device=virtual", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["healthy"] is True
    assert told["phone"]["product_type"] == "iPhone17,1"
    assert [step["name"] for step in told["steps"]] == [step.name for step in STEPS]
    assert {step["verdict"] for step in told["steps"]} == {"ok"}, done.stderr
    figures = {step["name"]: step["figures"] for step in told["steps"]}
    assert figures["push"]["push"]["unit"] == "MB/s"
    assert figures["push"]["pipelined"]["value"] is True
    assert figures["telemetry"]["rate"]["value"] > 100
    assert figures["system_monitor"]["footprint"]["value"] > 8 * 1024 * 1024
    assert not list(home(desk).glob("Containers/*/Documents/**/*doctor*"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "failed", "word"),
    [
        ({"trust": "locked"}, "paired", "Unlock"),
        ({"trust": "pending"}, "paired", "Trust"),
        ({"developer_mode": "false"}, "developer_mode", "Settings"),
        ({"developer_image": "missing"}, "developer_image", "auto-mount"),
        ({"battery": "12"}, "battery", "12 %"),
        ({"disk_free": "100MiB"}, "storage", "100 MiB"),
        ({"connection": "wifi"}, "attached", "USB"),
        ({"fault": "sysmontap-silent"}, "system_monitor", "0 readings"),
        ({"fault": "file-corrupted"}, "read_back", "not what was pushed"),
        ({"fault": "service-refuses:service=com.apple.crashreportcopymobile"}, "crash_reports", "ServiceProhibited"),
    ],
)
async def test_what_is_wrong_is_said_by_the_step_that_sees_it(
    desk: Path, settings: dict[str, str], failed: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAIR_LIMIT_S", 4.0)
    reports = await examine(desk, **settings)
    explained = {"telemetry"} if failed == "read_back" else set()  # the runner finds the corruption as well
    assert names(reports, FAILED) - explained == {failed}, reports
    report = reports[failed]
    assert word in f"{report.text} {report.remedy}"


@pytest.mark.anyio
async def test_what_developer_mode_is_needed_for_is_skipped_and_the_rest_done(desk: Path) -> None:
    reports = await examine(desk, developer_mode="false")
    assert names(reports, SKIPPED) == {"developer_image", "developer_services", *APP}
    assert reports["push"].verdict is reports["crash_reports"].verdict is OK


@pytest.mark.anyio
async def test_a_service_that_hangs_costs_its_own_steps_only(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SERVICE_LIMIT_S", 2.0)
    reports = await examine(desk, fault="service-hangs:service=com.apple.mobile.diagnostics_relay")
    assert names(reports, FAILED) == {"condition"}
    assert "2 s" in reports["condition"].text
    assert {"install", "push", "developer_services", "clean_up", *APP} <= names(reports, OK)


@pytest.mark.anyio
async def test_a_cable_pulled_halfway_ends_it_at_once(desk: Path) -> None:
    reports = await examine(desk, fault="unplug:seconds=inf@push:1MiB")
    assert names(reports, FAILED) == {"push"}
    assert "install" in names(reports, OK)
    after = list(reports)[list(reports).index("push") + 1 :]
    assert {reports[name].text for name in after} == {"the phone left during push"}


@pytest.mark.anyio
async def test_an_older_phone_is_examined_too(desk: Path) -> None:
    reports = await examine(desk, profile="iphone-13", ios="16.7")
    assert names(reports, FAILED) == set(), reports


def test_no_line_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "_width", lambda: 70)
    long = "word " * 100 + "\x1b[2J" + "\n\n" + "x" * 300
    report = StepReport("termination_notice", FAILED, long, 1.0, (), long)
    lines = face._lines(report)
    assert max(map(len, lines)) <= 70
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--device=all",), 2, "one phone"),
        (("--device=virtual", "--transport=carrier-pigeon"), 2, "pymobiledevice3"),
        (("--device=virtual", "--runner=nothing.ipa"), 2, "nothing.ipa"),
        (("--device=00008140-00000000DEADBEEF",), 3, "no usbmuxd answers"),
    ],
)
def test_wrong_use_and_absent_phones(
    arguments: tuple[str, ...], code: int, word: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", str(desk / "nobody"))
    done = harness("doctor", *arguments, folder=desk)
    assert done.returncode == code, done.stderr
    assert word in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
