"""`harness watch` and `harness report --serve` beside a run that really runs in its own process, and is killed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.report.live import Progress, ProgressReader, RunState
from harness.store.database import ResultStore
from harness.store.salvage import salvage
from tests.functional.killed_runs import KilledRun

Eventually = Callable[[Callable[[], object]], None]
LIMIT_S = 240
HOLD_MS = 100_000


@contextmanager
def running(run: KilledRun) -> Iterator[subprocess.Popen[str]]:
    process = run.start()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        run.wait_until_gone()


@pytest.fixture
def short_run(tmp_path: Path, models_cache: Path) -> KilledRun:
    """Two trials of a small model, each held loaded for a while, so that it can be looked at."""
    return KilledRun(tmp_path, trials=1, hold_ms=4_000, models_cache=models_cache)


@pytest.fixture
def slow_run(tmp_path: Path, models_cache: Path) -> KilledRun:
    """Four trials that are held for longer than anybody looks."""
    return KilledRun(tmp_path, trials=2, hold_ms=HOLD_MS, models_cache=models_cache)


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory, models_cache: Path) -> Iterator[KilledRun]:
    """A slow run that is in progress, for all who only look."""
    run = KilledRun(tmp_path_factory.mktemp("looked-at"), trials=2, hold_ms=HOLD_MS, models_cache=models_cache)
    with running(run) as process:
        yield run
        assert process.poll() is None, "who looks does not disturb"


def watch(results: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "watch", f"--results={results}", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def look(results: Path) -> Progress:
    with ResultStore.open_existing(results) as store:
        return ProgressReader(store).read()


def test_watch_follows_a_run_to_its_end(short_run: KilledRun) -> None:
    with running(short_run) as process:
        watched = watch(short_run.results, "--json", f"--wait={LIMIT_S}")
        assert process.wait(LIMIT_S) == 0
    assert watched.returncode == 0, watched.stderr
    told: list[dict[str, Any]] = [json.loads(line) for line in watched.stdout.splitlines()]
    assert told[0]["change"] == "run"
    assert (told[-1]["change"], told[-1]["state"], told[-1]["done"], told[-1]["total"]) == ("run_state", "ended", 2, 2)
    ends = [one["trial"] for one in told if one["change"] == "trial_ended"]
    assert [end["outcome"] for end in ends] == ["loaded"] * 2
    records = {record.trial_id: record for record in short_run.records()}
    assert {end["trial_id"] for end in ends} == set(records)
    memory = [one["trial"] for one in told if one["change"] == "memory"]
    assert memory, "of a trial that is held for four seconds its stream tells something"
    for one in memory:
        record = records[one["trial_id"]]
        assert 0 < one["memory"]["footprint_bytes"] <= one["memory"]["peak_footprint_bytes"]
        assert one["memory"]["peak_footprint_bytes"] <= (record.peak_footprint_bytes or 0)
        assert one["memory"]["limit_bytes"] == record.footprint_limit_bytes

    # afterwards there is nothing to follow, and both faces tell of the newest run
    again = watch(short_run.results)
    assert (again.returncode, again.stderr) == (0, "nothing is in progress\n")
    assert "ended, 2 of 2 trials: 2 × loaded" in again.stdout
    assert "\x1b" not in again.stdout, "no terminal, no control characters"


def test_a_killed_run_is_gone_and_not_running_for_ever(slow_run: KilledRun, eventually: Eventually) -> None:
    with running(slow_run) as process:
        _killed_while_followed(slow_run, process, eventually)


def _killed_while_followed(slow_run: KilledRun, process: subprocess.Popen[str], eventually: Eventually) -> None:
    eventually(
        lambda: slow_run.trial_ids() and any(run.now and run.now[0].memory for run in look(slow_run.results).runs)
    )
    (run,) = look(slow_run.results).in_progress
    assert (run.state, run.total, run.done) == (RunState.RUNNING, 4, 0)
    assert run.phone is not None
    assert run.phone.text == "iPhone17,1 iOS 18.5 (virtual)"
    (now,) = run.now
    assert now.name not in run.next
    assert len(run.next) == 3
    follower = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "watch", f"--results={slow_run.results}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    try:
        assert "in progress" in follower.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        rest, _ = follower.communicate(timeout=LIMIT_S)
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()
    assert "its process is gone" in rest.splitlines()[-1]
    assert follower.returncode == 4
    (gone,) = look(slow_run.results).runs
    assert gone.state is RunState.GONE
    (left,) = gone.now
    assert left.trial_id >= now.trial_id, "that one, or the next"
    # looking has not been in the way: what it left open is closed as ever
    with ResultStore.open(slow_run.results) as store:
        assert [record.trial_id for record in salvage(store)] == [left.trial_id]
    (closed,) = look(slow_run.results).runs
    assert not closed.now
    assert "--resume" in watch(slow_run.results, "--once").stdout


def test_a_terminal_gets_a_picture(looked_at: KilledRun, eventually: Eventually) -> None:
    eventually(lambda: looked_at.trial_ids() and look(looked_at.results).in_progress)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "harness.cli", "watch", f"--results={looked_at.results}"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    follower = subprocess.Popen(command, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    drawn = b""
    try:
        while b"next:" not in drawn:
            drawn += os.read(master, 4096)
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(LIMIT_S)
        os.close(master)
    assert follower.returncode == 130
    assert b"\x1b[" in drawn


def test_the_live_page_tells_of_a_run(looked_at: KilledRun, eventually: Eventually) -> None:
    eventually(lambda: looked_at.trial_ids() and look(looked_at.results).in_progress)
    command = [sys.executable, "-m", "harness.cli", "report", "--serve", f"--results={looked_at.results}"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}live", timeout=LIMIT_S) as page:
            assert "killed on iPhone17,1 iOS 18.5 (virtual)" in page.read().decode()
        with urllib.request.urlopen(f"{url}live/events", timeout=LIMIT_S) as events:
            told = json.loads(events.readline().removeprefix(b"data: "))
        assert "of 4 trials" in told["html"]
        assert told["at"]
    finally:
        server.send_signal(signal.SIGINT)
        code = server.wait(LIMIT_S)
        server.stdout.close()
    assert code == 0, "Ctrl-C is how it ends"
