"""The suites and templates that come with the project: each is read, planned, and says where its files come from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from harness.bench.plan import cases_of, plan_trials
from harness.bench.suite import Suite, load_suite
from harness.core.job import CacheState, Engine, Variant
from harness.core.outcome import Outcome

SUITES = Path(__file__).parents[3] / "suites"
TEMPLATES = sorted((SUITES / "templates").glob("*.toml"))
READY = sorted(SUITES.glob("*.toml"))
MODELS_DOC = SUITES.parent / "docs/models.md"
FAMILIES = ("gemma-3-1b", "gemma-3n", "gemma-4", "phi-2", "stablelm", "falcon-rw-1b", "llama-3.2", "qwen-2.5")


def by_stem(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", [*READY, *TEMPLATES], ids=by_stem)
def test_it_is_read_and_planned(path: Path) -> None:
    suite = load_suite(path)
    assert suite.name == path.stem
    assert suite.description
    names = [planned.name for planned in plan_trials(suite)]
    assert len(set(names)) == len(names) >= suite.options.trials


@pytest.mark.parametrize("path", [*READY, *TEMPLATES], ids=by_stem)
def test_every_expectation_decides_a_case(path: Path) -> None:
    suite = load_suite(path)
    bare = suite.model_copy(update={"expect": ()})
    for rule in suite.expect:
        others = tuple(other for other in suite.expect if other is not rule)
        assert expectations(suite) != expectations(suite.model_copy(update={"expect": others})), rule
    assert all(outcome is Outcome.LOADED for outcome in expectations(bare).values())


def expectations(suite: Suite) -> dict[str, Outcome]:
    return {case.name: case.expected for case in cases_of(suite)}


@pytest.mark.parametrize("path", READY, ids=by_stem)
def test_a_ready_suite_needs_nothing_but_a_phone(path: Path) -> None:
    assert all(model.synth is not None for model in load_suite(path).models)


@pytest.mark.parametrize("path", TEMPLATES, ids=by_stem)
def test_a_template_says_where_its_files_come_from_and_under_which_licence(path: Path) -> None:
    documented = MODELS_DOC.read_text()
    for model in load_suite(path).models:
        assert model.synth is None
        assert model.source is not None
        assert model.licence is not None
        # an address goes with a digest (the suite's own rule); what has none is got by hand
        assert (model.url is None) != (model.path is None)
        assert f"`{model.name}`" in documented, f"docs/models.md has no row for {model.name}"


def test_every_family_has_a_template() -> None:
    names = [model.name for path in TEMPLATES for model in load_suite(path).models]
    assert not [family for family in FAMILIES if not any(name.startswith(family) for name in names)]


def test_the_memory_case_expects_what_it_tells() -> None:
    suite = load_suite(SUITES / "memory-case.toml")
    expected = {(case.model.name, case.engine, case.cache, case.variant): case.expected for case in cases_of(suite)}
    died = {case for case, outcome in expected.items() if outcome is not Outcome.LOADED}
    assert died == {
        ("llama-1b-q8", Engine.LITERT_LM, cache, Variant.PLAIN) for cache in (CacheState.COLD, CacheState.WARM)
    }
    assert len(expected) == 16
    assert suite.published


def test_the_nightly_suite_gives_a_comparison_enough_to_work_with() -> None:
    suite = load_suite(SUITES / "nightly.toml")
    assert suite.options.trials >= 5
    assert suite.needs.max_battery_celsius is not None
    assert not suite.limit
    firsts = [planned.case.name for planned in plan_trials(suite) if planned.ordinal in (1, 2)]
    rounds = len(cases_of(suite))
    assert any(one != two for one, two in zip(firsts[:rounds], firsts[rounds:], strict=True))


def test_published_facts_have_a_source_each() -> None:
    for path in READY:
        for one, two in pairwise(load_suite(path).published):
            assert one.source.startswith("https://")
            assert one != two
