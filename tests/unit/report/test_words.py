"""Figures and metrics as people read them."""

from __future__ import annotations

import pytest

from harness.analysis.metrics import METRIC_BY_NAME
from harness.analysis.series import OUTCOME
from harness.core.record import is_demo
from harness.report.metric_words import METRIC_WORDS, metric_heading, metric_text
from harness.report.words import MISSING, duration_text


def test_every_series_has_words_of_its_own() -> None:
    assert set(METRIC_WORDS) == {OUTCOME, *METRIC_BY_NAME}
    for names in ([one.short for one in METRIC_WORDS.values()], [one.long for one in METRIC_WORDS.values()]):
        assert len(set(names)) == len(METRIC_WORDS)
    assert metric_heading("load_ns") == "Load time"
    assert metric_text("of a newer harness") == "of a newer harness"


@pytest.mark.parametrize(
    ("ns", "text"),
    [(None, MISSING), (0, "0 ms"), (12_340_000, "12.3 ms"), (999_400_000, "999 ms"), (999_600_000, "1.00 s")],
)
def test_a_duration_has_a_unit_in_which_it_is_short(ns: int | None, text: str) -> None:
    assert duration_text(ns) == text


def test_a_record_of_unknown_origin_is_no_demo() -> None:
    assert is_demo("demo, seed 7")
    assert not is_demo(None)
    assert not is_demo("imported from demo")
