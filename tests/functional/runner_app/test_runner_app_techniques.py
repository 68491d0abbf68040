"""Load techniques as job options: each is really done, and seen as a phase. Warm-up and the memory guard."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness.bench.synth import ModelInfo
from tests.functional.runner_process import LIMIT_S, Event, RunnerProcess, launched
from tests.functional.runner_trials import END_PHASES, GENERATE_PHASES, LOAD_PHASES, job, phases

MIB = 1024 * 1024
EXIT_GUARDED = 75


def limited(bytes_: int) -> dict[str, str]:
    """What a virtual phone tells its app about the limit."""
    return {"VIRTUAL_FOOTPRINT_LIMIT_BYTES": str(bytes_)}


def with_wide(home: Path, wide: ModelInfo) -> Path:
    os.link(wide.path, home / "Documents" / "wide.task")
    return home


def figures(error: Event) -> tuple[int, int, int]:
    """Footprint, reserve and limit as a guard's message names them."""
    found = re.search(r"footprint of (\d+) bytes .* within (\d+) bytes of the limit of (\d+) bytes", error["message"])
    assert found is not None, error
    footprint, reserve, limit = map(int, found.groups())
    return footprint, reserve, limit


def test_a_warm_up_is_one_phase_and_not_in_the_load(app: RunnerProcess) -> None:
    with app.connect() as host:
        result = host.load("t1", job(warmup=True))
        assert phases(host.seen) == ["warmup", *LOAD_PHASES, *GENERATE_PHASES, *END_PHASES]
        durations = result["durations_ns"]
        assert result["load_ns"] == durations["create_engine"] + durations["create_session"]
        assert len([event for event in host.seen if event["ev"] == "backend"]) == 1


def test_after_a_warm_up_the_library_is_there(app: RunnerProcess) -> None:
    with app.connect() as host:
        durations = host.load("t1", job(warmup=True))["durations_ns"]
        assert durations["load_library"] < durations["warmup"]


@pytest.mark.parametrize(("engine", "phase"), [("mmap", "map"), ("read", "read")])
def test_floors_warm_up_too(app: RunnerProcess, engine: str, phase: str) -> None:
    with app.connect() as host:
        result = host.load("t1", job(engine=engine, warmup=True, prewarm={"mode": "touch", "chunk_bytes": 4096}))
        assert phases(host.seen) == ["prewarm", "warmup", phase, *END_PHASES]
        assert result["load_ns"] == result["durations_ns"][phase]


def test_a_warm_up_with_a_cold_cache_builds_it_twice(app: RunnerProcess) -> None:
    with app.connect() as host:
        result = host.load("t1", job(warmup=True, cache="cold"))
        assert result["ev"] == "result"
        assert phases(host.seen)[:2] == ["warmup", "cache_clear"]
        (cache,) = (app.home / "Library" / "Caches" / "weights").iterdir()
        assert [path.suffix for path in cache.iterdir()] == [".xnnpack_cache"]


def test_a_warm_up_that_fails_is_where_the_trial_failed(app: RunnerProcess) -> None:
    (app.home / "Documents" / "junk.task").write_bytes(b"PK\x03\x04 no zip" * 100)
    with app.connect() as host:
        error = host.load("t1", job("junk.task", warmup=True))
        assert (error["kind"], error["phase"]) == ("load_error", "warmup")
        assert not [event for event in host.seen if event.get("name") == "create_engine"]


def test_a_guard_stops_a_load_in_chunks_and_the_app_lives_on(executable: Path, home: Path, wide: ModelInfo) -> None:
    limit, reserve = 60 * MIB, 20 * MIB
    with launched(executable, with_wide(home, wide), **limited(limit)) as app, app.connect() as host:
        error = host.load("t1", job("wide.task", engine="read", guard={"reserve_bytes": reserve}))
        assert (error["kind"], error["phase"], error["trial"]) == ("load_error", "read", "t1")
        footprint, *named = figures(error)
        assert named == [reserve, limit]
        # looked at before every chunk of 1 MiB, so it never comes near the limit itself
        assert limit - reserve <= footprint < limit - reserve + 4 * MIB
        assert host.ask("hello", "hello", v=1, host_t=1)["state"] == "finished"
        host.send("bye")
        list(host.events())
        assert app.process.wait(LIMIT_S) == 0


@pytest.mark.parametrize(("warmup", "phase"), [(False, "create_engine"), (True, "warmup")])
def test_a_guard_ends_the_app_when_an_engine_call_goes_too_far(
    executable: Path, home: Path, wide: ModelInfo, warmup: bool, phase: str
) -> None:
    limit, reserve = 90 * MIB, 50 * MIB
    with launched(executable, with_wide(home, wide), **limited(limit)) as app, app.connect() as host:
        error = host.load("t1", job("wide.task", warmup=warmup, guard={"reserve_bytes": reserve}))
        assert (error["kind"], error["phase"], error["trial"]) == ("load_error", phase, "t1")
        footprint, *named = figures(error)
        assert named == [reserve, limit]
        assert footprint >= limit - reserve
        assert str(EXIT_GUARDED) in error["message"]
        assert app.process.wait(LIMIT_S) == EXIT_GUARDED
        kept = app.journal("t1")
        assert error in kept
        assert not [event for event in kept if event["ev"] == "result"]


def test_a_guard_with_room_changes_nothing(executable: Path, home: Path) -> None:
    with launched(executable, home, **limited(200 * MIB)) as app, app.connect() as host:
        result = host.load("t1", job(guard={"reserve_bytes": 10 * MIB}))
        assert result["ev"] == "result"
        assert phases(host.seen) == [*LOAD_PHASES, *GENERATE_PHASES, *END_PHASES]


def test_a_guard_watches_the_load_only(executable: Path, home: Path, wide: ModelInfo) -> None:
    """What is reserved may be used after the load: the guard does not outlive it."""
    limit = 200 * MIB
    with launched(executable, with_wide(home, wide), **limited(limit)) as app, app.connect() as host:
        loaded = host.load("t1", job("wide.task", engine="read", hold_ms=20, guard={"reserve_bytes": 100 * MIB}))
        assert loaded["ev"] == "result"


def test_a_guard_without_a_limit_is_refused(app: RunnerProcess) -> None:
    with app.connect() as host:
        error = host.load("t1", job(guard={"reserve_bytes": 1}))
        assert (error["kind"], error["phase"], error["trial"]) == ("bad_job", None, "t1")
        assert "limit" in error["message"]
        assert host.load("t1", job())["ev"] == "result"
