"""The explanation of made-up trials: every outcome has its rule and its advice, and nothing that is absent is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.analysis.advice import Advice
from harness.core.outcome import Evidence, EvidenceKind, Outcome
from harness.core.record import TrialRecord, TrialState, record_columns
from harness.core.telemetry import Cut, HostStep, Notice, Phase, SampleGap
from harness.report.explanation import explain
from harness.report.outcome_words import FAMILIES, NEXT, RULES
from harness.store.schema import RECORD_TYPES

S = 1_000_000_000
_SAMPLES: dict[type, Any] = {str: "text", bool: False, int: 1, float: 1.0, dict: {}, tuple: ()}


def a_record(**changes: Any) -> TrialRecord:
    """Test data: what must have a value has one, every other is None."""
    values = {
        field.name: None if RECORD_TYPES[field.name][1] else _SAMPLES[RECORD_TYPES[field.name][0]]
        for field in record_columns()
    }
    return TrialRecord(**{**values, "state": TrialState.DONE.value, "expected_outcome": "loaded", **changes})


def text_of(record: TrialRecord, files: tuple[str, ...] = ()) -> str:
    return "\n".join(f"{section.title}\n" + "\n".join(section.lines) for section in explain(record, files))


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_its_words(outcome: Outcome) -> None:
    text = text_of(a_record(outcome=outcome.value, reason="because"))
    for words in (RULES[outcome], FAMILIES[outcome.family], *NEXT[outcome], "because"):
        assert words in text


def test_limits_attempts_and_warm_ups_are_told() -> None:
    told = "max_load_s 2 s: measured 3 s"
    assert f"Over the limits of the suite: {told}" in text_of(a_record(outcome="loaded", broken_limits=told))
    assert "limits" not in text_of(a_record(outcome="loaded", broken_limits=""))
    cut = text_of(a_record(outcome="harness_error", cut_short=True, ordinal=3, attempt=2))
    assert "cut short with its run" in cut
    assert "Trial 3 (attempt 2) of case" in cut
    assert "Warm-up 0 of case" in text_of(a_record(outcome="loaded", ordinal=0))


def test_a_trial_that_still_runs() -> None:
    text = text_of(a_record(state=TrialState.RUNNING.value, host_pid=4711))
    assert "It has not ended" in text
    assert "4711" in text


def test_a_salvaged_trial() -> None:
    reason = "the harness process 5 was gone before the trial ended; recovered 7 samples"
    proof = Evidence(EvidenceKind.STEP, reason, decisive=True)
    text = text_of(a_record(outcome="harness_error", reason=reason, evidence=(proof,)))
    assert f"What decided: {reason}" in text


def test_an_unexpected_loaded_is_told() -> None:
    assert "loaded (expected: bad_alloc)" in text_of(a_record(outcome="loaded", expected_outcome="bad_alloc"))


def test_host_app_and_cable_stand_on_one_time_line() -> None:
    record = a_record(
        outcome="lost",
        clock_offset_ns=100 * S,
        clock_round_trip_ns=2_000_000,
        clock_offset_end_ns=100 * S + 3_000_000,
        host_steps=(HostStep("launch", 10 * S, 11 * S), HostStep("run", 11 * S, 20 * S), HostStep("record", 21 * S)),
        phases=(Phase("create_engine", 112 * S, 113 * S), Phase("hold", 114 * S)),
        cuts=(Cut(15 * S, 17 * S), Cut(19 * S)),
        sample_gaps=(SampleGap(115 * S, 2 * S),),
        last_sample_ns=118 * S,
        sample_count=5,
    )
    lines = next(section for section in explain(record) if section.title == "What happened when").lines
    told = [" ".join(line.split()) for line in lines]
    assert [line.split(" s ")[0] for line in told[:-1]] == [
        f"{second}.000" for second in (0, 1, 2, 4, 5, 5, 8, 9, 11)
    ]  # fmt: skip  # one number a line would hide the order
    assert "back after 2.00 s" in told[4]
    assert "no sample for 2.00 s" in told[5]
    assert "did not come back" in told[7]
    assert "NO END WAS HEARD OF" in told[3]
    assert "moved by +3.00 ms" in told[-1]
    assert "within 1.00 ms" in told[-1]


def test_without_the_apps_clock_only_the_host_is_told() -> None:
    record = a_record(outcome="lost", host_steps=(HostStep("launch", S),), phases=(Phase("map", 5),))
    text = text_of(record)
    assert "clock was not measured" in text
    assert "(never ended)" in text
    assert "map" not in text


def test_a_virtual_phone_is_called_one_and_a_real_one_is_not() -> None:
    record = a_record(outcome="loaded", device_kind="virtual", battery_celsius=36.0, cooled_ns=2 * S)
    assert "VIRTUAL" in text_of(record)
    assert "battery 36.0 °C" in text_of(record)
    assert "waited 2.00 s" in text_of(record)
    assert "VIRTUAL" not in text_of(replace(record, device_kind="physical"))


def test_advice_stands_in_place_of_generic_words() -> None:
    record = a_record(outcome="jetsam", reason="because")
    advice = Advice("a-rule", "80 MiB of 90 MiB", "Take a smaller model", "docs/advice.md")
    (section,) = [section for section in explain(record, (), (advice,)) if section.title == "What to try next"]
    assert section.lines == (
        "1. Take a smaller model.",
        "   Because: 80 MiB of 90 MiB.",
        "   Source: docs/advice.md  [a-rule]",
    )


def test_what_the_phone_told_is_on_the_time_line() -> None:
    record = a_record(
        outcome="jetsam",
        clock_offset_ns=100 * S,
        host_steps=(HostStep("run", 10 * S),),
        notices=(Notice("memory_warning", 112 * S), Notice("thermal", 113 * S, "serious")),
    )
    text = text_of(record)
    assert "2.000 s  phone  memory warning\n" in text
    assert "3.000 s  phone  thermal: serious\n" in text


def test_files_are_named_from_the_results_folder() -> None:
    record = a_record(outcome="loaded", artifacts_dir="artifacts/x", telemetry_file="telemetry/x.parquet")
    text = text_of(record, ("journal.ndjson",))
    assert "artifacts/x/journal.ndjson" in text
    assert "telemetry/x.parquet" in text


def test_a_long_text_of_the_phone_is_cut() -> None:
    text = text_of(a_record(outcome="aborted", reason="x" * 10_000))
    assert max(map(len, text.splitlines())) < 500
