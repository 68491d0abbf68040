"""What the runner app itself costs, for both editions, beside the goals.

Not part of the tests. Run it from the project's folder:

    python -m tests.benchmarks.bench_runner [--edition swift] [--seconds 10] [--rounds 12] [--flood-mib 1024]

Ends with 1 when the Swift runner misses a goal. The sampler's figures are those of an app that holds a loaded file
while a host reads everything it sends. `empty_…` is what a loop costs that only wakes at 1 kHz, and how late it is: a
virtual machine's timers alone may take more than the goal. The language knows no
0 Hz: the base of the comparison of load times is 1 Hz. The goal for the sampler is therefore on `sampler_own_percent`,
what it costs beyond the empty loop of the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.bench.synth import RECIPES, make
from harness.runner.app.events import EventLog
from harness.runner.app.journal import Journal
from harness.runner.build import build_ipa
from harness.runner.build_swift import build_swift_ipa
from harness.runner.bundle import BuiltRunner
from harness.runner.package import swift_cache
from harness.runner.swift import PACKAGE_DIR
from tests.functional.runner_process import Event, Host, RunnerProcess, launched, unpack

MIB = 1024 * 1024
NS_PER_S = 1_000_000_000
RESIDENT, CPU = 1, 8
GOALS = {
    "sampler_own_percent": 3.0,
    "late_p99_us": 1000.0,
    "encode_us": 1.0,
    "idle_mib": 3.0,
    "peak_error_percent": 1.0,
}
JOB = {"model": "tiny.task", "engine": "mmap", "backend": "cpu", "cache": "none"}
WIDE = {"model": "wide.task", "engine": "litert_lm", "backend": "cpu", "cache": "none"}
RATES_HZ = (1, 100, 1000)
ENCODED_EVENTS = 50_000
BUILD_LIMIT_S = 1800

Launch = Callable[[], Any]


def main() -> int:
    """Measures and prints; 1 when the Swift runner misses a goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--edition", choices=("swift", "python", "both"), default="both")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--flood-mib", type=int, default=1024)
    options = parser.parse_args()
    editions = ("swift", "python") if options.edition == "both" else (options.edition,)
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for edition in editions:
            figures = measure(edition, Path(folder) / edition, options)
            missed += show(edition, figures)
    return 1 if missed else 0


def measure(edition: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """All figures of one edition, in the units of their names."""
    built: BuiltRunner = build_ipa(folder) if edition == "python" else build_swift_ipa(folder, swift_cache())
    executable = unpack(built.path, folder / "app")
    home = folder / "home"
    documents = home / "Documents"
    documents.mkdir(parents=True)
    for recipe in ("tiny", "wide"):
        make(RECIPES[recipe], documents / f"{recipe}.task")

    @contextmanager
    def app() -> Iterator[tuple[RunnerProcess, Host]]:
        with launched(executable, home) as process, process.connect() as host:
            host.ask("hello", "hello", v=1, host_t=1)
            yield process, host

    figures = encoding(edition, folder)
    figures |= idle(app, options.seconds)
    figures |= sampler(app, options.seconds)
    if "empty_loop_percent" in figures:
        figures["sampler_own_percent"] = figures["sampler_percent"] - figures["empty_loop_percent"]
    figures |= peaks(app)
    figures |= load_times(app, options.rounds)
    figures |= flood(app, options.flood_mib)
    return figures


_trials = iter(range(1_000_000))


def run(host: Host, job: Event) -> Event:
    """A trial to its result; a name is used once on a phone."""
    result = host.load(f"bench-{os.getpid()}-{next(_trials)}", job)
    if result["ev"] != "result":
        raise SystemExit(f"the trial failed: {result}")
    return result


def idle(app: Launch, seconds: float) -> dict[str, float]:
    """The app that waits: what is its own, and its CPU."""
    with app() as (process, host):
        begun_ns, wall_s = cpu_ns(process), time.monotonic()
        end = wall_s + seconds
        while time.monotonic() < end:
            host.until("heartbeat")
        percent = 100 * (cpu_ns(process) - begun_ns) / NS_PER_S / (time.monotonic() - wall_s)
        return {"idle_mib": own_bytes(process) / MIB, "idle_percent": percent}


def sampler(app: Launch, seconds: float) -> dict[str, float]:
    """The sampler at 1 kHz with all that follows from it: encoding, journal, sending."""
    with app() as (_, host):
        result = run(host, {**JOB, "sample_hz": 1000, "hold_ms": int(seconds * 1000)})
        held = [event for event in host.seen if event["ev"] == "sample"][100:-300]
        spent_ns = held[-1]["d"][CPU] - held[0]["d"][CPU]
        stats = result["sampler"]
        return {
            "sampler_percent": 100 * spent_ns / (held[-1]["t"] - held[0]["t"]),
            "late_p50_us": stats["late_p50_ns"] / 1000,
            "late_p99_us": stats["late_p99_ns"] / 1000,
            "missed_percent": 100 * stats["missed"] / (stats["missed"] + stats["samples"]),
        }


def peaks(app: Launch) -> dict[str, float]:
    """How far the sampled peak stays below the kernel's own."""
    with app() as (_, host):
        result = run(host, {**WIDE, "sample_hz": 1000, "hold_ms": 100})
        sampled = max(event["d"][RESIDENT] for event in host.seen if event["ev"] == "sample")
        return {"peak_error_percent": 100 * abs(1 - sampled / result["kernel_peak_resident"])}


def load_times(app: Launch, rounds: int) -> dict[str, float]:
    """Load time of `wide` at each rate over that at 1 Hz, interleaved; noise: half the range of the middle half."""
    times: dict[int, list[float]] = {hz: [] for hz in RATES_HZ}
    for _ in range(rounds):
        for hz in RATES_HZ:
            with app() as (_, host):
                times[hz].append(run(host, {**WIDE, "sample_hz": hz})["load_ns"])
    base = statistics.median(times[RATES_HZ[0]])
    figures = {"load_ms": base / 1e6}
    for hz in RATES_HZ:
        lower, middle, upper = statistics.quantiles([value / base for value in times[hz]], n=4)
        figures[f"load_ratio_{hz}_hz"] = middle
        figures[f"load_ratio_{hz}_hz_noise"] = (upper - lower) / 2
    return figures


def flood(app: Launch, mib: int) -> dict[str, float]:
    """A line without an end: how much the app grows."""
    if not mib:
        return {}
    with app() as (process, host):
        before = own_bytes(process)
        begun_s = time.monotonic()
        for _ in range(mib):
            host.send_raw_bytes(b"x" * MIB)
        host.send_raw(b"")
        host.until("error")
        host.ask("ping", "pong", host_t=1)
        spent_s = time.monotonic() - begun_s
        return {"flood_growth_mib": (own_bytes(process) - before) / MIB, "flood_mib_per_s": mib / spent_s}


def encoding(edition: str, folder: Path) -> dict[str, float]:
    """One sample from values to bytes (Python: with its hand-over to the journal)."""
    if edition == "swift":
        build = ["swift", "build", "-c", "release", "--product", "RunnerBench", "--package-path", str(PACKAGE_DIR)]
        subprocess.run(build, check=True, capture_output=True, timeout=BUILD_LIMIT_S)
        bench = PACKAGE_DIR / ".build" / "release" / "RunnerBench"
        told = json.loads(subprocess.run([bench], check=True, capture_output=True, timeout=300).stdout)
        floors = {name: told[name] for name in ("empty_loop_percent", "empty_late_p99_us")}
        return {"encode_us": told["sample_ns"] / 1000, **floors}
    log = EventLog(Journal(folder / "journal"))
    values = (459771904, 1706033152, 412316860416, 3080105984, None, None, 7733, 181220, 6123004511, 1)
    begun_ns = time.perf_counter_ns()
    for number in range(ENCODED_EVENTS):
        log.sample(number, values, 1)  # as if each were due right after the last, so that many share a write
    return {"encode_us": (time.perf_counter_ns() - begun_ns) / ENCODED_EVENTS / 1000}


def cpu_ns(app: RunnerProcess) -> float:
    """User + system time of the app."""
    fields = Path(f"/proc/{app.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * NS_PER_S


def own_bytes(app: RunnerProcess) -> int:
    """Anonymous memory of the app."""
    status = Path(f"/proc/{app.process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def show(edition: str, figures: dict[str, float]) -> int:
    """Prints the figures; how many goals the edition misses (only the Swift runner has any)."""
    missed = 0
    sys.stdout.write(f"{edition}\n")
    for name, value in figures.items():
        goal = GOALS.get(name)
        word = ""
        if goal is not None:
            word = f"  (goal: at most {goal:g})"
            if edition == "swift" and value > goal:
                word += "  MISSED"
                missed += 1
        sys.stdout.write(f"  {name:<26} {value:10.3f}{word}\n")
    return missed


if __name__ == "__main__":
    sys.exit(main())
