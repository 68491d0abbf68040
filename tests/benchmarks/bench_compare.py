"""Does `harness compare` see a build that is worse by 5 %, and keep quiet about one that is not?

    python tests/benchmarks/bench_compare.py [--repeats 20] [--worse 3] [--trials 10] [--model tiny] [--share 0.05]

On a virtual iPhone with the Python runner: first the peak of the model; then `--worse` comparisons of a build with one
that carries a ballast of `--share` of that peak; then `--repeats` comparisons without a difference, every other one
between two installs of builds that differ in nothing but their name. Prints a line a comparison and a summary; exits 1
when a worse build was not called regressed, or more than one of the others was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

from harness.analysis.compare_sides import SidesComparison, compare_sides
from harness.analysis.metrics import DEFAULT_METRICS, METRIC_BY_NAME
from harness.bench.compare import Contender, TurnOptions, take_turns
from harness.bench.compare_turns import Arm
from harness.bench.conductor import run_suite
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite
from harness.core.judgement import VerdictKind
from harness.core.phone import Virtual
from harness.report.comparison_table import p_text
from harness.report.verdict_words import shift_text
from harness.runner.build import build_ipa
from harness.store.database import ResultStore

MOST_FALSE = 1
METRICS = tuple(METRIC_BY_NAME[name] for name in DEFAULT_METRICS)


def suite_of(model: str) -> Suite:
    return Suite.model_validate(
        {
            "name": "bench-compare",
            "models": [{"name": model, "synth": model}],
            "matrix": {"caches": ["none"]},
            "options": {"trials": 3, "max_tokens": 128, "decode_tokens": 32, "hold_ms": 50},
        }
    )


def compare(results: Path, suite: Suite, a: Path, b: Path, trials: int) -> SidesComparison:
    taken = asyncio.run(
        take_turns(
            Contender(suite, (str(a),)),
            Contender(suite, (str(b),)),
            Virtual(),
            results,
            Listener(),
            RunOptions(),
            TurnOptions(trials),
        )
    )
    with ResultStore.open(results) as store:
        one, other = (store.frame(run_id=taken.run_id, arm=arm.value) for arm in Arm)
    return compare_sides(one, other, METRICS)


def told(what: str, found: SidesComparison) -> str:
    (case,) = found.cases
    figures = (
        f"{one.metric.name} {shift_text(one.shift)} (worse p {p_text(one.p_worse or 0)}, sees "
        f"{shift_text(one.detectable_shift)}) {one.verdict}"
        for one in case.metrics
    )
    return f"{what}: {found.verdict}; {'; '.join(figures)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--worse", type=int, default=3)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--share", type=float, default=0.05)
    arguments = parser.parse_args()
    suite = suite_of(arguments.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # the phone's home; the models stay in the user's cache
        os.environ["XDG_STATE_HOME"] = name
        results = folder / "results"
        plain = build_ipa(folder / "plain", commit="0" * 40).path
        named = build_ipa(folder / "named", commit="1" * 40).path
        run = asyncio.run(run_suite(suite, Virtual(), results, Listener(), RunOptions(runner=(str(plain),))))
        peaks = [record.peak_footprint_bytes for record in run.records if record.peak_footprint_bytes is not None]
        ballast_bytes = round(statistics.median(peaks) * arguments.share)
        worse = build_ipa(folder / "worse", ballast_bytes=ballast_bytes).path
        print(f"peak {statistics.median(peaks):.0f} bytes, ballast {ballast_bytes} bytes", flush=True)
        seen: Counter[VerdictKind] = Counter()
        for number in range(arguments.worse):
            found = compare(results, suite, plain, worse, arguments.trials)
            seen[found.verdict] += 1
            print(told(f"worse {number + 1}", found), flush=True)
        false: Counter[VerdictKind] = Counter()
        of_metrics: Counter[str] = Counter()
        for number in range(arguments.repeats):
            found = compare(results, suite, plain, named if number % 2 else plain, arguments.trials)
            false[found.verdict] += 1
            of_metrics.update(f"{one.metric.name} {one.verdict}" for case in found.cases for one in case.metrics)
            print(told(f"{'renamed' if number % 2 else 'same'} {number + 1}", found), flush=True)
    print(f"worse by {arguments.share:.0%}: {dict(seen)}")
    print(f"no difference: {dict(false)}; {dict(of_metrics)}")
    return 0 if seen[VerdictKind.REGRESSED] == arguments.worse and false[VerdictKind.REGRESSED] <= MOST_FALSE else 1


if __name__ == "__main__":
    sys.exit(main())
