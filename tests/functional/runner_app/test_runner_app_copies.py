"""Several copies of a model in one process: loaded one after another, all kept, each told as a phase, the last used."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest

from harness.bench.synth import ModelInfo
from tests.functional.runner_process import LIMIT_S, Event, RunnerProcess, launched
from tests.functional.runner_trials import END_PHASES, GENERATE_PHASES, LOAD_PHASES, job, phases, samples

MIB = 1024 * 1024
METAL = 4


def with_wide(home: Path, wide: ModelInfo) -> Path:
    os.link(wide.path, home / "Documents" / "wide.task")
    return home


def ends(events: list[Event], phase: str) -> list[Event]:
    return [event for event in events if event["ev"] == "phase" and event["name"] == phase and event["edge"] == "end"]


def test_each_further_copy_is_a_phase_and_the_load_is_the_first_ones(app: RunnerProcess) -> None:
    with app.connect() as host:
        result = host.load("t1", job(copies=3))
        assert phases(host.seen) == [*LOAD_PHASES, "copy", "copy", *GENERATE_PHASES, *END_PHASES]
        copies = ends(host.seen, "copy")
        assert [copy["detail"] for copy in copies] == ["copy 2 of 3", "copy 3 of 3"]
        durations = result["durations_ns"]
        assert list(durations) == [*LOAD_PHASES, "copy", *GENERATE_PHASES, *END_PHASES]
        assert durations["copy"] == sum(copy["duration_ns"] for copy in copies)
        assert result["load_ns"] == durations["create_engine"] + durations["create_session"]
        assert result["decode_tokens"] >= 1
        assert len([event for event in host.seen if event["ev"] == "backend"]) == 1


def test_one_copy_is_what_a_job_without_them_is(app: RunnerProcess) -> None:
    with app.connect() as host:
        host.load("t1", job(copies=1, warmup=True))
        assert phases(host.seen) == ["warmup", *LOAD_PHASES, *GENERATE_PHASES, *END_PHASES]


def test_all_copies_are_kept_and_given_back(executable: Path, home: Path, wide: ModelInfo) -> None:
    with launched(executable, with_wide(home, wide)) as app, app.connect() as host:
        result = host.load("t1", job("wide.task", engine="read", copies=3, warmup=True))
        assert phases(host.seen) == ["warmup", "read", "copy", "copy", *END_PHASES]
        grown = result["peak_footprint"] - result["baseline_footprint"]
        assert grown == pytest.approx(3 * wide.bytes, rel=0.05)
        assert result["leftover_footprint"] - result["baseline_footprint"] < wide.bytes / 10


def test_the_copies_of_a_cold_job_find_the_first_ones_cache(executable: Path, home: Path, wide: ModelInfo) -> None:
    with launched(executable, with_wide(home, wide)) as app, app.connect() as host:
        result = host.load("t1", job("wide.task", cache="cold", copies=2))
        assert result["ev"] == "result"
        assert phases(host.seen)[:2] == ["cache_clear", "load_library"]
        assert result["durations_ns"]["copy"] < result["load_ns"], "nothing was built anew"


def test_a_guard_watches_the_copies_too(executable: Path, home: Path, wide: ModelInfo) -> None:
    environment = {"VIRTUAL_FOOTPRINT_LIMIT_BYTES": str(220 * MIB)}
    with launched(executable, with_wide(home, wide), **environment) as app, app.connect() as host:
        error = host.load("t1", job("wide.task", engine="read", copies=4, guard={"reserve_bytes": 20 * MIB}))
        assert (error["kind"], error["phase"], error["trial"]) == ("load_error", "copy", "t1")
        assert "memory guard" in error["message"]
        host.send("bye")
        list(host.events())
        assert app.process.wait(LIMIT_S) == 0


def test_a_copy_that_fails_names_itself(executable: Path, home: Path, wide: ModelInfo) -> None:
    with launched(executable, with_wide(home, wide)) as app, app.connect() as host:
        host.ask("hello", "hello", v=1, host_t=1)
        limit = int(2.6 * wide.bytes)
        resource.prlimit(app.process.pid, resource.RLIMIT_DATA, (limit, limit))
        error = host.load("t1", job("wide.task", engine="read", copies=4))
        assert (error["kind"], error["phase"]) == ("load_error", "copy")
        assert re.match(r"copy [23] of 4: read of wide\.task: ", error["message"]), error


def test_each_copy_on_an_emulated_gpu_has_graphics_memory_of_its_own(
    executable: Path, home: Path, wide: ModelInfo
) -> None:
    with launched(executable, with_wide(home, wide), VIRTUAL_GPU="emulated") as app, app.connect() as host:
        result = host.load("t1", job("wide.task", backend="gpu", copies=2, hold_ms=50))
        assert result["ev"] == "result"
        assert max(samples(host.seen, METAL)) == 2 * wide.bytes
        assert samples(host.seen, METAL)[-1] == 0
