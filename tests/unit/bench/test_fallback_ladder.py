"""The ladder of `harness fallback`: as the suite writes it, or as its matrix and models offer it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harness.bench.fallback import ladder_of
from harness.bench.suite import Suite
from harness.core.errors import UsageError
from harness.core.job import Backend, Variant

MODELS = [{"name": "big", "synth": "wide"}, {"name": "small", "synth": "tiny"}, {"name": "file", "path": "f.task"}]


def suite(**more: Any) -> Suite:
    return Suite.model_validate({"name": "s", "models": MODELS, **more})


def names(of: Suite) -> list[str]:
    return [rung.case.name for rung in ladder_of(of)]


def test_without_steps_the_ladder_is_made_of_what_the_suite_offers() -> None:
    matrix = {"backends": ["cpu", "gpu"], "max_tokens": [512, 128, 1024, 256], "variants": ["plain", "both"]}
    rungs = ladder_of(suite(models=MODELS[:2], matrix=matrix))
    assert [rung.what for rung in rungs] == [
        "backend gpu",
        "backend cpu",
        "backend cpu, max_tokens 256",
        "backend cpu, max_tokens 128",
        "backend cpu, max_tokens 128, model small",
        "backend cpu, max_tokens 128, model small, variant both",
    ]
    last = rungs[-1].case
    assert (last.model.name, last.backend, last.options.max_tokens) == ("small", Backend.CPU, 128)
    assert last.variant is Variant.BOTH
    assert rungs[0].case.variant is Variant.PLAIN


def test_a_suite_with_nothing_to_give_up_has_a_ladder_of_one() -> None:
    assert names(suite(models=MODELS[:1])) == ["big/litert_lm/cpu/cold"]


def test_written_steps_change_the_first_case_each_for_itself() -> None:
    written = suite(
        matrix={"backends": ["gpu"], "loads": ["touched", "guarded"]},
        loads={"touched": {"prewarm": "touch"}, "guarded": {"guard_reserve_bytes": 1}},
        fallback=[
            {"backend": "cpu"},
            {"backend": "cpu", "context": 512},
            {"model": "small", "cache": "warm"},
            {"load": "guarded", "variant": "extended-addressing", "max_tokens": 64},
        ],
    )
    assert names(written) == [
        "big/litert_lm/gpu/cold/load=touched",
        "big/litert_lm/cpu/cold/load=touched",
        "big/litert_lm/cpu/cold/load=touched/context=512",
        "small/litert_lm/gpu/warm/load=touched",
        "big/litert_lm/gpu/cold/variant=extended-addressing/tokens=64/load=guarded",
    ]
    rungs = ladder_of(written)
    assert rungs[0].what == "as asked"
    context = rungs[2].case
    assert (context.model.recipe is not None, context.options.max_tokens) == (True, 512)
    assert context.model.recipe is not None
    assert context.model.recipe.context == 512
    assert rungs[4].case.options.guard_reserve_bytes == 1


def test_a_step_that_changes_nothing_anew_is_tried_once() -> None:
    assert names(suite(fallback=[{"backend": "cpu"}, {"backend": "gpu"}, {"backend": "gpu"}])) == [
        "big/litert_lm/cpu/cold",
        "big/litert_lm/gpu/cold",
    ]


def test_a_ladder_is_no_run_of_its_suite() -> None:
    plain = suite()
    assert plain.digest == suite(fallback=[{"backend": "gpu"}]).digest
    for rung in ladder_of(plain):
        assert (rung.case.suite, rung.case.suite_digest) == ("fallback-s", None)


def test_a_file_has_the_context_that_it_has() -> None:
    with pytest.raises(UsageError, match=r"fallback\[0\]: file is a file, whose context was fixed"):
        ladder_of(suite(fallback=[{"model": "file", "context": 512}]))
    (_, rung) = ladder_of(suite(fallback=[{"model": "file", "context": 512, "engine": "mediapipe"}]))
    assert rung.case.options.max_tokens == 512


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({}, "changes something"),
        ({"context": 1, "max_tokens": 1}, "not both"),
        ({"model": "huge"}, r"fallback\[0\]: model 'huge', but the suite has big, small, file"),
        ({"load": "huge"}, r"fallback\[0\]: load 'huge', but the suite has none"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_steps_that_cannot_be_are_refused(step: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        suite(fallback=[step])
