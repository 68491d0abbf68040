"""Whose phone it is: processes that share phones take turns, and the words that choose among several phones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.device.lease import LockFolder, phone_lock, who_holds
from harness.store.database import ResultStore
from harness.virtual.running import RunningPhone, start_phone
from tests.functional.in_process import harness

LIMIT_S = 150
SUITE = """
name = "turns"
[[models]]
name = "tiny"
synth = "tiny"
[options]
trials = 1
max_tokens = 128
decode_tokens = 0
hold_ms = {hold_ms}
"""


@pytest.fixture
def desk(tmp_path: Path, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in; caches, pair records and locks lie apart from the user's."""
    monkeypatch.setenv("HOME", str(tmp_path / "host"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(models_cache))
    monkeypatch.setenv("IPHONE_LOAD_HARNESS_LOCKS", str(tmp_path / "locks"))
    (tmp_path / "host").mkdir()
    write_suite(tmp_path)
    return tmp_path


def write_suite(folder: Path, hold_ms: int = 0) -> None:
    (folder / "turns.toml").write_text(SUITE.format(hold_ms=hold_ms))


@pytest.fixture
def two_phones(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPhone]:
    """An iPhone 16 Pro and an iPhone XR behind one usbmuxd; the fixture is the first."""
    with start_phone(home=desk / "phones", options=["--profile", "iphone-xr"]) as phone:
        monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", phone.usbmux)
        yield phone


def begin_pytest(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    # the other plugins of our developers only take time
    plain = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", *plain, "turns.toml", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """What each has printed; none is left behind, whatever happens."""
    try:
        return [process.communicate(timeout=LIMIT_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def trials(folder: Path, *results: str) -> list[tuple[str, str | None, str, str]]:
    """UDID, outcome, begin and end of each trial that is kept in these results folders, by begin."""
    kept = []
    for name in results:
        with ResultStore.open(folder / name) as store:
            for record in store.trials():
                assert record.finished_at is not None
                kept.append((record.device_udid, record.outcome, record.started_at, record.finished_at))
    return sorted(kept, key=lambda trial: trial[2])


def wait_until_held(folder: Path, udid: str) -> None:
    """By somebody who has also written down who it is."""
    deadline = time.monotonic() + LIMIT_S
    while who_holds(LockFolder(folder / "locks")).get(phone_lock(udid)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.thorough
def test_two_pytests_on_one_phone_take_turns_and_neither_fails(desk: Path, two_phones: RunningPhone) -> None:
    write_suite(desk, hold_ms=1500)
    words = [f"--device={two_phones.udid}", "-q"]
    said = finish([begin_pytest(*words, f"--load-results={name}", folder=desk) for name in ("one", "two")])
    assert all("1 passed" in text for text in said), said
    assert sum("is in use by" in text for text in said) == 1, "the one that came second says why it waits"
    (first, second) = trials(desk, "one", "two")
    assert (first[:2], second[:2]) == ((two_phones.udid, "loaded"), (two_phones.udid, "loaded"))
    assert first[3] <= second[2], "the second began when the first had ended"
    assert who_holds(LockFolder(desk / "locks")) == {}


def test_any_uses_a_phone_that_is_free(desk: Path, two_phones: RunningPhone) -> None:
    lock = LockFolder(desk / "locks").try_take(phone_lock(two_phones.udid), "a test")
    assert lock is not None
    done = harness("run", "turns.toml", "--device=any", folder=desk)
    lock.release()
    assert done.returncode == 0, done.stderr
    assert [trial[0] for trial in trials(desk, "results")] == [two_phones.other(1).udid]


def test_any_waits_for_whichever_is_free_first(desk: Path, two_phones: RunningPhone) -> None:
    folder = LockFolder(desk / "locks")
    locks = {udid: folder.try_take(phone_lock(udid), "a test") for udid in (two_phones.udid, two_phones.other(1).udid)}
    waiting = begin_pytest("--device=any", "-q", folder=desk)
    assert waiting.stdout is not None
    try:
        while "is in use by" not in waiting.stdout.readline():
            assert waiting.poll() is None
        later = locks[two_phones.other(1).udid]
        assert later is not None
        later.release()
    finally:
        (said,) = finish([waiting])
    assert "1 passed" in said
    assert [trial[0] for trial in trials(desk, "results")] == [two_phones.other(1).udid]


def test_a_phone_that_stays_in_use_is_an_error_that_names_its_user(desk: Path, two_phones: RunningPhone) -> None:
    lock = LockFolder(desk / "locks").try_take(phone_lock(two_phones.udid), "a test")
    assert lock is not None
    done = harness("run", "turns.toml", f"--device={two_phones.udid}", "--lease-wait=0", folder=desk)
    assert done.returncode == 3, done.stderr
    assert f"(pid {os.getpid()}, a test) since" in done.stderr
    assert "--lease-wait" in done.stderr
    (said,) = finish([begin_pytest(f"--device={two_phones.udid}", "--load-lease-wait=0", folder=desk)])
    assert "1 error" in said
    assert f"(pid {os.getpid()}, a test) since" in said
    assert "Traceback" not in said
    lock.release()


def test_a_phone_whose_user_was_killed_is_taken_over(desk: Path, two_phones: RunningPhone) -> None:
    write_suite(desk, hold_ms=60_000)
    killed = begin_pytest(f"--device={two_phones.udid}", "--load-results=one", folder=desk)
    wait_until_held(desk, two_phones.udid)
    killed.send_signal(signal.SIGKILL)
    finish([killed])
    write_suite(desk)
    done = harness("run", "turns.toml", f"--device={two_phones.udid}", folder=desk)
    assert done.returncode == 0, done.stderr
    assert "took over from" in done.stderr
    assert f"pid {killed.pid}" in done.stderr


@pytest.mark.parametrize("face", ["pytest", "harness"])
def test_ctrl_c_ends_the_waiting(desk: Path, two_phones: RunningPhone, face: str) -> None:
    lock = LockFolder(desk / "locks").try_take(phone_lock(two_phones.udid), "a test")
    assert lock is not None
    if face == "pytest":
        waiting = begin_pytest(f"--device={two_phones.udid}", folder=desk)
    else:
        command = [sys.executable, "-m", "harness.cli", "run", "turns.toml", f"--device={two_phones.udid}"]
        waiting = subprocess.Popen(command, cwd=desk, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert waiting.stdout is not None
    try:
        while "is in use by" not in waiting.stdout.readline():
            assert waiting.poll() is None
        waiting.send_signal(signal.SIGINT)
    finally:
        finish([waiting])
    assert waiting.returncode == (2 if face == "pytest" else 130)
    lock.release()


def test_all_is_every_phone_at_the_same_time(desk: Path, two_phones: RunningPhone) -> None:
    udids = sorted((two_phones.udid, two_phones.other(1).udid))
    done = harness("run", "turns.toml", "--device=all", "--json", folder=desk)
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    assert [[trial["device_udid"] for trial in run["trials"]] for run in runs] == [[udid] for udid in udids]
    (said,) = finish([begin_pytest("--device=all", "-v", "--load-results=other", folder=desk)])
    assert "2 passed" in said
    assert said.index(f"[{udids[0]}]") < said.index(f"[{udids[1]}]")


def test_one_phone_out_of_reach_does_not_keep_the_others_from_running(desk: Path, two_phones: RunningPhone) -> None:
    absent = "00008140-00000000DEADBEEF"
    done = harness("run", "turns.toml", f"--device={absent}", f"--device={two_phones.udid}", folder=desk)
    assert done.returncode == 3, "the worst of both"
    assert absent in done.stderr
    assert two_phones.udid in done.stdout


def test_a_class_is_a_phone_of_that_product(desk: Path, two_phones: RunningPhone) -> None:
    done = harness("run", "turns.toml", "--device=class:iPhone11,8", "--json", folder=desk)
    assert done.returncode == 0, done.stderr
    (trial,) = json.loads(done.stdout)["trials"]
    assert (trial["device_udid"], trial["device_product_type"]) == (two_phones.other(1).udid, "iPhone11,8")


def test_a_class_that_is_not_there_is_told_what_is(desk: Path, two_phones: RunningPhone) -> None:
    done = harness("run", "turns.toml", "--device=class:iPhone9,9", folder=desk)
    assert done.returncode == 3
    assert f"{two_phones.udid} (iPhone17,1)" in done.stderr


@pytest.mark.parametrize("word", ["any", "all", "class:iPhone17,1"])
def test_a_phone_on_the_network_only_is_never_chosen(desk: Path, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_phone(settings={"connection": "wifi"}, home=desk / "phone") as phone:
        monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", phone.usbmux)
        done = harness("run", "turns.toml", f"--device={word}", folder=desk)
    assert done.returncode == 3, done.stderr
    assert "no phone is attached by USB" in done.stderr
    assert phone.udid in done.stderr
