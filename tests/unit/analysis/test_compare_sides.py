"""Two sides of trials: what may be compared, what must not be, and what is said of it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from harness.analysis.compare_sides import About, SidesComparison, compare_sides
from harness.analysis.metrics import DEFAULT_METRICS, METRIC_BY_NAME
from harness.bench.compare_words import frame_of
from harness.core.judgement import VerdictKind
from tests.unit.bench.made_records import made_record

METRICS = tuple(METRIC_BY_NAME[name] for name in DEFAULT_METRICS)
PLAIN = {
    "device_kind": "virtual",
    "device_product_type": "iPhone17,1",
    "device_os_version": "18.5",
    "case": "tiny",
    "cut_short": False,
    "attempt": 1,
}


def side(run: str, peak: int = 1000, count: int = 10, **changes: Any) -> pd.DataFrame:
    """Trials whose peaks scatter a little around one figure."""
    values = {**PLAIN, "run_id": run, "peak_footprint_bytes": peak, **changes}
    peaks = [
        values["peak_footprint_bytes"] + number % 3 if values["peak_footprint_bytes"] else None
        for number in range(count)
    ]
    return frame_of(
        [
            made_record(**{**values, "trial_id": f"{run}-{number}", "ordinal": number + 1, "peak_footprint_bytes": at})
            for number, at in enumerate(peaks)
        ]
    )


def compared(a: pd.DataFrame, b: pd.DataFrame, **options: Any) -> SidesComparison:
    return compare_sides(a, b, METRICS, **options)


def test_a_larger_peak_is_a_regression() -> None:
    found = compared(side("a"), side("b", 1100))
    (case,) = found.cases
    assert found.verdict is VerdictKind.REGRESSED
    assert case.metrics[0].shift == pytest.approx(0.1, abs=0.01)
    # what nobody measured is missing, and spoils nothing
    assert {one.verdict for one in case.metrics[1:]} == {VerdictKind.MISSING}


def test_a_smaller_one_is_an_improvement_and_an_equal_one_the_same() -> None:
    assert compared(side("a", 1100), side("b")).verdict is VerdictKind.IMPROVED
    assert compared(side("a"), side("b")).verdict is VerdictKind.SAME


def test_a_death_outweighs_every_figure() -> None:
    found = compared(side("a", 1100), side("b", outcome="bad_alloc", outcome_family="model"))
    assert found.verdict is VerdictKind.REGRESSED
    assert found.cases[0].outcomes is not None
    assert "bad_alloc" in found.cases[0].outcomes.words


def test_two_sides_that_die_alike_are_the_same() -> None:
    dead: dict[str, Any] = {"outcome": "jetsam", "outcome_family": "model"}
    assert compared(side("a", **dead), side("b", **dead)).verdict is VerdictKind.SAME


@pytest.mark.parametrize(
    ("changes", "about", "told"),
    [
        ({"engine_version": "0.19.0"}, About.ENGINE, "engine version"),
        ({"model_sha256": "f" * 64}, About.MODEL, "model file"),
        ({"device_os_version": "26.1"}, About.IOS, "iOS"),
        ({"device_settings": "footprint_limit=90MiB"}, About.SETTINGS, "settings"),
        ({"app_variant": "both"}, About.VARIANT, "app variant"),
        ({"max_tokens": 512}, About.OPTIONS, "max_tokens"),
        ({"guard_reserve_bytes": 512}, About.OPTIONS, "guard_reserve_bytes"),
    ],
)
def test_a_difference_must_be_what_is_compared(changes: dict[str, Any], about: About, told: str) -> None:
    known: dict[str, Any] = {"engine_version": "0.18.1"}
    a, b = side("a", **known), side("b", **{**known, **changes})
    found = compared(a, b)
    assert found.verdict is VerdictKind.INCOMPARABLE
    (problem,) = found.cases[0].problems
    assert told in problem
    assert f"--about {about}" in problem
    allowed = compared(a, b, about=[about])
    assert allowed.verdict is VerdictKind.SAME
    assert any(told in note and "compared" in note for note in allowed.cases[0].notes)


def test_physical_and_virtual_never_meet() -> None:
    changes: list[dict[str, Any]] = [{"device_kind": "physical"}, {"device_product_type": "iPhone14,5"}]
    for change in changes:
        found = compared(side("a"), side("b", **change), about=list(About))
        assert found.verdict is VerdictKind.INCOMPARABLE
        assert "never compared" in found.cases[0].problems[0]


def test_a_side_that_mixes_engines_is_none() -> None:
    mixed = pd.concat([side("a", engine_version="1"), side("c", engine_version="2")], ignore_index=True)
    found = compared(mixed, side("b", engine_version="1"))
    assert found.verdict is VerdictKind.INCOMPARABLE
    assert "A mixed" in found.cases[0].problems[0]


def test_what_a_dead_app_could_not_say_is_no_difference() -> None:
    found = compared(side("a", engine_version="1"), side("b", outcome="crashed", engine_version=None))
    assert found.verdict is VerdictKind.REGRESSED


def test_another_minor_ios_or_host_is_told() -> None:
    found = compared(side("a", host_name="one"), side("b", host_name="two", device_os_version="18.6"))
    assert found.verdict is VerdictKind.SAME
    assert {"host: one → two", "iOS: 18.5 → 18.6"} <= set(found.cases[0].notes)


def test_warm_ups_and_running_trials_do_not_count() -> None:
    b = pd.concat(
        [side("b"), side("b", 9000, ordinal=0).assign(ordinal=0), side("c", 9000, state="running")], ignore_index=True
    )
    assert compared(side("a"), b).verdict is VerdictKind.SAME


def test_a_case_that_is_gone_is_missed_and_a_new_one_is_not() -> None:
    two = pd.concat([side("a"), side("a", case="wide")], ignore_index=True)
    gone, new = compared(two, side("b")), compared(side("b"), two)
    assert (gone.verdict, gone.only_a) == (VerdictKind.MISSING, ("wide",))
    assert (new.verdict, new.only_b) == (VerdictKind.SAME, ("wide",))


def test_single_cases_of_other_names_are_matched_on_request() -> None:
    a, b = side("a"), side("b", 1100, case="small")
    assert compared(a, b).cases == ()
    assert compared(a, b).verdict is VerdictKind.MISSING
    found = compared(a, b, match_single=True)
    assert (found.verdict, found.cases[0].case) == (VerdictKind.REGRESSED, "tiny → small")


def test_only_arms_of_one_run_took_turns() -> None:
    assert compared(side("r", arm="a"), side("r", arm="b")).interleaved
    assert not compared(side("r", arm="a"), side("s", arm="b")).interleaved
    assert not compared(side("r"), side("r")).interleaved


def test_few_trials_are_no_comparison_here_either() -> None:
    assert compared(side("a"), side("b", count=4)).verdict is VerdictKind.INCOMPARABLE


def test_sides_without_trials_are_no_comparison() -> None:
    assert compared(side("a", count=0), side("b", count=0)).verdict is VerdictKind.INCOMPARABLE
