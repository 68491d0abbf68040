"""`pytest --device=… -n`: a session of several processes on several virtual phones, with the real pytest-xdist."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.core.record import TrialRecord
from harness.device.lease import LockFolder, who_holds
from harness.store.database import ResultStore
from harness.virtual.running import start_phone

LIMIT_S = 300
TRIALS = 3
SUITE = """
name = "shared"
[[models]]
name = "tiny"
synth = "tiny"
[options]
trials = {trials}
max_tokens = 128
decode_tokens = 0
hold_ms = {hold_ms}
"""
MINE = """
def test_mine(phone, load):
    assert load("tiny", cache="none", hold_ms=0).device_udid == phone.udid
def test_needs_no_phone():
    pass
"""


@pytest.fixture
def desk(tmp_path: Path, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in; caches, pair records and locks lie apart from the user's."""
    monkeypatch.setenv("HOME", str(tmp_path / "host"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(models_cache))
    monkeypatch.setenv("IPHONE_LOAD_HARNESS_LOCKS", str(tmp_path / "locks"))
    (tmp_path / "host").mkdir()
    (tmp_path / "shared.toml").write_text(SUITE.format(trials=TRIALS, hold_ms=50))
    (tmp_path / "test_mine.py").write_text(MINE)
    return tmp_path


def begin(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    # the other plugins of our developers only take time
    plain = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "error"]
    command = [sys.executable, "-m", "pytest", *plain, *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=LIMIT_S)[0]
    finally:
        process.kill()
        process.wait()


def kept(results: Path) -> list[TrialRecord]:
    with ResultStore.open(results) as store:
        return list(store.trials())


def test_a_class_is_shared_by_its_phones(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = ["--profile", "iphone-16-pro", "--profile", "iphone-xr"]
    with start_phone(home=desk / "phones", options=profiles) as phones:
        monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", phones.usbmux)
        words = ["--device=class:iPhone17,1", "-n2", "-v", "--load-fail-on=missing"]
        process = begin("shared.toml", "test_mine.py", *words, folder=desk)
        said = finish(process)
    assert "load phones: 2 × class:iPhone17,1\n" in said, said
    assert f"{TRIALS + 2} passed" in said
    records = kept(desk / "results")
    assert {record.device_udid for record in records} == {phones.udid, phones.other(1).udid}
    ordinals = Counter(record.ordinal for record in records if record.suite == "shared")
    assert ordinals == dict.fromkeys(range(1, TRIALS + 1), 1)
    assert len({record.run_id for record in records}) == 2, "each phone was opened once, and kept"
    # told and judged once, of all that ran
    assert said.count("= loads =") == said.count("= load verdicts =") == 1
    assert f"{TRIALS} × loaded" in said
    assert "1 of 6 nights that a level takes" in said, "too little to judge by is said"
    assert process.returncode == pytest.ExitCode.TESTS_FAILED
    assert who_holds(LockFolder(desk / "locks")) == {}


@pytest.mark.parametrize(
    ("to_all", "phones"), [pytest.param(True, 1, marks=pytest.mark.thorough), (False, 2)], ids=["terminal", "kill"]
)
def test_ctrl_c_ends_every_app_and_keeps_what_was_recorded(desk: Path, to_all: bool, phones: int) -> None:
    (desk / "shared.toml").write_text(SUITE.format(trials=phones, hold_ms=60_000))
    process = begin("shared.toml", "--device=virtual", f"--load-phones={phones}", f"-n{phones}", folder=desk)
    deadline = time.monotonic() + LIMIT_S
    try:
        while sum(one.stat().st_size > 20_000 for one in (desk / "results/telemetry").glob("*.arrows")) < phones:
            assert process.poll() is None, "pytest ended before it was interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if to_all:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
    finally:
        said = finish(process)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "harness_error  no: loaded" in said, "what the workers recorded is told"
    records = kept(desk / "results")
    assert len({record.device_udid for record in records}) == phones
    assert all("interrupt" in (record.reason or "") for record in records), [record.reason for record in records]
    assert who_holds(LockFolder(desk / "locks")) == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--load-phones=2"], "one process drives one phone; add -n 2"),
        (["--load-phones=0", "-n2"], "'0' is no number of phones"),
        (["-o", "load_phones=some", "-n2"], "'some' is no number of phones"),
        (["--device=class:iPhone9,9", "-n2"], "usbmuxd"),
    ],
)
def test_wrong_use(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str) -> None:
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "127.0.0.1:9")
    pytester.makefile(".toml", shared=SUITE.format(trials=1, hold_ms=0))
    done = pytester.runpytest_inprocess("--device=virtual", *arguments, "shared.toml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*{said}*"])
