"""The harness's own time per warm trial, with its breakdown: `python tests/benchmarks/bench_overhead.py [TRIALS]`.

A warm trial: the app is installed, the tiny model is on the phone, the developer tunnel stands. Its own time is from
the trial's begin to its record, less the step `run`, in which the runner works. Prints a table and one JSON line; ends
with 1 when the median is over the limit. Not part of the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from harness.bench.conductor import open_conductor
from harness.bench.listener import Listener
from harness.bench.plan import plan_trials
from harness.bench.suite import Suite
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.core.telemetry import HostStep

DEFAULT_TRIALS = 12
WARM_UP = 2
LIMIT_S = 1.5
NS_PER_MS = 1_000_000
# What the runner does; everything else is ours.
RUN = "run"
LAST = "record"


def a_suite(trials: int) -> Suite:
    """The tiny model, a few tokens, no weight cache."""
    return Suite.model_validate(
        {
            "name": "overhead",
            "models": [{"name": "tiny", "synth": "tiny"}],
            "matrix": {"caches": ["none"]},
            "options": {"trials": trials, "max_tokens": 128, "hold_ms": 0},
        }
    )


async def measure(results: Path, trials: int) -> list[tuple[TrialRecord, tuple[HostStep, ...], int]]:
    """Record, steps and whole time in ns of each warm trial."""
    measured = []
    async with open_conductor(Virtual(), results, Listener()) as conductor:
        for number, planned in enumerate(plan_trials(a_suite(WARM_UP + trials))):
            began_ns = time.monotonic_ns()
            record = await conductor.run_trial(planned)
            whole_ns = time.monotonic_ns() - began_ns
            if record.outcome != "loaded":
                raise SystemExit(f"trial {record.trial_id}: {record.outcome}: {record.reason}")
            if number >= WARM_UP:
                measured.append((record, conductor.last_steps, whole_ns))
    return measured


def print_table(rows: list[tuple[str, list[float]]]) -> None:
    """Name, median and maximum in ms."""
    width = max(len(name) for name, _ in rows)
    print(f"{'step':<{width}}  median ms    max ms")
    for name, values in rows:
        print(f"{name:<{width}}  {statistics.median(values):9.1f} {max(values):9.1f}")


def main(arguments: list[str]) -> int:
    """Measures and prints."""
    trials = int(arguments[0]) if arguments else DEFAULT_TRIALS
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_STATE_HOME"] = str(Path(scratch) / "state")
        measured = asyncio.run(measure(Path(scratch) / "results", trials))
    by_step: dict[str, list[float]] = defaultdict(list)
    own: list[float] = []
    whole: list[float] = []
    between: list[float] = []
    for _, steps, whole_ns in measured:
        spent_ns = 0
        for step in steps:
            duration_ns = step.duration_ns or 0
            by_step[step.name].append(duration_ns / NS_PER_MS)
            spent_ns += duration_ns
        run_ns = sum(step.duration_ns or 0 for step in steps if step.name == RUN)
        own.append((whole_ns - run_ns) / NS_PER_MS)
        whole.append(whole_ns / NS_PER_MS)
        between.append((whole_ns - spent_ns) / NS_PER_MS)
    print_table([*by_step.items(), ("(between steps)", between), ("own time", own), ("whole trial", whole)])
    median_s = statistics.median(own) / 1000
    verdict = {"trials": len(own), "own_median_s": round(median_s, 3), "own_max_s": round(max(own) / 1000, 3)}
    verdict |= {"limit_s": LIMIT_S, "whole_median_s": round(statistics.median(whole) / 1000, 3)}
    print(json.dumps({**verdict, "load_average": round(os.getloadavg()[0], 2)}))
    return 0 if median_s <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
