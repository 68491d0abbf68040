"""The textfile, read back with Prometheus' own parsers: of OpenMetrics, and of the older format."""

from __future__ import annotations

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_older

from harness.report.exports.newest import newest_runs
from harness.report.exports.openmetrics import MAX_LABEL_CHARS, openmetrics_text
from tests.kept_trials import a_trial


def openmetrics(text: str) -> list[Metric]:
    return list(parse_openmetrics(text))  # type: ignore[no-untyped-call]  # typed package, untyped parsers


def older(text: str) -> list[Metric]:
    return list(parse_older(text))


TRIAL = a_trial(load_ns=1_500_000_000, peak_footprint_bytes=2**30, decode_tokens_per_s=12.5, footprint_limit_bytes=7)


def test_both_parsers_read_the_same_and_it_is_what_was_measured() -> None:
    text = openmetrics_text(newest_runs([TRIAL]))
    families = {family.name: family for family in openmetrics(text)}
    assert [(one.name, one.samples) for one in older(text)] == [(one.name, one.samples) for one in families.values()]
    assert {family.type for family in families.values()} == {"gauge"}
    figures = {name.removeprefix("iphone_load_"): family.samples[0].value for name, family in families.items()}
    assert figures == {
        "load_seconds": 1.5,
        "peak_footprint_bytes": 2.0**30,
        "decode_tokens_per_second": 12.5,
        "footprint_limit_bytes": 7.0,
        "trials": 1.0,
        "as_expected": 1.0,
        "newest_trial_timestamp_seconds": 1795363617.259,
        "tested": 1.0,
    }
    (sample,) = families["iphone_load_load_seconds"].samples
    assert sample.labels == {
        "device_kind": "virtual",
        "device_class": "iPhone17,1",
        "suite": "made-up",
        "case": "tiny/cpu",
    }
    assert sample.timestamp is None


def test_a_case_that_died_has_its_end_and_no_figure() -> None:
    text = openmetrics_text(newest_runs([a_trial(outcome="jetsam", load_ns=5, origin="demo, seed 1")]))
    families = {family.name: family.samples for family in openmetrics(text)}
    assert "iphone_load_load_seconds" not in families
    (ended,) = families["iphone_load_trials"]
    assert (ended.labels["outcome"], ended.labels["demo"], ended.value) == ("jetsam", "true", 1.0)
    assert families["iphone_load_as_expected"][0].value == 0.0


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "new\nline", '\\"', "{}#", "# EOF", "é" * 999])
def test_hostile_names_come_back_as_they_are_but_for_their_length_and_lines(name: str) -> None:
    text = openmetrics_text(newest_runs([a_trial(case=name, build=name)]))
    for family in openmetrics(text):
        for sample in family.samples:
            told = sample.labels["case"]
            assert told == name or told.startswith("new line~") or len(told) == MAX_LABEL_CHARS
    assert text.count("\n# EOF\n") == 1


def test_names_that_differ_only_in_what_is_not_written_stay_apart() -> None:
    """The collector refuses a whole file in which a sample is there twice."""
    names = ("a b", "a  b", "a\nb", "a\x01b", "a\x02b")
    text = openmetrics_text(newest_runs([a_trial(f"20261122-{at}", case=name) for at, name in enumerate(names)]))
    for family in openmetrics(text):
        assert len({tuple(sample.labels.items()) for sample in family.samples}) == len(names)


def test_a_time_that_is_none_has_no_sample() -> None:
    text = openmetrics_text(newest_runs([a_trial(started_at="last night")]))
    families = {family.name for family in openmetrics(text)}
    assert "iphone_load_newest_trial_timestamp_seconds" not in families
    assert "iphone_load_trials" in families
