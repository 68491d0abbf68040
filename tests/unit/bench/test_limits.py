"""Limits on figures: what keeps them, what breaks them, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from harness.bench.limits import FIGURES, broken, checked, words
from harness.bench.suite_rules import Limit, Matcher
from tests.unit.bench.made_records import made_record

MIB = 1024 * 1024
S = 1_000_000_000


def limit(**figures: Any) -> Limit:
    return Limit.model_validate(figures)


def test_every_key_of_a_limit_has_its_figure() -> None:
    assert set(FIGURES) == set(Limit.model_fields) - set(Matcher.model_fields)


@pytest.mark.parametrize(
    ("key", "value", "kept", "over", "told"),
    [
        (
            "max_peak_footprint",
            "100 MiB",
            {"peak_footprint_bytes": 100 * MIB},
            {"peak_footprint_bytes": 115 * MIB + MIB * 4 // 5},
            "max_peak_footprint 100 MiB: measured 115.80 MiB",
        ),
        (
            "min_head_room",
            "50 MiB",
            {"footprint_limit_bytes": 150 * MIB, "peak_footprint_bytes": 100 * MIB},
            {"footprint_limit_bytes": 140 * MIB, "peak_footprint_bytes": 100 * MIB},
            "min_head_room 50 MiB: measured 40 MiB",
        ),
        (
            "max_leftover_footprint",
            "1 MiB",
            {"leftover_footprint_bytes": 0},
            {"leftover_footprint_bytes": 2 * MIB},
            "max_leftover_footprint 1 MiB: measured 2 MiB",
        ),
        ("max_load_s", 2, {"load_ns": 2 * S}, {"load_ns": 2 * S + S // 4}, "max_load_s 2 s: measured 2.25 s"),
        ("max_ttft_s", 0.5, {"ttft_ns": S // 2}, {"ttft_ns": S}, "max_ttft_s 0.5 s: measured 1 s"),
        (
            "min_prefill_tokens_per_s",
            10,
            {"prefill_tokens_per_s": 10.0},
            {"prefill_tokens_per_s": 9.5},
            "min_prefill_tokens_per_s 10 tokens/s: measured 9.5 tokens/s",
        ),
        (
            "min_decode_tokens_per_s",
            10,
            {"decode_tokens_per_s": 11.0},
            {"decode_tokens_per_s": 0.0},
            "min_decode_tokens_per_s 10 tokens/s: measured 0 tokens/s",
        ),
    ],
)
def test_a_figure_at_its_limit_keeps_it_and_one_beyond_breaks_it(
    key: str, value: object, kept: dict[str, Any], over: dict[str, Any], told: str
) -> None:
    limits = [limit(**{key: value})]
    assert broken(made_record(**kept), limits) == ""
    assert broken(made_record(**over), limits) == told
    assert broken(made_record(), limits) == told.partition(": ")[0] + ": not measured"


def test_a_difference_that_rounding_hides_is_told_exactly() -> None:
    told = broken(made_record(peak_footprint_bytes=100 * MIB + 1), [limit(max_peak_footprint="100 MiB")])
    assert told == f"max_peak_footprint 100 MiB: measured 100.00 MiB ({100 * MIB + 1})"


def test_all_rules_hold_and_the_same_breach_is_told_once() -> None:
    record = made_record(load_ns=5 * S, ttft_ns=5 * S)
    limits = [limit(max_load_s=2, max_ttft_s=9), limit(max_load_s=2), limit(max_load_s=3)]
    assert broken(record, limits) == "max_load_s 2 s: measured 5 s; max_load_s 3 s: measured 5 s"


@pytest.mark.parametrize(
    ("changes", "is_checked"),
    [
        ({}, True),
        ({"ordinal": 0}, False),
        ({"expected_outcome": "bad_alloc"}, True),
        ({"outcome": "jetsam", "outcome_family": "model"}, False),
        ({"outcome": "bad_alloc", "outcome_family": "model", "expected_outcome": "bad_alloc"}, False),
        ({"outcome": "lost", "outcome_family": "device"}, False),
        ({"outcome": "fell_back", "outcome_family": "measured"}, False),
        ({"outcome": "fell_back", "outcome_family": "measured", "expected_outcome": "fell_back"}, True),
    ],
)
def test_only_trials_that_loaded_and_count_are_checked(changes: dict[str, Any], *, is_checked: bool) -> None:
    record, limits = made_record(load_ns=5 * S, **changes), (limit(max_load_s=2),)
    assert checked(record, limits) == ("max_load_s 2 s: measured 5 s" if is_checked else None)


def test_none_is_no_limit_and_empty_is_all_kept() -> None:
    assert checked(made_record(), ()) is None
    assert checked(made_record(load_ns=S), (limit(max_load_s=2),)) == ""


def test_a_limit_in_words() -> None:
    assert words(limit(max_load_s=2, min_head_room="1 GiB")) == ("min_head_room 1 GiB", "max_load_s 2 s")
