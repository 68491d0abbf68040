"""Suite files: good ones become plans, bad ones a complaint with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.plan import plan_trials
from harness.bench.single import single_trial
from harness.bench.suite import SuiteError, load_suite
from harness.core.outcome import Outcome
from harness.device.readiness import Needs, ThermalState

GOOD = """
name = "two"
[[models]]
name = "tiny"
synth = "tiny"
[[models]]
name = "mine"
path = "models/mine.task"
[matrix]
caches = ["cold", "warm"]
[options]
trials = 2
[[expect]]
outcome = "bad_alloc"
model = "mine"
cache = "cold"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def test_a_plan_interleaves_the_cases(tmp_path: Path) -> None:
    names = [planned.name for planned in plan_trials(load_suite(write(tmp_path, GOOD)))]
    cases = ["tiny/litert_lm/cpu/cold", "tiny/litert_lm/cpu/warm", "mine/litert_lm/cpu/cold", "mine/litert_lm/cpu/warm"]
    assert names == [f"{case}#{ordinal}" for ordinal in (1, 2) for case in cases]


def test_floors_know_neither_gpu_nor_weight_cache(tmp_path: Path) -> None:
    text = GOOD.replace("[matrix]", '[matrix]\nengines = ["mmap", "read"]\nbackends = ["gpu", "cpu"]')
    names = {planned.case.name for planned in plan_trials(load_suite(write(tmp_path, text)))}
    assert names == {f"{model}/{engine}/cpu/none" for model in ("tiny", "mine") for engine in ("mmap", "read")}


def test_expectations_apply_to_the_cases_they_match(tmp_path: Path) -> None:
    trials = plan_trials(load_suite(write(tmp_path, GOOD)))
    expected = {planned.case.name: planned.case.expected for planned in trials}
    assert expected["mine/litert_lm/cpu/cold"] is Outcome.BAD_ALLOC
    assert expected["mine/litert_lm/cpu/warm"] is Outcome.LOADED
    assert expected["tiny/litert_lm/cpu/cold"] is Outcome.LOADED


def test_paths_are_relative_to_the_suite(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    assert suite.models[1].path == tmp_path / "models/mine.task"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("trials = 2", "trails = 2"), r"options\.trails"),
        (("trials = 2", "trials = 0"), r"options\.trials"),
        (('synth = "tiny"', ""), r"models\[0\].*one of `path`, `url`, `synth`"),
        (('synth = "tiny"', 'synth = "huge"'), r"unknown recipe 'huge'; there are: tiny"),
        (('name = "mine"', 'name = "tiny"'), r"given twice: tiny"),
        (('model = "mine"', 'model = "yours"'), r"matches no case: model 'yours', but the suite has tiny, mine"),
        (('caches = ["cold", "warm"]', 'caches = ["hot"]'), r"matrix\.caches\[0\]"),
        (('outcome = "bad_alloc"', 'outcome = "push_failed"'), r"says nothing about a model"),
        (('cache = "cold"', 'cache = "none"'), r"matches no case"),
        (("trials = 2", 'prompt = "' + "ü" * 20_000 + '"'), r"options\.prompt.*32768 bytes"),
        (('name = "two"', ""), r"name: Field required"),
        (("[matrix]", "[matrix"), r"not TOML"),
        (("trials = 2", "trials = " + "9" * 5000), r"not TOML"),
        (("trials = 2", "trials = " + "[" * 100_000), r"not TOML: nested too deep"),
        # a parser of the standard library would take all memory
        (("trials = 2", "a." * 400_000 + "b = 1"), r"a key of more than 32 parts"),
        (("trials = 2", "'a' . " * 100_000 + "b = 1"), r"a key of more than 32 parts"),
        (("[matrix]", "[[limit]]\nmax_load_s = inf\n[matrix]"), r"limit\[0\]\.max_load_s: .*finite"),
    ],
    ids=lambda change: None if isinstance(change, str) else change[1][:40],
)
def test_mistakes_are_located(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    path = write(tmp_path, GOOD.replace(*change, 1))
    with pytest.raises(SuiteError, match=complaint) as caught:
        load_suite(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"none\.toml: cannot be read"):
        load_suite(tmp_path / "none.toml")


def test_a_single_trial_obeys_the_same_rules() -> None:
    planned = single_trial("test_mine[virtual]", "tiny", cache="none", expect="jetsam", sample_hz=100)
    assert planned.case.name == "tiny/litert_lm/cpu/none"
    assert planned.case.expected is Outcome.JETSAM
    assert planned.case.options.sample_hz == 100
    with pytest.raises(SuiteError, match="sample_hz"):
        single_trial("test", "tiny", sample_hz=0)
    with pytest.raises(SuiteError, match="sample_herz"):
        single_trial("test", "tiny", sample_herz=10)


@pytest.mark.parametrize("path", sorted(Path("suites").glob("*.toml")), ids=lambda path: path.name)
def test_the_suites_of_this_project_are_good(path: Path) -> None:
    assert plan_trials(load_suite(path))


NEEDS = """
[needs]
max_battery_celsius = 35
max_thermal = "fair"
charging = true
min_free = "2 GiB"
min_ram = "6 GiB"
min_ios = "17.4"
cool_timeout_s = 60
"""


def test_needs_reach_every_case(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD + NEEDS))
    needs = Needs(
        max_battery_celsius=35.0,
        max_thermal=ThermalState.FAIR,
        charging=True,
        min_free_bytes=2 * 1024**3,
        min_ram_bytes=6 * 1024**3,
        min_ios="17.4",
        cool_timeout_s=60.0,
    )
    assert {planned.case.needs for planned in plan_trials(suite)} == {needs}
    assert {planned.case.needs for planned in plan_trials(load_suite(write(tmp_path, GOOD)))} == {Needs()}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('max_thermal = "warm"', "needs.max_thermal"),
        ('min_free = "2 gigs"', "no size"),
        ("min_free = 2", "with its unit"),
        ('min_ios = "eighteen"', "needs.min_ios"),
        ("max_batery_celsius = 35", "needs.max_batery_celsius"),
        ("cool_poll_s = 0", "needs.cool_poll_s"),
    ],
)
def test_a_need_that_is_none(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(SuiteError, match=said):
        load_suite(write(tmp_path, f"{GOOD}[needs]\n{line}\n"))
