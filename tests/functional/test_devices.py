"""`harness devices`: who is there, who uses whom, and word of each phone that comes or goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.device import limits
from harness.device.lease import LockFolder, phone_lock
from harness.device.listing import list_phones
from harness.virtual.running import RunningPhone, start_phone

LIMIT_S = 180


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for phones and locks; pair records and state lie apart from the user's."""
    monkeypatch.setenv("HOME", str(tmp_path / "host"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("IPHONE_LOAD_HARNESS_LOCKS", str(tmp_path / "locks"))
    (tmp_path / "host").mkdir()
    return tmp_path


@pytest.fixture
def phone(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPhone]:
    """A phone at an address that stays the same when it is started again."""
    with start_phone(home=desk / "phone", options=["--socket", str(desk / "mux")]) as running:
        monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", running.usbmux)
        yield running


def listed() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "harness.cli", "devices", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


@contextmanager
def watching() -> Iterator[subprocess.Popen[str]]:
    """`harness devices --watch --json` for the length of the `with`."""
    command = [sys.executable, "-m", "harness.cli", "devices", "--watch", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def next_change(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    change: dict[str, Any] = json.loads(process.stdout.readline())
    return change


def test_each_phone_is_listed_with_what_it_is(phone: RunningPhone) -> None:
    attached, always = listed()
    expected = {"device": phone.udid, "kind": "virtual", "product_type": "iPhone17,1", "ios": "18.5"}
    assert {key: attached[key] for key in expected} == expected
    assert (attached["connection"], attached["in_use"], attached["note"]) == ("USB", False, "")
    assert always["device"] == "virtual:iphone-16-pro"


def test_who_uses_a_phone_is_listed(phone: RunningPhone, desk: Path) -> None:
    lock = LockFolder(desk / "locks").try_take(phone_lock(phone.udid), "a test")
    assert lock is not None
    (attached, _) = listed()
    assert attached["in_use"] is True
    assert (attached["in_use_by"]["pid"], attached["in_use_by"]["purpose"]) == (os.getpid(), "a test")
    command = [sys.executable, "-m", "harness.cli", "devices"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    assert f"(pid {os.getpid()}, a test) since" in shown
    lock.release()
    assert listed()[0]["in_use"] is False


def test_a_phone_that_trusts_nobody_is_listed_all_the_same(phone: RunningPhone) -> None:
    phone.control("trust", state="locked")
    assert listed()[0]["product_type"] == "iPhone17,1"
    assert not list((phone.home / "PairedHosts" / phone.udid).iterdir()), "nothing was changed on it"


@pytest.mark.anyio
async def test_a_phone_that_does_not_answer_does_not_hold_up_the_list(
    phone: RunningPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GLANCE_LIMIT_S", 0.5)
    phone.control("fault", text="slow-link:latency_ms=60000")
    (row,) = await list_phones()
    assert (row.udid, row.facts) == (phone.udid, None)
    assert row.problem is not None
    assert "0.5 s" in row.problem


def test_without_usbmuxd_only_the_virtual_phone_is_listed(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", str(desk / "nobody"))
    assert [row["device"] for row in listed()] == ["virtual:iphone-16-pro"]


def test_a_cable_pulled_and_put_back_is_told(phone: RunningPhone) -> None:
    with watching() as process:
        first = next_change(process)
        assert (first["change"], first["device"], first["product_type"]) == ("attached", phone.udid, "iPhone17,1")
        phone.control("unplug")
        assert (next_change(process)["change"]) == "detached"
        phone.control("plug")
        assert (next_change(process)["change"]) == "attached"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130


def test_the_watch_outlives_usbmuxd(phone: RunningPhone, desk: Path) -> None:
    with watching() as process:
        assert next_change(process)["change"] == "attached"
        phone.stop()
        assert next_change(process)["change"] == "detached"
        assert next_change(process)["change"] == "usbmuxd_gone"
        with start_phone(home=desk / "phone", options=["--socket", str(desk / "mux")]):
            assert next_change(process)["change"] == "usbmuxd_back"
            assert next_change(process)["device"] == phone.udid


def test_who_has_read_enough_of_the_watch_may_leave(phone: RunningPhone) -> None:
    with watching() as process:
        next_change(process)
        assert process.stdout is not None
        process.stdout.close()
        phone.control("unplug")
        assert process.wait(LIMIT_S) == 0
