"""`harness fallback` on a virtual phone: the GPU that it has not is given up, and what that costs is told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from harness.store.database import ResultStore
from tests.functional import in_process
from tests.functional.whole_way import Bench

SUITE = """
name = "ladder"
[[models]]
name = "tiny"
synth = "tiny"
[[models]]
name = "other"
synth = { base = "tiny", seed = 2 }
[matrix]
backends = ["gpu", "cpu"]
caches = ["none"]
[options]
max_tokens = 128
"""


def harness(*arguments: str, bench: Bench, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    suite = tmp_path / "ladder.toml"
    suite.write_text(SUITE)
    where = ["--device", "virtual", "--results", str(bench.results)]
    return in_process.harness("fallback", str(suite), *where, *arguments, folder=tmp_path)


def test_a_gpu_that_is_refused_gives_way_to_the_cpu(bench: Bench, tmp_path: Path) -> None:
    done = harness("--json", "--repeats", "2", bench=bench, tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["found"], told["found_case"]) == ("backend cpu", "tiny/litert_lm/cpu/none")
    gpu, cpu = told["steps"]
    assert (gpu["step"], gpu["holds"], gpu["outcomes"]) == ("backend gpu", False, ["load_error"])
    assert (cpu["holds"], cpu["outcomes"]) == (True, ["loaded", "loaded"])
    assert told["untried"] == ["backend cpu, model other"]
    # the first step pushed the model, the second found it there
    assert gpu["pushed_bytes"] > 0
    assert cpu["pushed_bytes"] == 0
    assert (gpu["load_by_found"], cpu["load_by_found"]) == (None, 1.0)
    assert cpu["peak_footprint_bytes"] > 0
    assert cpu["head_room_bytes"] > 0
    assert gpu["time_s"] > 0
    with ResultStore.open(bench.results) as store:
        kept = store.trials(run_id=told["run_id"])
    assert [record.trial_id for record in kept] == [*gpu["trial_ids"], *cpu["trial_ids"]]
    assert {record.suite for record in kept} == {"fallback-ladder"}


def test_all_steps_are_tried_when_none_holds(bench: Bench, tmp_path: Path) -> None:
    done = harness("--headroom", "99.9%", bench=bench, tmp_path=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "no step of the ladder loads with 99.9 % head-room" in done.stdout
    assert "backend cpu, model other" in done.stdout
