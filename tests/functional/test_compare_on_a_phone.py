"""`harness compare` with builds that really differ, on a virtual phone."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.compare_sides import About, compare_sides
from harness.analysis.metrics import METRIC_BY_NAME
from harness.bench.compare import Contender, TurnOptions, TurnsTaken, take_turns
from harness.bench.compare_turns import Arm
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite
from harness.core.errors import UsageError
from harness.core.job import Variant
from harness.core.judgement import VerdictKind
from harness.core.phone import Virtual
from harness.runner.build import build_ipa
from harness.runner.bundle import BuiltRunner
from harness.store.database import ResultStore
from tests.functional.in_process import harness
from tests.functional.whole_way import Bench

LIMIT_S = 120.0
BALLAST_BYTES = 2 << 20
PEAK = METRIC_BY_NAME["peak_footprint_bytes"]
SUITE = """
name = "turns"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
caches = ["none"]
[options]
max_tokens = 64
decode_tokens = 2
hold_ms = 20
"""


def suite_of(**tables: Any) -> Suite:
    options = {"max_tokens": 64, "decode_tokens": 1, "hold_ms": 0, **tables.pop("options", {})}
    models = [{"name": "tiny", "synth": "tiny"}]
    return Suite.model_validate({"name": "turns", "models": models, "options": options, **tables})


@pytest.fixture
def builds(tmp_path: Path) -> tuple[BuiltRunner, BuiltRunner]:
    return build_ipa(tmp_path / "good", commit="a" * 40), build_ipa(tmp_path / "bad", ballast_bytes=BALLAST_BYTES)


def turns(bench: Bench, a: Contender, b: Contender, trials: int = 1, warm_ups: int = 0) -> TurnsTaken:
    options = TurnOptions(trials, warm_ups)
    return asyncio.run(take_turns(a, b, Virtual(), bench.results, Listener(), RunOptions(), options))


def test_a_build_with_a_ballast_is_regressed(bench: Bench, builds: tuple[BuiltRunner, BuiltRunner]) -> None:
    folder = bench.results.parent
    (folder / "turns.toml").write_text(SUITE)
    words = ["compare", str(builds[0].path), str(builds[1].path), "--suite", "turns.toml", "--device", "virtual"]
    done = harness(*words, "--trials", "5", "--metric", PEAK.name, "--json", folder=folder)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert (told["verdict"], told["interleaved"], told["complete"]) == ("regressed", True, True)
    (figure,) = told["cases"][0]["metrics"]
    assert figure["b_median"] - figure["a_median"] == pytest.approx(BALLAST_BYTES, rel=0.1)

    with ResultStore.open(bench.results) as store:
        records = store.trials(run_id=told["run_id"])
    assert len(records) == 12
    for record, build in ((record, builds[0 if record.arm == "a" else 1]) for record in records):
        assert (record.outcome, record.app_build) == ("loaded", build.build)
        assert (record.app_commit, record.app_ballast_bytes) == (build.commit, build.ballast_bytes)
        # no run of the suite is resumed with them
        assert record.suite_digest is None
    order = "".join(record.arm or "" for record in records if record.ordinal >= 1)
    assert {order[at : at + 2] for at in range(0, len(order), 2)} <= {"ab", "ba"}

    # the same trials, told again from what was recorded, with the sides changed
    again = harness(
        "compare", f"run:{told['run_id']}/b", f"{told['run_id'][:-2]}/a", "--metric", PEAK.name, "--json", folder=folder
    )
    assert again.returncode == 0, again.stderr
    assert (json.loads(again.stdout)["verdict"], json.loads(again.stdout)["interleaved"]) == ("improved", True)
    # and run again, with the builds that were kept
    kept = sorted(path.name.partition("-")[0] for path in (bench.results / "apps").iterdir())
    assert kept == sorted(build.build for build in builds)


@pytest.mark.thorough
def test_a_warm_cache_is_each_builds_own(bench: Bench, builds: tuple[BuiltRunner, BuiltRunner]) -> None:
    suite = suite_of(matrix={"caches": ["warm"]})
    good, bad = (Contender(suite, (str(build.path),)) for build in builds)
    taken = turns(bench, good, bad, trials=2)
    assert [record.outcome for record in taken.records] == ["loaded"] * 4
    arms = [record.arm for record in taken.records]
    filled = ["cache_fill" in {step.name for step in record.host_steps} for record in taken.records]
    # one bundle id: what the other build left in the app's folder is not this one's
    assert filled == [at == 0 or arms[at] != arms[at - 1] for at in range(4)]


@pytest.mark.thorough
def test_variants_are_on_the_phone_together(bench: Bench, tmp_path: Path) -> None:
    apps = [build_ipa(tmp_path, variant=variant) for variant in (Variant.PLAIN, Variant.BOTH)]
    suite = suite_of(matrix={"caches": ["warm"]})
    plain, both = (Contender(suite, (str(app.path),)) for app in apps)
    taken = turns(bench, plain, both, trials=2)
    assert {(record.arm, record.app_variant) for record in taken.records} == {("a", "plain"), ("b", "both")}
    filled = [record for record in taken.records if "cache_fill" in {step.name for step in record.host_steps}]
    # each has files of its own, so each fills its cache once
    assert [record.ordinal for record in filled] == [1, 1]


@pytest.mark.thorough
def test_two_suites_take_turns_in_one_app(bench: Bench) -> None:
    one, other = suite_of(options={"decode_tokens": 1}), suite_of(options={"decode_tokens": 3})
    runner = ("python",)
    taken = turns(bench, Contender(one, runner), Contender(other, runner))
    assert {(record.arm, record.decode_tokens) for record in taken.records} == {("a", 1), ("b", 3)}
    assert len({record.app_build for record in taken.records}) == 1
    with ResultStore.open(bench.results) as store:
        a, b = (store.frame(run_id=taken.run_id, arm=arm.value) for arm in Arm)
    assert compare_sides(a, b, [PEAK]).cases[0].problems
    found = compare_sides(a, b, [PEAK], about=[About.OPTIONS])
    assert found.cases[0].problems == ()
    # one trial a side is no comparison
    assert found.verdict is VerdictKind.INCOMPARABLE


def test_suites_for_different_virtual_phones_are_refused(bench: Bench) -> None:
    one, other = suite_of(), suite_of(virtual={"footprint_limit": "90MiB"})
    with pytest.raises(UsageError, match="the phone is one"):
        turns(bench, Contender(one, ("python",)), Contender(other, ("python",)))


def test_an_interrupted_comparison_says_what_it_can(bench: Bench, builds: tuple[BuiltRunner, BuiltRunner]) -> None:
    folder = bench.results.parent
    (folder / "turns.toml").write_text(SUITE)
    command = [sys.executable, "-W", "error", "-m", "harness.cli", "compare", *(str(one.path) for one in builds)]
    command += ["--suite", "turns.toml", "--device", "virtual", "--trials", "200", "--warm-ups", "0", "--json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("[12/"):
                    process.send_signal(signal.SIGINT)
                    break
            said, _ = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 130
    told = json.loads(said)
    assert (told["complete"], told["verdict"]) == (False, "regressed")
