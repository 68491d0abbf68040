"""A trial without a suite file: what a hand-written test asks for, checked by the same rules."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.bench.plan import PlannedTrial, plan_trials
from harness.bench.suite import ModelEntry, Suite, SuiteError, Synth
from harness.bench.synth import RECIPES

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def single_trial(
    name: str,
    model: str | Path,
    *,
    engine: str = "litert_lm",
    backend: str = "cpu",
    cache: str = "cold",
    expect: str = "loaded",
    **options: Any,
) -> PlannedTrial:
    """The one trial of a suite of one model. Raises SuiteError naming the wrong argument."""
    recipe = str(model) in RECIPES
    try:
        entry = ModelEntry(
            name=name_of(str(model) if recipe else Path(model).stem),
            synth=Synth(base=str(model)) if recipe else None,
            path=None if recipe else Path(model),
        )
        suite = Suite.model_validate(
            {
                "name": name_of(name),
                "models": [entry],
                "matrix": {"engines": [engine], "backends": [backend], "caches": [cache]},
                "options": {**options, "trials": 1, "warmup_trials": 0},
                "expect": [{"outcome": expect}],
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SuiteError(f"load({model!r}): {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    (planned,) = plan_trials(suite)
    # the suite is made up here, and has no file that a run could be resumed with
    return replace(planned, case=replace(planned.case, suite_digest=None))


def name_of(text: str) -> str:
    """A suite's or a model's name made of any text."""
    return (_NOT_IN_NAMES.sub("-", text).strip("-.") or "unnamed")[:64]
