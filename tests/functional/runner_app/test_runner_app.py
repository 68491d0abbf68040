"""The built runner app as a process of its own, with the real engine: what it says, what it leaves, how it dies."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness.bench.synth import ModelInfo
from tests.functional.runner_process import LIMIT_S, Event, RunnerProcess, free_port, launched
from tests.functional.runner_trials import (
    END_PHASES,
    GENERATE_PHASES,
    LOAD_PHASES,
    eventually,
    job,
    phases,
    replayed,
    samples,
    without_gaps,
)

FIXTURES = Path(__file__).parents[3] / "ios_runner_app" / "Tests" / "Fixtures"
RESIDENT, AVAILABLE, FAULTS, CPU = 1, 3, 7, 8
MIB = 1024 * 1024


def test_hello_and_ping(app: RunnerProcess) -> None:
    with app.connect() as host:
        hello = host.ask("hello", "hello", v=1, host_t=1)
        assert hello["pid"] == app.process.pid
        assert hello["engines"].keys() == {"litert_lm", "mmap", "read"}
        assert (hello["state"], hello["trial"], hello["platform"]) == ("idle", None, "linux")
        assert hello["sample_columns"][:2] == ["footprint", "resident"]
        assert hello["entitlements"] == {"get-task-allow": True}
        assert host.ask("ping", "pong", host_t=-12)["host_t"] == -12


def test_a_virtual_phone_says_which_phone_it_is(executable: Path, home: Path) -> None:
    limit = 90 * 1024 * 1024
    environment = {
        "VIRTUAL_HW_MACHINE": "iPhone17,1",
        "VIRTUAL_OS_BUILD": "22F76",
        "VIRTUAL_RAM_BYTES": "8589934592",
        "VIRTUAL_FOOTPRINT_LIMIT_BYTES": str(limit),
    }
    with launched(executable, home, **environment) as app, app.connect() as host:
        hello = host.ask("hello", "hello", v=1, host_t=1)
        assert (hello["hw_machine"], hello["os_build"], hello["ram_bytes"]) == ("iPhone17,1", "22F76", 8589934592)
        host.load("t", job())
        rows = [event["d"] for event in host.seen if event["ev"] == "sample"]
        assert rows
        assert all(row[AVAILABLE] == limit - row[0] for row in rows)
        assert hello["footprint_bytes"] + hello["available_bytes"] == limit


def test_the_app_finds_how_much_it_could_map(app: RunnerProcess) -> None:
    with app.connect() as host:
        pid = host.ask("hello", "hello", v=1, host_t=1)["pid"]
        has = next(
            int(line.split()[1]) * 1024
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmData:")
        )
        resource.prlimit(pid, resource.RLIMIT_DATA, (has + 100 * MIB, has + 100 * MIB))
        found = host.ask("hello", "hello", v=1, host_t=1)["largest_mapping_bytes"]
        assert 98 * MIB <= found <= 100 * MIB
        assert found % MIB == 0
        host.load("t", job(cache="none", engine="mmap"))
        assert host.ask("hello", "hello", v=1, host_t=1)["largest_mapping_bytes"] is None


def test_a_trial_from_hello_to_exit(app: RunnerProcess, tiny: ModelInfo) -> None:
    with app.connect() as host:
        host.send("resume", from_seq=1)
        result = host.load("t1", job(sha256=tiny.sha256, cache="cold", hold_ms=30))
        assert result["ev"] == "result"
        assert result["cancelled"] is False
        order = ["verify", "cache_clear", *LOAD_PHASES, *GENERATE_PHASES, "hold", *END_PHASES]
        assert phases(host.seen) == order
        assert list(result["durations_ns"]) == order
        durations = result["durations_ns"]
        assert result["load_ns"] == durations["create_engine"] + durations["create_session"]
        assert result["ttft_ns"] == durations["prefill"] + durations["first_token"]
        assert 1 <= result["decode_tokens"] <= 12
        assert result["output_bytes"] > 0
        assert len(result["output_sha256"]) == 64
        backend = next(event for event in host.seen if event["ev"] == "backend")
        assert (backend["requested"], backend["effective"]) == ("cpu", "cpu")
        assert host.ask("hello", "hello", v=1, host_t=1)["state"] == "finished"
        host.send("bye")
        list(host.events())
        assert app.process.wait(LIMIT_S) == 0
        stream = replayed(host.seen, 1)
        assert without_gaps(stream)
        assert app.journal("t1") == stream


def test_samples_are_readings_of_this_process(app: RunnerProcess) -> None:
    with app.connect() as host:
        result = host.load("t1", job(hold_ms=50))
        assert len(samples(host.seen, RESIDENT)) == result["sampler"]["samples"] > 50
        for column in (FAULTS, CPU):
            values = samples(host.seen, column)
            assert values == sorted(values)
        assert max(samples(host.seen, 0)) == result["peak_footprint"] > result["baseline_footprint"]


def test_sampled_peak_is_the_kernels_peak(executable: Path, home: Path, wide: ModelInfo) -> None:
    os.link(wide.path, home / "Documents" / "wide.task")
    with launched(executable, home) as app, app.connect() as host:
        result = host.load("t1", job("wide.task", hold_ms=50))
        assert max(samples(host.seen, RESIDENT)) == pytest.approx(result["kernel_peak_resident"], rel=0.01)


def test_same_seed_same_text(executable: Path, home: Path) -> None:
    digests = set()
    for trial in ("t1", "t2"):
        with launched(executable, home) as app, app.connect() as host:
            digests.add(host.load(trial, job())["output_sha256"])
    assert len(digests) == 1


def test_every_golden_bad_command_is_refused_and_hurts_nothing(executable: Path, home: Path) -> None:
    shutil.copy2(home / "Documents" / "tiny.task", home / "Documents" / "wide.task")
    rows = [json.loads(line) for line in (FIXTURES / "bad_commands.ndjson").read_text().splitlines()]
    with launched(executable, home) as app, app.connect() as host:
        for row in rows:
            if "hex" in row:
                line = bytes.fromhex(row["hex"])
            elif "repeat" in row:
                line = row["repeat"]["text"].encode() * row["repeat"]["times"]
            else:
                line = row["line"].encode()
            host.send_raw(line)
            error = host.until("error")
            assert (error["kind"], error["phase"]) == (row["kind"], None), row["why"]
        assert host.ask("hello", "hello", v=1, host_t=1)["state"] == "idle"
        assert host.load("t1", job())["ev"] == "result"


def test_a_peer_that_only_talks_nonsense_is_cut_off(app: RunnerProcess) -> None:
    with app.connect() as host:
        for _ in range(200):
            try:
                host.send_raw(b"nonsense")
            except OSError:
                break
        errors = [event for event in host.events() if event["ev"] == "error"]
        assert len(errors) == 100
    with app.connect() as host:
        host.ask("hello", "hello", v=1, host_t=1)


def test_resume_after_a_reconnect_gives_everything(app: RunnerProcess) -> None:
    with app.connect() as first:
        first.send("run", trial="t1", job=job(hold_ms=300))
        first.until("phase", where=lambda event: event["name"] == "hold")
    with app.connect() as second:
        second.send("resume", from_seq=1)
        second.until("result")
        assert without_gaps(replayed(second.seen, 1))
        middle = second.seen[len(second.seen) // 2]["seq"]
        second.seen.clear()
        second.send("resume", from_seq=middle)
        second.until("result")
        assert without_gaps(replayed(second.seen, middle))


def test_the_newest_connection_replaces_the_old(app: RunnerProcess) -> None:
    with app.connect() as old:
        old.ask("hello", "hello", v=1, host_t=1)
        with app.connect() as new:
            new.ask("hello", "hello", v=1, host_t=2)
            list(old.events())  # ends because the app closed it


def test_a_host_that_does_not_read_holds_up_nothing(app: RunnerProcess) -> None:
    app.connect().close()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", app.port))
        deaf.sendall(json.dumps({"cmd": "run", "trial": "t1", "job": job(hold_ms=1000)}).encode() + b"\n")
        path = app.home / "Documents" / "trials" / "t1.ndjson"
        eventually(lambda: path.exists() and b'"ev":"result"' in path.read_bytes())
    result = next(event for event in app.journal("t1") if event["ev"] == "result")
    assert result["sampler"]["samples"] > result["sampler"]["missed"]


def test_gpu_is_refused_in_the_engines_words(app: RunnerProcess) -> None:
    with app.connect() as host:
        error = host.load("t1", job(backend="gpu"))
        assert (error["kind"], error["phase"], error["trial"]) == ("load_error", "create_engine", "t1")
        assert error["message"].startswith("this host has no GPU engine; the engine's words: ")
        assert not [event for event in host.seen if event["ev"] == "backend"]


def test_cache_states(executable: Path, home: Path, tiny: ModelInfo) -> None:
    weights = home / "Library" / "Caches" / "weights"

    def load(trial: str, cache: str) -> Event:
        with launched(executable, home) as app, app.connect() as host:
            return host.load(trial, job(cache=cache, sha256=tiny.sha256))

    assert load("t1", "warm")["kind"] == "cache_missing"
    assert load("t2", "none")["ev"] == "result"
    assert not weights.exists()
    assert load("t3", "cold")["ev"] == "result"
    (cache,) = weights.iterdir()
    assert cache.name == tiny.sha256[:16]
    assert [path.suffix for path in cache.iterdir()] == [".xnnpack_cache"]
    assert load("t4", "warm")["ev"] == "result"
    (cache / ".incomplete").touch()
    assert "incomplete" in load("t5", "warm")["message"]


def test_a_model_pushed_again_has_no_warm_cache(executable: Path, home: Path) -> None:
    with launched(executable, home) as app, app.connect() as host:
        assert host.load("t1", job(cache="cold"))["ev"] == "result"
    os.utime(home / "Documents" / "tiny.task", (1, 1))
    with launched(executable, home) as app, app.connect() as host:
        refused = host.load("t2", job(cache="warm"))
        assert (refused["kind"], refused["phase"]) == ("cache_missing", None)


def test_digest_is_checked_and_remembered(executable: Path, home: Path, tiny: ModelInfo) -> None:
    def verify(trial: str, sha256: str) -> tuple[Event, str]:
        with launched(executable, home) as app, app.connect() as host:
            answer = host.load(trial, job(sha256=sha256, prompt=None, decode_tokens=0))
            ends = [e for e in host.seen if e["ev"] == "phase" and e["name"] == "verify" and e["edge"] == "end"]
            return answer, ends[0]["detail"] if ends else ""

    wrong, _ = verify("t1", "0" * 64)
    assert (wrong["kind"], wrong["phase"]) == ("wrong_digest", "verify")
    assert tiny.sha256 in wrong["message"]
    right, detail = verify("t2", tiny.sha256)
    assert right["ev"] == "result"
    assert "known" in detail
    os.utime(home / "Documents" / "tiny.task", (1, 1))
    _, detail = verify("t3", tiny.sha256)
    assert detail == "digest computed"


def test_a_file_that_is_no_model_gets_the_engines_error(app: RunnerProcess) -> None:
    (app.home / "Documents" / "junk.task").write_bytes(b"PK\x03\x04 no zip" * 100)
    with app.connect() as host:
        error = host.load("t1", job("junk.task"))
        assert (error["kind"], error["phase"]) == ("load_error", "create_engine")
        assert error["message"]
        host.send("bye")
        list(host.events())
        assert app.process.wait(LIMIT_S) == 0


def test_a_prompt_beyond_the_context_is_a_generate_error(app: RunnerProcess) -> None:
    with app.connect() as host:
        error = host.load("t1", job(prompt="hello " * 500))
        assert (error["kind"], error["phase"]) == ("generate_error", "prefill")
        assert "too long" in error["message"]


@pytest.mark.parametrize(("engine", "phase"), [("mmap", "map"), ("read", "read")])
def test_floors(executable: Path, home: Path, wide: ModelInfo, engine: str, phase: str) -> None:
    os.link(wide.path, home / "Documents" / "wide.task")
    with launched(executable, home) as app, app.connect() as host:
        prewarm = {"mode": "advise", "chunk_bytes": 1 << 20}
        result = host.load("t1", job("wide.task", engine=engine, prewarm=prewarm, hold_ms=20))
        assert phases(host.seen) == ["prewarm", phase, "hold", *END_PHASES]
        assert result["load_ns"] == result["durations_ns"][phase]
        grown = result["peak_footprint"] - result["baseline_footprint"]
        # A file that is only mapped is not charged; one that was read into memory is, whole.
        assert grown >= wide.bytes if engine == "read" else grown < wide.bytes / 10
        assert result["kernel_peak_resident"] > wide.bytes


def test_touch_prewarm_reads_the_file(app: RunnerProcess) -> None:
    with app.connect() as host:
        host.load("t1", job(prewarm={"mode": "touch", "chunk_bytes": 4096}))
        assert phases(host.seen)[0] == "prewarm"


@pytest.mark.parametrize("during", ["hold", "decode"])
def test_cancel(app: RunnerProcess, during: str) -> None:
    with app.connect() as host:
        host.send("run", trial="t1", job=job(hold_ms=600_000))
        host.until("phase", where=lambda event: event["name"] == during)
        host.send("cancel")
        result = host.until("result")
        assert result["cancelled"] is True
        assert list(result["durations_ns"])[-2:] == END_PHASES
        host.send("cancel")
        assert host.until("error")["kind"] == "nothing_running"


def test_one_process_one_trial(app: RunnerProcess) -> None:
    with app.connect() as host:
        host.send("run", trial="t1", job=job(hold_ms=600_000))
        host.until("phase")
        host.send("run", trial="t2", job=job())
        busy = host.until("error")
        assert (busy["kind"], busy["trial"]) == ("busy", "t2")
        host.send("cancel")
        host.until("result")
        assert host.load("t3", job())["kind"] == "already_run"


def test_a_trial_name_is_used_once(executable: Path, home: Path) -> None:
    with launched(executable, home) as app, app.connect() as host:
        host.load("t1", job())
    with launched(executable, home) as app, app.connect() as host:
        assert host.load("t1", job())["kind"] == "bad_command"
        assert host.load("t2", job())["ev"] == "result"


def test_a_link_out_of_documents_is_no_model(app: RunnerProcess) -> None:
    (app.home / "secret").write_bytes(b"x")
    (app.home / "Documents" / "link.task").symlink_to(app.home / "secret")
    with app.connect() as host:
        assert host.load("t1", job("link.task"))["kind"] == "unknown_model"


def test_a_kill_leaves_the_journal(app: RunnerProcess) -> None:
    with app.connect() as host:
        host.send("run", trial="t1", job=job(hold_ms=600_000))
        host.until("phase", where=lambda event: event["name"] == "hold")
        host.until("sample")
        app.kill()
        events = app.journal("t1")
        assert without_gaps(events)
        assert events[0]["seq"] == 1
        begun = [event["name"] for event in events if event["ev"] == "phase" and event["edge"] == "begin"]
        assert begun[-1] == "hold"
        last_sent = max(event["seq"] for event in [*host.seen, *host.events()])
        assert events[-1]["seq"] >= last_sent  # nothing is sent that is not on disk


def test_stderr_is_kept_and_told(app: RunnerProcess) -> None:
    with app.connect() as host:
        host.load("t1", job(hold_ms=200))
        lines = [event["line"] for event in host.seen if event["ev"] == "log"]
        kept = (app.home / "Documents" / "trials" / "t1.stderr").read_text(errors="replace")
        assert lines
        assert all(line in kept for line in lines)


def test_bad_alloc_leaves_its_words_and_the_open_phase(executable: Path, home: Path, wide: ModelInfo) -> None:
    os.link(wide.path, home / "Documents" / "wide.task")
    limit = 150 * 1000 * 1000
    with launched(executable, home) as app, app.connect() as host:
        resource.prlimit(app.process.pid, resource.RLIMIT_DATA, (limit, limit))
        resource.prlimit(app.process.pid, resource.RLIMIT_CORE, (0, 0))
        host.send("run", trial="t1", job=job("wide.task", cache="cold"))
        list(host.events())
        assert app.process.wait(LIMIT_S) == -signal.SIGABRT
        events = app.journal("t1")
        kept = (home / "Documents" / "trials" / "t1.stderr").read_text(errors="replace")
    assert "std::bad_alloc" in kept
    begun = [event["name"] for event in events if event["ev"] == "phase" and event["edge"] == "begin"]
    assert begun[-1] == "create_engine"
    (cache,) = (home / "Library" / "Caches" / "weights").iterdir()
    assert (cache / ".incomplete").exists()


def test_a_taken_port_is_named(executable: Path, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        run = subprocess.run(
            [executable],
            env={"HOME": str(home), "RUNNER_PORT": port},
            capture_output=True,
            timeout=LIMIT_S,
            text=True,
            check=False,
        )
    assert run.returncode == 98
    assert port in run.stderr


@pytest.mark.parametrize(
    "environment", [{}, {"HOME": "/nowhere"}, {"RUNNER_PORT": "0"}, {"VIRTUAL_FOOTPRINT_LIMIT_BYTES": "90MiB"}]
)
def test_an_unusable_environment_is_explained(executable: Path, home: Path, environment: dict[str, str]) -> None:
    base = {"HOME": str(home), "RUNNER_PORT": str(free_port())} if environment else {}
    run = subprocess.run(
        [executable], env=base | environment, capture_output=True, timeout=LIMIT_S, text=True, check=False
    )
    assert run.returncode == 78
    assert run.stderr.startswith("runner: ")


def test_heartbeats_come_while_idle(app: RunnerProcess) -> None:
    with app.connect() as host:
        beats = [host.until("heartbeat") for _ in range(3)]
        assert all(beat["phase"] is None for beat in beats)


def test_every_event_has_the_golden_shape(app: RunnerProcess) -> None:
    golden: dict[tuple[str, str], set[str]] = {}
    for line in (FIXTURES / "events.ndjson").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        golden.setdefault((event["ev"], event.get("edge", "")), set()).update(event)
    with app.connect() as host:
        host.ask("hello", "hello", v=1, host_t=1)
        host.ask("ping", "pong", host_t=1)
        host.send_raw(b"nonsense")
        host.until("error")
        host.load("t1", job(hold_ms=100))
        seen: dict[tuple[str, str], set[str]] = {}
        for event in host.seen:
            seen.setdefault((event["ev"], event.get("edge", "")), set()).update(event)
    for kind, fields in seen.items():
        assert fields == golden[kind], kind
    assert {"hello", "pong", "phase", "sample", "token", "backend", "log", "heartbeat", "error", "result"} <= {
        name for name, _ in seen
    }
