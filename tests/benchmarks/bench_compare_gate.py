"""What the gate of `harness compare` sees, and how often it alarms for nothing: simulated figures, no phone.

    python tests/benchmarks/bench_compare_gate.py [--tries 1000] [--write docs/compare.md]
    python tests/benchmarks/bench_compare_gate.py --apart

Normal noise; of a comparison's figures one is shifted (or none is) and the others are not. Prints a Markdown table, and
with --write puts it between the document's marks. With --apart the two sides are of two nights, each of which
moves all its trials by half of σ: alarms per 1000 comparisons of one figure without a shift.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from harness.analysis.compare import judge, judge_together
from harness.analysis.metrics import METRIC_BY_NAME
from harness.core.judgement import VerdictKind

BEGIN, END = "<!-- bench_compare_gate: begin -->", "<!-- bench_compare_gate: end -->"
METRIC = METRIC_BY_NAME["load_ns"]
TRIALS, SIGMAS, SHIFTS, FIGURES = (5, 10, 20), (0.01, 0.03, 0.05), (0.0, 0.03, 0.05, 0.10), (1, 4)
HEADINGS = ("Trials a side", "Figures", "σ", "Alarms per 1000 without a shift", "3 % seen", "5 % seen", "10 % seen")


def share_regressed(
    dice: np.random.Generator, tries: int, trials: int, sigma: float, shift: float, count: int
) -> float:
    """Of comparisons: in which the shifted figure (without a shift, any figure) is called regressed."""
    seen = 0
    for _ in range(tries):
        pairs = []
        for number in range(count):
            a, b = dice.normal(1, sigma, trials), dice.normal(1, sigma, trials)
            pairs.append((a, b * (1 + shift) if number == 0 else b, METRIC))
        found = judge_together(pairs)
        seen += any(one.verdict is VerdictKind.REGRESSED for one in (found[:1] if shift else found))
    return seen / tries


def alarms_apart(dice: np.random.Generator, tries: int, trials: int, sigma: float) -> float:
    """Of comparisons without a shift, those that are called regressed since the nights differ."""
    alarms = 0
    for _ in range(tries):
        a, b = (dice.normal(1 + dice.normal(0, sigma / 2), sigma, trials) for _ in range(2))
        alarms += judge(a, b, METRIC).verdict is VerdictKind.REGRESSED
    return alarms / tries


def write(path: Path, table: str) -> None:
    text = path.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    dice = np.random.default_rng(20261123)
    if arguments.apart:
        for trials in TRIALS:
            for sigma in SIGMAS:
                apart = alarms_apart(dice, arguments.tries, trials, sigma)
                print(f"{trials} trials a side, σ {sigma:.0%}: {apart * 1000:.0f} alarms per 1000")
        return 0
    rows = [HEADINGS, ("---",) * len(HEADINGS)]
    for trials in TRIALS:
        for figures in FIGURES:
            for sigma in SIGMAS:
                none, *seen = (
                    share_regressed(dice, arguments.tries, trials, sigma, shift, figures) for shift in SHIFTS
                )
                cells = [str(trials), str(figures), f"{sigma:.0%}", f"{none * 1000:.0f}", *(f"{s:.0%}" for s in seen)]
                rows.append(tuple(cells))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    print(table)
    if arguments.write is not None:
        write(arguments.write, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
