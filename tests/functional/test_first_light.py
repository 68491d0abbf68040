"""The whole way: a suite on a virtual iPhone, through the real client library, with a real engine on a real model."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.conductor import open_conductor
from harness.bench.listener import Listener
from harness.bench.single import single_trial
from harness.bench.synth import RECIPES, make
from harness.core.outcome import EvidenceKind
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.store.database import ResultStore
from harness.store.telemetry import read_parquet
from tests.functional.whole_way import Bench, Watcher

NS_PER_MS = 1_000_000
# What a death may cost: the time between the last sample kept and the end of the process.
LOST_LIMIT_NS = 20 * NS_PER_MS


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_an_ordinary_trial_leaves_no_connection_to_the_garbage_collector(bench: Bench) -> None:
    assert bench.only("tiny", matrix={"caches": ["none"]}).outcome == "loaded"
    gc.collect()


def test_a_model_loads_and_everything_is_kept(bench: Bench) -> None:
    record = bench.only("wide", matrix={"caches": ["none"]})
    assert record.outcome == "loaded", record.reason
    assert (record.device_kind, record.device_product_type) == ("virtual", "iPhone17,1")
    assert (record.backend_requested, record.backend_effective) == ("cpu", "cpu")
    assert record.decoded_tokens == 8
    for figure in (record.load_ns, record.ttft_ns, record.decode_tokens_per_s, record.leftover_footprint_bytes):
        assert figure is not None
        assert figure > 0
    assert record.seq_missing == 0

    assert record.telemetry_file is not None
    frame = read_parquet(bench.results / record.telemetry_file)
    assert set(frame["source"]) == {"app", "host"}
    app = frame[frame["source"] == "app"]
    assert len(app) == record.sample_count
    assert int(app["footprint_bytes"].max()) == record.peak_footprint_bytes
    assert app["metal_bytes"].isna().all(), "this platform has no Metal: missing, not 0"

    assert record.artifacts_dir is not None
    journal = (bench.results / record.artifacts_dir / "journal.ndjson").read_text().splitlines()
    assert [json.loads(line)["ev"] for line in journal].count("sample") == record.sample_count


def test_the_sampled_peak_is_the_kernels(bench: Bench) -> None:
    record = bench.only("wide", matrix={"caches": ["none"]})
    assert record.peak_resident_bytes is not None
    assert record.kernel_peak_resident_bytes == pytest.approx(record.peak_resident_bytes, rel=0.01)
    assert record.host_peak_footprint_bytes is not None
    assert record.peak_footprint_bytes is not None
    assert record.host_peak_footprint_bytes <= record.peak_footprint_bytes * 1.01


def test_a_second_run_installs_and_pushes_nothing(bench: Bench) -> None:
    first, second = Watcher(), Watcher()
    one = bench.only(watcher=first)
    two = bench.only(watcher=second)
    assert "install app" in first.steps
    assert any(step.startswith("push ") for step in first.steps)
    assert second.steps == []
    assert one.device_udid == two.device_udid, "the same phone"
    assert one.output_sha256 == two.output_sha256 is not None, "the same seed, the same text"


def test_a_warm_case_gets_its_cache_first(bench: Bench) -> None:
    watcher = Watcher()
    record = bench.only(matrix={"caches": ["warm"]}, watcher=watcher)
    assert record.outcome == "loaded", record.reason
    assert watcher.phases.count("create_engine") == 2, "the unmeasured load that fills it, then the trial"
    assert [phase.name for phase in record.phases].count("create_engine") == 1


def test_no_gpu_is_an_error_and_never_a_silent_cpu_run(bench: Bench) -> None:
    record = bench.only(matrix={"backends": ["gpu"]})
    assert record.outcome == "load_error"
    assert record.backend_effective is None
    assert "GPU" in (record.reason or "")
    assert "decode" not in {phase.name for phase in record.phases}


def assert_little_lost(bench: Bench, record: TrialRecord, died_ns: int) -> None:
    assert record.telemetry_file is not None
    frame = read_parquet(bench.results / record.telemetry_file)
    app = frame[frame["source"] == "app"]
    assert int(app["t_ns"].max()) == record.last_sample_ns
    assert died_ns - int(app["t_ns"].max()) <= LOST_LIMIT_NS


def test_over_the_footprint_limit_the_phone_kills_and_says_so(bench: Bench) -> None:
    record = bench.only("wide", settings={"footprint_limit": "90MiB"}, matrix={"caches": ["none"]})
    assert record.outcome == "jetsam", record.reason
    assert record.footprint_limit_bytes == 90 * 1024 * 1024
    (proof,) = [item for item in record.evidence if item.kind is EvidenceKind.JETSAM_EVENT]
    assert proof.decisive
    assert proof.file is not None
    assert record.artifacts_dir is not None
    report = (bench.results / record.artifacts_dir / proof.file).read_text()
    body = json.loads(report.partition("\n")[2])
    assert [entry["pid"] for entry in body["processes"] if entry.get("reason")] == [record.pid]
    assert record.pid is not None
    assert_little_lost(bench, record, bench.truth(record.pid)["decided_ns"])


def test_over_the_allocation_limit_the_engine_throws_bad_alloc(bench: Bench) -> None:
    record = bench.only("wide", settings={"allocation_limit": "150MiB"}, matrix={"caches": ["cold"]})
    assert record.outcome == "bad_alloc", record.reason
    kinds = {item.kind: item for item in record.evidence if item.decisive}
    assert EvidenceKind.CRASH_REPORT in kinds
    assert "std::bad_alloc" in kinds[EvidenceKind.CRASH_REPORT].text
    assert record.artifacts_dir is not None
    stderr = bench.results / record.artifacts_dir / "stderr.txt"
    assert "std::bad_alloc" in stderr.read_text()
    # the exception's last words are the last thing the process did
    words_ns = bench.truth(record.pid or 0)["stderr_changed_ns"]
    assert_little_lost(bench, record, words_ns)


def test_an_app_that_stops_is_hung(bench: Bench) -> None:
    watcher = Watcher("hold", lambda: os.kill(bench.app_pid(), signal.SIGSTOP))
    record = bench.only(watcher=watcher, hold_ms=1_000, progress_limit_s=1.0)
    assert record.outcome == "hung"
    assert "hold" in (record.reason or "")


def test_a_phone_that_leaves_is_lost(bench: Bench) -> None:
    watcher = Watcher("hold", lambda: bench.ask_phone("unplug"))
    record = bench.only(watcher=watcher, hold_ms=60_000)
    assert record.outcome == "lost"
    assert record.sample_count, "what came before is kept"


def test_a_cable_put_back_costs_nothing(bench: Bench) -> None:
    def pull_and_put_back() -> None:
        bench.ask_phone("unplug")
        threading.Timer(0.5, bench.ask_phone, ["plug"]).start()

    record = bench.only(watcher=Watcher("hold", pull_and_put_back), hold_ms=3_000)
    assert record.outcome == "loaded", record.reason
    assert record.seq_missing == 0


def test_a_killed_app_without_a_report_is_not_called_anything(bench: Bench) -> None:
    record = bench.only(watcher=Watcher("hold", lambda: os.kill(bench.app_pid(), signal.SIGKILL)), hold_ms=60_000)
    assert record.outcome == "unknown"
    assert record.outcome_family != "measured"
    assert any("no crash report" in item.text for item in record.evidence)


def test_a_model_of_the_same_name_is_another_model(tmp_path: Path, bench: Bench) -> None:
    """One conductor, two files of one name: each trial measures its own."""
    paths = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "model.task"
        make(replace(RECIPES["tiny"], seed=number), path)
        paths.append(path)

    async def both() -> list[TrialRecord]:
        word = Virtual()
        async with open_conductor(word, bench.results, Listener()) as conductor:
            return [await conductor.run_trial(single_trial("x", path, max_tokens=128)) for path in paths]

    one, two = asyncio.run(both())
    assert (one.outcome, two.outcome) == ("loaded", "loaded")
    assert one.model_sha256 != two.model_sha256


def test_two_devices_are_two_phones(bench: Bench) -> None:
    (one,) = bench.run().records
    (two,) = bench.run(settings={"footprint_limit": "2GiB"}).records
    assert one.device_settings == ""
    assert two.device_settings == "footprint_limit=2GiB"
    with ResultStore.open(bench.results) as store:
        assert len(store.trials()) == 2


def test_an_interruption_is_a_record(bench: Bench) -> None:
    pids: list[int] = []

    def interrupt() -> None:
        pids.append(bench.app_pid())
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        bench.run(watcher=Watcher("hold", interrupt), hold_ms=60_000)
    with ResultStore.open(bench.results) as store:
        (record,) = store.trials()
    assert (record.outcome, record.reason) == ("harness_error", "trial: interrupted")
    assert record.sample_count
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pids[0]}").exists():
        assert time.monotonic() < deadline, "the app on the phone lives on"
        time.sleep(0.01)
