"""The nightly site of a year: how long it takes, how large it is, how much memory; and what one more night costs.

    python -m tests.benchmarks.bench_site [--nights 365] [--only year growth] [--processes 2]

Prints a line a measurement; ends with 1 when one is beyond its goal. Takes two minutes, most of which make the records.

The year is 7 cases on one class of phones, 5 trials a night, 365 nights: 12,775 trials. A case has 7 metrics and the
series of its outcome, so there are 56 series with a page each, of which 50 are asked for. The records are those of
`harness results demo` (steps, deaths, gaps, updates), with telemetry and files for the last night and around changes,
so that there are trial pages and comparisons to draw, too. Each build runs in a process of its own; `in process` is
`build_site` alone after the imports. Memory is that of the process and its children: the sum of their PSS, which counts
shared pages once.

Growth: the same cases, 40 nights of 5, 20 and 80 trials. The pages are as many; what grows is what is read and judged.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.bench.demo.events import FEWEST_NIGHTS, planted
from harness.bench.demo.store import fill
from harness.bench.demo.trials import DemoTrial, History
from harness.bench.demo.world import CASES, NEW, TRIALS
from harness.report.site.pages import ENTRY, SERIES_FOLDER
from harness.store.address import ResultsAddress
from harness.store.database import ResultStore

ROOT = Path(__file__).parents[2]
SEED = 7
CASES_OF_YEAR = CASES[:7]
FEWEST_SERIES = 50
BUILD_GOAL_S = 10.0
NIGHT_GOAL_S = 2.0
ENTRY_GOAL_BYTES = 1_500_000
ENTRY_GZIP_GOAL_BYTES = 250_000
MEMORY_GOAL_BYTES = 500_000_000
GROWTH = (1, 4, 16)
GROWTH_GOAL = 1.5
"""A trial more may cost so many times as much among many as among few."""
GROWTH_NOISE_S = 0.3
LIMIT_S = 300
_EVERY_S = 0.1


@dataclass(frozen=True)
class Built:
    """What a build in a process of its own took."""

    build_s: float
    whole_s: float
    memory_bytes: int
    drawn: int
    kept: int


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=["year", "growth"], choices=["year", "growth"])
    arguments = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors")
    kept = []
    with tempfile.TemporaryDirectory(prefix="bench-site-") as folder:
        if "year" in arguments.only:
            kept.append(year(Path(folder) / "year", arguments.nights, arguments.processes))
        if "growth" in arguments.only:
            kept.append(growth(Path(folder)))
    return 0 if all(kept) else 1


def year(folder: Path, nights: int, processes: int) -> bool:
    """The whole build, the entry's size, and one more night."""
    trials = _trials(nights)
    before, tonight = [one for one in trials if one.ago > 0], [one for one in trials if one.ago == 0]
    target, twin = folder / "report", folder / "twin"
    with ResultStore.open(ResultsAddress(folder)) as store:
        fill(store, before, SEED)
    whole = build(folder, target, processes)
    series = len(list((target / SERIES_FOLDER).glob("*.html")))
    print(f"{len(before)} trials, {nights - 1} nights, {series} series, {whole.drawn} pages")
    entry = (target / ENTRY).read_bytes()
    packed = len(gzip.compress(entry, 9))
    told = [
        series >= FEWEST_SERIES,
        _goal("whole build, in process", whole.build_s, BUILD_GOAL_S, "s"),
        _goal("  memory with children", whole.memory_bytes / 1e6, MEMORY_GOAL_BYTES / 1e6, "MB"),
        _goal("  entry page", len(entry) / 1e3, ENTRY_GOAL_BYTES / 1e3, "kB"),
        _goal("  entry page, gzipped", packed / 1e3, ENTRY_GZIP_GOAL_BYTES / 1e3, "kB"),
    ]
    print(f"  the process as a whole: {whole.whole_s:.2f} s; the site: {_size(target) / 1e6:.1f} MB")
    again = build(folder, target, processes)
    print(f"nothing new, in process: {again.build_s:.2f} s ({again.drawn} drawn, {again.kept} kept)")
    told.append(again.drawn == 0)
    with ResultStore.open(ResultsAddress(folder)) as store:
        fill(store, tonight, SEED)
    shutil.copytree(target, twin)
    night = build(folder, target, processes)
    told.append(_goal("one new night, in process", night.build_s, NIGHT_GOAL_S, "s"))
    print(f"  {night.drawn} pages drawn, {night.kept} kept; memory {night.memory_bytes / 1e6:.0f} MB")
    began = time.perf_counter()
    command = [sys.executable, "-m", "harness.cli", "report", "--results", str(folder), "--target", str(twin)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    print(f"  the command as a whole (harness report): {time.perf_counter() - began:.2f} s, exit {ran.returncode}")
    if ran.returncode:
        print(ran.stderr)
    same = {one.name: one.read_bytes() for one in target.glob("*.html")} == {
        one.name: one.read_bytes() for one in twin.glob("*.html")
    }
    print(f"  both entries are the same bytes: {same}")
    return all([*told, ran.returncode == 0, same])


def growth(folder: Path) -> bool:
    """The same nights and cases with more trials."""
    found: list[tuple[int, float]] = []
    for times in GROWTH:
        results = folder / f"times-{times}"
        # no telemetry: only the number of trials is to differ
        trials = [replace(one, kept=False) for one in _trials(FEWEST_NIGHTS, TRIALS * times) if one.arm is None]
        with ResultStore.open(ResultsAddress(results)) as store:
            fill(store, trials, SEED)
        # alone, so that nothing is read while something else is drawn
        built = build(results, results / "report", processes=1)
        found.append((len(trials), built.build_s))
        print(
            f"growth {times:2d}×: {len(trials)} trials, {built.drawn} pages: {built.build_s:.2f} s, "
            f"{built.memory_bytes / 1e6:.0f} MB"
        )
    (few, few_s), (more, more_s), (many, many_s) = found
    early, late = (more_s - few_s) / (more - few), (many_s - more_s) / (many - more)
    linear = late * (many - more) <= max(early, 0) * (many - more) * GROWTH_GOAL + GROWTH_NOISE_S
    print(
        f"a thousand trials more: {1e3 * early:.3f} s among few, {1e3 * late:.3f} s among many: "
        f"{'linear' if linear else 'MORE THAN LINEAR'}"
    )
    return linear


def build(results: Path, target: Path, processes: int) -> Built:
    """A build in a process of its own, whose memory is looked at all the while."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_site_build", str(results), str(target), str(processes)]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    most = 0
    ended = threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(_EVERY_S):
            most = max(most, sum(map(_pss_bytes, _family(process.pid))))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    finally:
        ended.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"the build ended with {process.returncode}")
    told = json.loads(said)
    return Built(told["build_s"], time.perf_counter() - began, most, told["drawn"], told["kept"])


def _trials(nights: int, of_a_night: int = TRIALS) -> list[DemoTrial]:
    history = History(SEED, nights, planted(SEED, nights), of_a_night)
    return [one for one in history.trials() if one.device is NEW and one.case in CASES_OF_YEAR]


def _family(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _pss_bytes(pid: int) -> int:
    try:
        lines: Iterable[str] = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _goal(what: str, value: float, goal: float, unit: str) -> bool:
    digits = 2 if unit == "s" else 0
    print(f"{what}: {value:.{digits}f} {unit} (goal {goal:g}){'' if value <= goal else '  MISSED'}")
    return value <= goal


if __name__ == "__main__":
    sys.exit(main())
