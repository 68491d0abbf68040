"""Does `harness fit` find the true boundary? Three models, each under a limit that its largest value breaks.

    python tests/benchmarks/bench_fit.py [--repeats 3] [--check 3] [--only NAME] [--write docs/fit.md]

Each search runs on a virtual iPhone with a footprint limit. Then the boundary is checked by trials of their own, so
many a value: the value found must hold in all of them, the next larger one in none. Prints a Markdown table, and with
--write puts it between the document's marks; exits 1 when a boundary is not confirmed, or took more distinct values
than 1 + log2(range).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from harness.analysis.fit import most_values
from harness.bench.conductor import open_conductor
from harness.bench.fit import FitReport, fit
from harness.bench.fit_question import Over, Question, case_of, model_of
from harness.bench.head_room import Prober, percent
from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial
from harness.bench.run_options import RunOptions
from harness.core.job import CacheState
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.core.units import format_bytes

SHARE = Fraction(1, 5)
BEGIN, END = "<!-- bench_fit: begin -->", "<!-- bench_fit: end -->"
HEADINGS = (
    "Model",
    "Over",
    "Limit",
    "Range",
    "Found",
    "Peak",
    "Values tried",
    "Trials",
    "Time",
    "Next larger",
    "Checked",
)


@dataclass(frozen=True)
class Search:
    name: str
    model: str
    over: Over
    limit: str
    cache: CacheState
    largest: int


SEARCHES = (
    Search("wide", "wide", Over.COPIES, "700MiB", CacheState.NONE, 16),
    Search("tiny", "tiny", Over.COPIES, "60MiB", CacheState.WARM, 64),
    Search("deep", '{ base = "wide", layers = 8, kv_heads = 8 }', Over.CONTEXT, "400MiB", CacheState.COLD, 8192),
)


class Talk(Listener):
    """A line a trial, on standard error."""

    def trial_ended(self, planned: PlannedTrial, record: TrialRecord) -> None:
        peak = "–" if record.peak_footprint_bytes is None else format_bytes(record.peak_footprint_bytes)
        print(f"  {planned.name}: {record.outcome}, peak {peak}", file=sys.stderr)


async def check(question: Question, word: Virtual, results: Path, values: list[int], trials: int) -> list[int]:
    """How many of so many fresh trials hold, for each of the values."""
    held = []
    async with open_conductor(word, results, Talk()) as conductor:
        for value in values:
            prober = Prober(conductor, question.head_room, trials)
            probes = [await prober.probe(case_of(question, value)) for _ in range(trials)]
            held.append(sum(probe.holds for probe in probes))
    return held


def cells(search: Search, report: FitReport, held: list[int], trials: int, took_s: float) -> tuple[str, ...]:
    result, values = report.result, report.values
    assert result.best is not None
    assert result.next_larger is not None
    peaks = [record.peak_footprint_bytes or 0 for value, record in report.records if value == result.best.value]
    return (
        f"`{search.model}`, cache {search.cache}",
        search.over,
        search.limit,
        f"{values[0]} to {values[-1]} ({len(values)})",
        f"**{result.best.value}** ({result.best.worked} of {result.best.trials})",
        format_bytes(max(peaks)),
        f"{len(result.tallies)} (at most {most_values(len(values))})",
        str(len(report.records)),
        f"{took_s:.0f} s",
        f"{result.next_larger.value} ({result.next_larger.worked} of {result.next_larger.trials})",
        " and ".join(f"{count} of {trials}" for count in held),
    )


def confirmed(report: FitReport, held: list[int], trials: int) -> bool:
    return held == [trials, 0] and len(report.result.tallies) <= most_values(len(report.values))


def write(document: Path, table: str) -> None:
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{document} has no marks {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", type=int, default=3, help="trials of the value found, and of the next larger one")
    parser.add_argument("--only", choices=[search.name for search in SEARCHES])
    parser.add_argument("--write", type=Path, help="the document with the marks")
    arguments = parser.parse_args()
    rows, all_confirmed = [], True
    with tempfile.TemporaryDirectory() as folder:
        # the phone's home; the models stay in the user's cache
        os.environ["XDG_STATE_HOME"] = folder
        results = Path(folder) / "results"
        for search in SEARCHES:
            if arguments.only not in (None, search.name):
                continue
            question = Question(
                model=model_of(search.model),
                over=search.over,
                head_room=SHARE,
                cache=search.cache,
                largest=search.largest,
                repeats=arguments.repeats,
            )
            word = Virtual(settings={"footprint_limit": search.limit})
            print(f"{search.name} over {search.over}", file=sys.stderr)
            began_s = time.monotonic()
            report = asyncio.run(fit(question, word, results, Talk(), RunOptions()))
            took_s = time.monotonic() - began_s
            if report.result.best is None or report.result.next_larger is None:
                print(f"{search.name}: no boundary within {report.values[0]} to {report.values[-1]}", file=sys.stderr)
                return 1
            sides = [report.result.best.value, report.result.next_larger.value]
            held = asyncio.run(check(question, word, results, sides, arguments.check))
            all_confirmed = all_confirmed and confirmed(report, held, arguments.check)
            rows.append(cells(search, report, held, arguments.check, took_s))
    lines = [f"| {' | '.join(row)} |" for row in (HEADINGS, ("---",) * len(HEADINGS), *rows)]
    title = f"Largest value with {percent(SHARE)} head-room; a virtual iPhone 16 Pro, Python runner."
    table = "\n".join([title, "", *lines])
    print(table)
    if arguments.write is not None:
        write(arguments.write, table)
    return 0 if all_confirmed else 1


if __name__ == "__main__":
    sys.exit(main())
