"""Confirmation re-runs, simulated: last good against first bad build, interleaved on one night."""

from __future__ import annotations

import numpy as np

from harness.analysis.compare import judge
from harness.analysis.metrics import METRIC_BY_NAME
from harness.core.judgement import VerdictKind
from tests.benchmarks.verdicts.noise import Scenario, runs_of_a_night

TRIALS = 10
"""A side."""
_SEED = 31


def confirmed_share(scenario: Scenario, shift: float, count: int) -> float:
    """Share of `count` comparisons that say regressed, when the second build is really slower by `shift`."""
    random = np.random.default_rng([_SEED, scenario.seed])
    metric = METRIC_BY_NAME["load_ns"]
    said = [judge(*runs_of_a_night(scenario, shift, TRIALS, random), metric).verdict for _ in range(count)]
    return said.count(VerdictKind.REGRESSED) / count
