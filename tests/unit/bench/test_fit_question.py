"""What `harness fit` may be asked: the values there are to try, the cases that stand for them, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from harness.bench.fit_question import Over, Question, case_of, model_of, values_of
from harness.bench.synth import RECIPES, make
from harness.core.errors import UsageError
from harness.core.job import CacheState, Engine, PrewarmMode


def question(model: str = "wide", over: Over = Over.COPIES, **more: Any) -> Question:
    return Question(model=model_of(model), over=over, head_room=Fraction(1, 5), **more)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(make(RECIPES["tiny"], tmp_path / "tiny.task").path)


@pytest.mark.parametrize(
    ("asked", "values"),
    [
        (question(), tuple(range(1, 17))),
        (question(smallest=2, largest=9, step=3), (2, 5, 8)),
        (question(smallest=40), (40,)),
        (question(over=Over.CHUNK, smallest=5000, largest=40_000), (8192, 16384, 32768)),
        (question(over=Over.CONTEXT), tuple(range(128, 8193, 128))),
        (question(over=Over.CONTEXT, smallest=16, largest=64, step=16), (16, 32, 48, 64)),
        (question('{ base = "tiny", prefill = [100] }', Over.CONTEXT, largest=512), (128, 256, 384, 512)),
    ],
)
def test_values_to_try(asked: Question, values: tuple[int, ...]) -> None:
    assert values_of(asked) == values


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (question(largest=65), "--max 65: over copies it is from 1 to 64"),
        (question(smallest=0), "--min 0: over copies it is from 1 to 64"),
        (question(smallest=3, largest=2), "--min 3 is above --max 2"),
        (question(over=Over.CHUNK, smallest=4095), "from 4096 to 1073741824"),
        (question(over=Over.CHUNK, step=2), "--step means nothing over chunk"),
        (question(over=Over.CHUNK, smallest=5000, largest=6000), "no value lies between"),
        (question(over=Over.CONTEXT, smallest=8), "--min 8: over context it is from 16 to"),
        (question(over=Over.CONTEXT, largest=1 << 20, step=1), "take a larger --step"),
        (question(over=Over.CONTEXT, engine=Engine.READ), "only brings the file in"),
    ],
)
def test_questions_without_sense_are_refused(asked: Question, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        values_of(asked)


def test_the_context_of_a_file_is_the_files(file: str) -> None:
    with pytest.raises(UsageError, match=r"made for 128 tokens, and on litert_lm max_tokens changes nothing"):
        values_of(question(file, Over.CONTEXT))


def test_on_mediapipe_max_tokens_is_varied_up_to_what_the_file_is_made_for(file: str) -> None:
    asked = question(file, Over.CONTEXT, engine=Engine.MEDIAPIPE, step=32)
    assert values_of(asked) == (32, 64, 96, 128)
    assert case_of(asked, 64).options.max_tokens == 64
    with pytest.raises(UsageError, match=r"--max 256: over context it is from 1 to 128, where .*tiny\.task"):
        values_of(question(file, Over.CONTEXT, engine=Engine.MEDIAPIPE, largest=256))


def test_each_value_is_a_case_of_its_own() -> None:
    copies = case_of(question(cache=CacheState.NONE), 3)
    assert (copies.suite, copies.name) == ("fit-wide-copies", "wide/litert_lm/cpu/none/copies=3")
    assert (copies.options.copies, copies.suite_digest, copies.variant) == (3, None, None)

    chunk = case_of(question(over=Over.CHUNK), 8192)
    assert (chunk.options.prewarm, chunk.options.prewarm_chunk_bytes) == (PrewarmMode.TOUCH, 8192)
    assert chunk.options.copies == 1

    context = case_of(question('{ base = "wide", layers = 4 }', Over.CONTEXT), 512)
    assert context.name == "wide/litert_lm/cpu/cold/context=512"
    assert context.options.max_tokens == 512
    recipe = context.model.recipe
    assert recipe is not None
    assert (recipe.layers, recipe.context, recipe.dim) == (4, 512, RECIPES["wide"].dim)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("no-such", "no model file no-such, and no such recipe; recipes are: tiny"),
        ("{ base = ", "not an inline table"),
        ('{ base = "tiny", colour = 1 }', "colour: Extra inputs"),
        ('{ base = "huge" }', "unknown recipe 'huge'"),
    ],
)
def test_models_that_there_are_not(word: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        model_of(word)
