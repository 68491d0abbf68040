"""What `harness fit` is asked: which values there are to try, and the case that stands for each. Runs nothing."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from harness.bench.model_files import inspect_model
from harness.bench.plan import FLOORS, Case, cases_of
from harness.bench.single import name_of
from harness.bench.suite import ModelEntry, Suite, Synth
from harness.bench.suite_tables import MAX_COPIES
from harness.bench.synth import RECIPES
from harness.core.errors import UsageError
from harness.core.job import Backend, CacheState, Engine, PrewarmMode

# The grain and the end of what is tried, where nothing else is asked for.
CONTEXT_STEP = 128
CONTEXT_LARGEST = 8192
COPIES_LARGEST = 16
CHUNK_SMALLEST_BYTES = 4096
CHUNK_LARGEST_BYTES = 1 << 30
# What a job takes.
MAX_CONTEXT = 1 << 20
MAX_VALUES = 1 << 16


class Over(StrEnum):
    CONTEXT = "context"
    """Tokens: of a synthetic model its own, made anew for each value; on MediaPipe the size of the token cache."""
    COPIES = "copies"
    """Engines of the same file in one process."""
    CHUNK = "chunk"
    """Bytes that `prewarm = "touch"` reads at a time; powers of two."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked; None: the defaults of what it is asked over."""

    model: ModelEntry
    over: Over
    head_room: Fraction
    """A share of the footprint limit."""
    engine: Engine = Engine.LITERT_LM
    backend: Backend = Backend.CPU
    cache: CacheState = CacheState.COLD
    smallest: int | None = None
    largest: int | None = None
    step: int | None = None
    repeats: int = 3


def model_of(word: str) -> ModelEntry:
    """A recipe's name, a `{ base = "wide", layers = 4 }`, or the path of a model file. Raises UsageError."""
    if word.lstrip().startswith("{"):
        return _described(word)
    if word in RECIPES:
        return ModelEntry(name=word, synth=Synth(base=word))
    path = Path(word)
    if not os.path.isfile(path):  # noqa: PTH113  # Path's own raises for a name that is too long
        raise UsageError(f"there is no model file {word}, and no such recipe; recipes are: {', '.join(RECIPES)}")
    return ModelEntry(name=name_of(path.stem), path=path)


def _described(word: str) -> ModelEntry:
    try:
        synth = Synth.model_validate(tomllib.loads(f"synth = {word}")["synth"])
    except tomllib.TOMLDecodeError as error:
        form = '{ base = "wide", layers = 4 }'
        raise UsageError(f"{word}: not an inline table of TOML, as {form}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(f"{word}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return ModelEntry(name=synth.base, synth=synth)


def values_of(question: Question) -> tuple[int, ...]:
    """What may be tried, ascending. Raises UsageError for a question that makes no sense, or has no value to try."""
    match question.over:
        case Over.CONTEXT:
            smallest, largest = _context_range(question)
            values = range(smallest, largest + 1, question.step or CONTEXT_STEP)
        case Over.COPIES:
            smallest, largest = _within(question, 1, COPIES_LARGEST, range(1, MAX_COPIES + 1))
            values = range(smallest, largest + 1, question.step or 1)
        case Over.CHUNK:
            if question.step is not None:
                raise UsageError("--step means nothing over chunk, whose values are the powers of two")
            allowed = range(CHUNK_SMALLEST_BYTES, CHUNK_LARGEST_BYTES + 1)
            smallest, largest = _within(question, CHUNK_SMALLEST_BYTES, CHUNK_LARGEST_BYTES, allowed)
            return _some(1 << exponent for exponent in range(31) if smallest <= 1 << exponent <= largest)
    if len(values) > MAX_VALUES:
        raise UsageError(f"{len(values)} values of {question.over} are more than {MAX_VALUES}; take a larger --step")
    return _some(values)


def _some(values: Iterable[int]) -> tuple[int, ...]:
    found = tuple(values)
    if not found:
        raise UsageError("no value lies between --min and --max; take them further apart")
    return found


def _within(question: Question, smallest: int, largest: int, allowed: range) -> tuple[int, int]:
    """The ends of the range: those asked for, else the given ones. Raises UsageError for ends that cannot be."""
    low = smallest if question.smallest is None else question.smallest
    high = max(largest, low) if question.largest is None else question.largest
    for flag, value in (("--min", low), ("--max", high)):
        if value not in allowed:
            ends = f"from {allowed[0]} to {allowed[-1]}"
            raise UsageError(f"{flag} {value}: over {question.over} it is {ends}{_where_from(question)}")
    if low > high:
        raise UsageError(f"--min {low} is above --max {high}")
    return low, high


def _where_from(question: Question) -> str:
    if question.over is not Over.CONTEXT or question.model.path is None:
        return ""
    return f", where {question.model.path} was made to end"


def _context_range(question: Question) -> tuple[int, int]:
    step = question.step or CONTEXT_STEP
    if question.engine in FLOORS:
        raise UsageError(
            f"{question.engine} only brings the file in: there is no context in it; take --engine litert_lm"
        )
    if question.model.recipe is not None:
        # a model's context holds its longest prefill signature
        longest = max(question.model.recipe.prefill)
        return _within(question, -(-longest // step) * step, CONTEXT_LARGEST, range(longest, MAX_CONTEXT + 1))
    assert question.model.path is not None, "a model to fit has a recipe or a path"
    made_for = inspect_model(question.model.path).context
    if question.engine is Engine.LITERT_LM:
        made = "its context is fixed in the file" if made_for is None else f"it is made for {made_for} tokens"
        raise UsageError(
            f"{question.model.path}: {made}, and on litert_lm max_tokens changes nothing about what a load takes; "
            "convert the model for several contexts and name the files in a suite, ask for a recipe of its shape "
            "(harness fit wide --over context), or use --engine mediapipe, where max_tokens sizes the token cache"
        )
    allowed = range(1, (made_for or MAX_CONTEXT) + 1)
    return _within(question, min(step, allowed[-1]), min(CONTEXT_LARGEST, allowed[-1]), allowed)


def case_of(question: Question, value: int) -> Case:
    """The case that is tried for a value. Raises UsageError for a model that cannot be made so."""
    model, over = question.model, question.over
    changes: dict[str, object]
    match over:
        case Over.CONTEXT:
            changes = {"max_tokens": value}
            if model.synth is not None:
                model = model.model_copy(update={"synth": with_context(model.synth, value)})
        case Over.COPIES:
            changes = {"copies": value}
        case Over.CHUNK:
            changes = {"prewarm": PrewarmMode.TOUCH, "prewarm_chunk_bytes": value}
    suite = Suite.model_validate(
        {
            "name": name_of(f"fit-{model.name}-{over}"),
            "models": [model],
            "matrix": {"engines": [question.engine], "backends": [question.backend], "caches": [question.cache]},
        }
    )
    (case,) = cases_of(suite)
    # of no suite file, so that no run of one is resumed with it
    return replace(case, options=case.options.changed(changes), axes=((over, str(value)),), suite_digest=None)


def with_context(synth: Synth, tokens: int) -> Synth:
    """The same model made for another context. Raises UsageError when it cannot be."""
    try:
        return Synth.model_validate({**synth.model_dump(exclude_none=True), "context": tokens})
    except ValidationError as error:
        text = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise UsageError(f"a context of {tokens} tokens: {text.removeprefix('Value error, ')}") from error
