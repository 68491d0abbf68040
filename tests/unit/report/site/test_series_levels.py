"""Levels of years of nights: what the verdicts of their time told, and no step twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harness.analysis.decision import DecisionOptions, decide
from harness.analysis.metrics import METRIC_BY_NAME
from harness.report.site.series_levels import Levels, levels_of

LOAD = METRIC_BY_NAME["load_ns"]


def levels(values: list[float]) -> Levels:
    return levels_of(values, [(one, one) for one in values], LOAD, DecisionOptions())


def nights(*pieces: tuple[int, float]) -> list[float]:
    random = np.random.default_rng(5)
    level = np.concatenate([np.full(count, value) for count, value in pieces])
    return [float(one) for one in level * (1 + random.normal(0, 0.005, level.size))]


@pytest.mark.parametrize("steps", [(30, 300), (100, 119, 260), (121, 201, 281), (199, 200 + 80, 340), (359,)])
def test_steps_older_than_a_window_are_told_once(steps: tuple[int, ...]) -> None:
    bounds = [0, *steps, 365]
    pieces = [(end - begin, 500e6 * 1.1 ** (n % 2)) for n, (begin, end) in enumerate(pairwise(bounds))]
    found = levels(nights(*pieces))
    assert [step.index for step in found.steps] == list(steps)
    assert [piece.first for piece in found.pieces] == [0, *steps]
    assert [round(piece.value / 500e6, 1) for piece in found.pieces] == [round(level / 500e6, 1) for _, level in pieces]


def test_the_newest_steps_are_the_verdict_s() -> None:
    values = nights((200, 500e6), (60, 520e6), (20, 505e6))
    last = decide(np.array(values), LOAD, DecisionOptions())
    assert levels(values).steps[-len(last.steps) :] == last.steps
    assert levels(values).detectable_shift == last.detectable_shift


def test_few_nights_have_no_level() -> None:
    assert levels(nights((5, 500e6))) == Levels((), (), None)
    assert levels([]) == Levels((), (), None)
