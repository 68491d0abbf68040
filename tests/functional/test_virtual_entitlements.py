"""What an app may use follows from what its IPA was signed with: one model, one phone, the variants of one runner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bench.conductor import RunResult, run_suite
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite
from harness.core.errors import UsageError
from harness.core.job import Variant
from harness.core.phone import Virtual
from harness.runner.build import build_ipa
from harness.runner.bundle import BUNDLE_ID, EXTENDED_ADDRESSING, INCREASED_LIMIT
from tests.functional.whole_way import Bench

MIB = 1024 * 1024
Run = Callable[..., RunResult]


@pytest.fixture
def run(bench: Bench) -> Run:
    """`run(matrix, virtual, *given, model=…, expect=…, trials=…)`: a suite on a phone; `given` are runner apps."""

    def whole(
        matrix: dict[str, Any],
        virtual: dict[str, str],
        *given: Path,
        model: str = "wide",
        expect: tuple[dict[str, str], ...] = (),
        trials: int = 1,
    ) -> RunResult:
        suite = Suite.model_validate(
            {
                "name": "test",
                "models": [{"name": model, "synth": model}],
                "matrix": matrix,
                "options": {"trials": trials, "max_tokens": 128},
                "expect": expect,
                "virtual": virtual,
            }
        )
        options = RunOptions(runner=tuple(map(str, given))) if given else RunOptions()
        return asyncio.run(run_suite(suite, Virtual(), bench.results, Listener(), options))

    return whole


@pytest.fixture
def apps(tmp_path: Path) -> Callable[[Variant], Path]:
    """`apps(variant)`: the runner's IPA of that variant."""
    return lambda variant: build_ipa(tmp_path / "apps", variant=variant).path


def test_extended_virtual_addressing_makes_room(run: Run) -> None:
    settings = {"allocation_limit": "150MiB", "allocation_limit_extended": "4GiB"}
    result = run(
        {"caches": ["cold"], "variants": ["plain", "extended-addressing"]},
        settings,
        expect=({"outcome": "bad_alloc", "variant": "plain"},),
    )
    plain, extended = result.records
    assert (plain.outcome, extended.outcome) == ("bad_alloc", "loaded"), (plain.reason, extended.reason)
    assert result.unexpected == ()
    assert plain.case == "wide/litert_lm/cpu/cold/variant=plain"
    assert (plain.app_variant, plain.app_bundle_id) == ("plain", BUNDLE_ID)
    assert extended.case == "wide/litert_lm/cpu/cold/variant=extended-addressing"
    assert (extended.app_variant, extended.app_bundle_id) == ("extended-addressing", f"{BUNDLE_ID}.extended-addressing")
    assert EXTENDED_ADDRESSING not in (plain.app_entitlements or {})
    assert (extended.app_entitlements or {})[EXTENDED_ADDRESSING] is True
    assert plain.app_build != extended.app_build


def test_increased_memory_limit_raises_the_footprint_limit(run: Run) -> None:
    settings = {"footprint_limit": "90MiB", "footprint_limit_increased": "400MiB"}
    result = run(
        {"caches": ["none"], "variants": ["increased-limit", "plain"]},
        settings,
        expect=({"outcome": "jetsam", "variant": "plain"},),
    )
    increased, plain = result.records
    assert (plain.outcome, plain.footprint_limit_bytes) == ("jetsam", 90 * MIB), plain.reason
    assert (increased.outcome, increased.footprint_limit_bytes) == ("loaded", 400 * MIB), increased.reason
    assert result.unexpected == ()
    assert (increased.app_entitlements or {})[INCREASED_LIMIT] is True


def test_a_crash_report_is_kept_with_the_trial_of_its_own_app_only(run: Run, bench: Bench) -> None:
    settings = {"footprint_limit": "90MiB", "footprint_limit_increased": "95MiB"}
    records = run({"caches": ["none"], "variants": ["plain", "both"]}, settings, trials=2).records
    assert [record.app_variant for record in records] == ["plain", "both", "plain", "both"]
    kept = [
        sorted(path.name for path in (bench.results / str(record.artifacts_dir)).glob("*.ips")) for record in records
    ]
    assert [record.outcome for record in records] == ["jetsam"] * 4
    assert [len(names) for names in kept] == [1, 1, 1, 1]
    assert len({name for names in kept for name in names}) == 4


def test_a_weight_cache_is_the_apps_own(run: Run) -> None:
    records = run({"caches": ["warm"], "variants": ["plain", "both"]}, {}, model="tiny", trials=2).records
    assert [record.outcome for record in records] == ["loaded"] * 4
    filled = ["cache_fill" in {step.name for step in record.host_steps} for record in records]
    assert filled == [True, True, False, False], "each app fills its own, once"


@pytest.mark.parametrize("variant", [Variant.PLAIN, Variant.BOTH])
def test_a_suite_that_names_no_variant_runs_in_the_only_app_given(
    run: Run, apps: Callable[[Variant], Path], variant: Variant
) -> None:
    (record,) = run({}, {}, apps(variant), model="tiny").records
    assert (record.outcome, record.app_variant) == ("loaded", variant), record.reason
    assert record.case == "tiny/litert_lm/cpu/cold"


def test_of_the_apps_given_each_case_gets_its_variant(run: Run, apps: Callable[[Variant], Path]) -> None:
    given = [apps(variant) for variant in (Variant.BOTH, Variant.INCREASED_LIMIT)]
    records = run({"variants": ["increased-limit", "both"]}, {}, *given, model="tiny").records
    assert [(record.outcome, record.app_variant) for record in records] == [
        ("loaded", "increased-limit"),
        ("loaded", "both"),
    ]


def test_a_variant_that_no_app_given_is_is_refused_before_anything_is_done(
    run: Run, apps: Callable[[Variant], Path], bench: Bench
) -> None:
    with pytest.raises(UsageError, match=r"variant plain .*both .*--variant plain"):
        run({"variants": ["both", "plain"]}, {}, apps(Variant.BOTH), model="tiny")
    assert not bench.results.exists()
    assert not bench.state.exists(), "no phone was started"
