"""The matrix's `variants`: an axis of the cases when it is written, and nothing of them when it is not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harness.bench.plan import cases_of
from harness.bench.suite import Suite


def suite(matrix: dict[str, Any], **more: Any) -> Suite:
    return Suite.model_validate(
        {"name": "t", "models": [{"name": "tiny", "synth": "tiny"}], "matrix": matrix, **more},
    )


def test_a_suite_that_names_none_asks_for_none() -> None:
    (case,) = cases_of(suite({}))
    assert (case.variant, case.name) == (None, "tiny/litert_lm/cpu/cold")


def test_plain_is_asked_for_only_where_it_is_written() -> None:
    (case,) = cases_of(suite({"variants": ["plain"]}))
    assert (case.variant, case.name) == ("plain", "tiny/litert_lm/cpu/cold/variant=plain")
    assert suite({"variants": ["plain"]}).digest != suite({}).digest


def test_each_variant_is_a_case_and_rules_tell_them_apart() -> None:
    rules = [{"outcome": "bad_alloc", "variant": "plain"}]
    cases = cases_of(suite({"variants": ["plain", "both"]}, expect=rules))
    assert [(case.variant, case.expected) for case in cases] == [("plain", "bad_alloc"), ("both", "loaded")]


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        ({"variants": ["huge"]}, "extended-addressing"),
        ({"variants": ["both", "both"]}, "variants: given twice: both"),
    ],
)
def test_other_variants_are_refused(matrix: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        suite(matrix)


@pytest.mark.parametrize("variants", [[], ["both"]])
def test_a_rule_for_a_variant_that_no_case_asks_for_is_refused(variants: list[str]) -> None:
    with pytest.raises(ValidationError, match="variant 'plain', but the suite has"):
        suite({"variants": variants}, expect=[{"outcome": "bad_alloc", "variant": "plain"}])
