"""What only a virtual phone gives the runner app: an emulated GPU, memory warnings, thermal state, Low Power Mode."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.bench.synth import ModelInfo
from tests.functional.runner_process import Event, Host, RunnerProcess, launched

FOOTPRINT, METAL, THERMAL = 0, 4, 9
EMULATED = "cpu (gpu emulated)"


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    file = tmp_path / "system_state.json"
    tell(file)
    return file


def tell(file: Path, *, thermal: int = 0, low_power: bool = False) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"thermal": thermal, "low_power": low_power, "battery_percent": 87}))
    new.replace(file)


def job(**changes: object) -> Event:
    return {
        "model": "tiny.task",
        "engine": "litert_lm",
        "backend": "gpu",
        "cache": "none",
        "sample_hz": 1000,
        "prompt": "hello memory",
        "decode_tokens": 4,
        **changes,
    }


def column(events: list[Event], index: int) -> list[Any]:
    return [event["d"][index] for event in events if event["ev"] == "sample"]


def phase_names(events: list[Event]) -> list[str]:
    return [event["name"] for event in events if event["ev"] == "phase" and event["edge"] == "end"]


def signals_caught(app: RunnerProcess) -> int:
    status = Path(f"/proc/{app.process.pid}/status").read_text()
    return int(status.split("SigCgt:")[1].split()[0], 16)


def notice(host: Host) -> tuple[str, str | None]:
    event = host.until("notice")
    return event["kind"], event["text"]


def test_an_emulated_gpu_holds_the_weights_and_says_what_it_is(executable: Path, home: Path, tiny: ModelInfo) -> None:
    size = tiny.path.stat().st_size
    with launched(executable, home, VIRTUAL_GPU="emulated") as app, app.connect() as host:
        result = host.load("t1", job(hold_ms=50))
        assert result["ev"] == "result", result
        names = phase_names(host.seen)
        assert names.index("gpu_upload") + 1 == names.index("create_engine")
        durations = result["durations_ns"]
        assert result["load_ns"] == sum(durations[name] for name in ("gpu_upload", "create_engine", "create_session"))
        backend = next(event for event in host.seen if event["ev"] == "backend")
        assert (backend["requested"], backend["effective"]) == ("gpu", EMULATED)
        assert "no GPU executed anything" in backend["how"]
        assert str(size) in backend["how"]
        graphics = column(host.seen, METAL)
        assert (graphics[0], max(graphics), graphics[-1]) == (0, size, 0), "none before the upload, none after unload"


def test_where_a_gpu_is_emulated_the_cpu_is_still_the_cpu(executable: Path, home: Path) -> None:
    with launched(executable, home, VIRTUAL_GPU="emulated") as app, app.connect() as host:
        assert host.load("t1", job(backend="cpu"))["ev"] == "result"
        backend = next(event for event in host.seen if event["ev"] == "backend")
        assert backend["effective"] == "cpu"
        assert "gpu_upload" not in phase_names(host.seen)
        assert set(column(host.seen, METAL)) == {0}


def test_without_the_setting_there_is_no_gpu(executable: Path, home: Path) -> None:
    with launched(executable, home) as app, app.connect() as host:
        error = host.load("t1", job())
        assert (error["ev"], error["kind"]) == ("error", "load_error")
        assert "GPU" in error["message"]
        assert set(column(host.seen, METAL)) == {None}


def test_an_upload_that_finds_no_weights_is_a_load_error(executable: Path, home: Path) -> None:
    (home / "Documents" / "empty.task").touch()
    with launched(executable, home, VIRTUAL_GPU="emulated") as app, app.connect() as host:
        error = host.load("t1", job(model="empty.task"))
        assert (error["kind"], error["phase"]) == ("load_error", "gpu_upload")


def test_a_memory_warning_is_a_notice_also_while_the_trial_runs(executable: Path, home: Path) -> None:
    with launched(executable, home) as app, app.connect() as host:
        host.until("heartbeat")
        assert signals_caught(app) & 1 << signal.SIGUSR1 - 1, "a phone warns only apps that listen"
        app.process.send_signal(signal.SIGUSR1)
        assert notice(host) == ("memory_warning", None)
        host.send("run", trial="t1", job=job(backend="cpu", hold_ms=60_000))
        host.until("phase", where=lambda event: event["name"] == "hold")
        app.process.send_signal(signal.SIGUSR1)
        assert notice(host) == ("memory_warning", None)
        host.send("cancel")
        assert host.until("result")["cancelled"]
        assert "memory_warning" in {event.get("kind") for event in app.journal("t1")}


def test_what_the_phone_says_of_itself_is_sampled_and_noticed(executable: Path, home: Path, state_file: Path) -> None:
    tell(state_file, thermal=1)
    with launched(executable, home, VIRTUAL_SYSTEM_STATE=str(state_file)) as app, app.connect() as host:
        host.send("run", trial="t1", job=job(backend="cpu", hold_ms=60_000))
        host.until("phase", where=lambda event: event["name"] == "hold")
        assert set(column(host.seen, THERMAL)) == {1}
        tell(state_file, thermal=3, low_power=True)
        assert notice(host) == ("thermal", "critical")
        assert notice(host) == ("low_power", "on")
        host.until("sample", where=lambda event: event["d"][THERMAL] == 3)
        tell(state_file, thermal=3)
        assert notice(host) == ("low_power", "off")
        host.send("cancel")
        host.until("result")
        notices = [event for event in app.journal("t1") if event["ev"] == "notice"]
        assert len(notices) == 3, "the state at the start is none"


@pytest.mark.parametrize("environment", [{"VIRTUAL_GPU": "metal"}, {"VIRTUAL_SYSTEM_STATE": "/nowhere/state.json"}])
def test_a_phone_that_says_nonsense_is_told_so(executable: Path, home: Path, environment: dict[str, str]) -> None:
    with launched(executable, home, **environment) as app:
        _, words = app.process.communicate(timeout=60)
        assert app.process.returncode == 78
        assert next(iter(environment)).encode() in words
