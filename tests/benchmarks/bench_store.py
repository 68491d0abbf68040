"""The store under load: commits at once, kills in mid-write, a hundred thousand trials into pandas, a telemetry file.

    python -m tests.benchmarks.bench_store [--postgresql] [--kills 30] [--trials 100000]
                                           [--only commits kills frame file]

Prints a line a measurement; ends with 1 when one is beyond its goal. With `--postgresql` the first three are measured
on a real server too, which is made for it (initdb) and ended with it. Takes some minutes.

The telemetry file holds 60,000 readings of 12 columns as a sampler gives them at 1 kHz: times that jitter by tens of
microseconds, a footprint that climbs in a load of 20 s and then wanders by single pages (16 KiB), a resident size that
follows it, counters that grow in bursts, CPU time that grows by most of each period. Nothing in it is constant but the
thermal state, which changes twice.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from harness.core.telemetry import Reading, Source
from harness.store.address import parse_results
from harness.store.database import ResultStore
from harness.store.schema import record_to_row, trials
from harness.store.telemetry import read_parquet, write_parquet
from tests.postgresql import PostgresqlServer, running_server
from tests.store_records import Acknowledged, a_filled_record, commit_at_once

PROCESSES = 4
COMMITS = 500
FRAME_GOAL_S = 0.6
FILE_GOAL_BYTES = 600_000
READINGS = 60_000
PAGE_BYTES = 16_384
NAMES = (
    "trial_id", "started_at", "case", "outcome", "device_product_type", "peak_footprint_bytes", "load_ns",
    "decode_tokens_per_s",
)  # fmt: skip  # eight columns, as a verdict reads them
REPEATS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=["commits", "kills", "frame", "file"])
    arguments = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}")
    good = True
    with addresses(postgresql=arguments.postgresql) as known:
        for kind, new_results in known.items():
            if "commits" in arguments.only:
                good &= commits(kind, new_results())
            if "kills" in arguments.only:
                good &= kills(kind, new_results(), arguments.kills)
            if "frame" in arguments.only:
                good &= frame(kind, new_results(), arguments.trials)
    if "file" in arguments.only:
        good &= file_size()
    return 0 if good else 1


class NewResults:
    """Empty results of one kind, as `--results` says it; everything is below one folder."""

    def __init__(self, folder: Path, server: PostgresqlServer | None = None) -> None:
        self._folder = folder
        self._server = server
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        folder = self._folder / str(self._count)
        if self._server is None:
            return str(folder)
        return f"{self._server.new_database()}?files={folder}"


@contextmanager
def addresses(*, postgresql: bool) -> Iterator[dict[str, NewResults]]:
    with tempfile.TemporaryDirectory() as folder:
        known = {"SQLite": NewResults(Path(folder) / "sqlite")}
        if not postgresql:
            yield known
            return
        with running_server() as server:
            yield {**known, "PostgreSQL": NewResults(Path(folder) / "postgresql", server)}


def commits(kind: str, results: str) -> bool:
    began_s = time.monotonic()
    errors = commit_at_once(results, PROCESSES, COMMITS // 2)
    elapsed_s = time.monotonic() - began_s
    with ResultStore.open(parse_results(results)) as store:
        done = len(store.trial_ids(state="done"))
    total = PROCESSES * COMMITS
    print(
        f"{kind}: {PROCESSES} processes × {COMMITS} commits at once: {len(errors)} errors, "
        f"{done} of {total // 2} trials done, {total / elapsed_s:.0f} commits/s with the processes' start",
        flush=True,
    )
    for error in errors:
        print(f"  {error}")
    return not errors and done == total // 2


def kills(kind: str, results: str, count: int) -> bool:
    dice = random.Random(1)
    told = Acknowledged()
    for number in range(count):
        told.write_and_kill(results, f"k{number:02}", dice.randint(1, 200))
    lost = told.lost(results)
    samples = sum(told.samples.values())
    print(
        f"{kind}: {count} × kill -9 in mid-write: {len(lost)} lost of {len(told.rows)} acknowledged rows and {samples} "
        f"acknowledged samples of {len(told.samples)} trials",
        flush=True,
    )
    for line in lost:
        print(f"  {line}")
    return not lost


def frame(kind: str, results: str, count: int) -> bool:
    """Of records that are as long as real ones: their JSON columns are what a reader has to step over."""
    dice = random.Random(1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    address = parse_results(results)
    with ResultStore.open(address) as store:
        for first in range(0, count, 5_000):
            rows = [
                record_to_row(
                    dataclasses.replace(
                        a_filled_record(f"t-{number:07}"),
                        case=f"case-{number % 40}",
                        outcome=None if number % 50 == 0 else "loaded",
                        started_at=(start + timedelta(minutes=number)).isoformat(),
                        peak_footprint_bytes=None if number % 50 == 0 else dice.randrange(2**31),
                        decode_tokens_per_s=dice.uniform(1, 100),
                    )
                )
                for number in range(first, min(first + 5_000, count))
            ]
            with store.writing() as connection:
                connection.execute(trials.insert(), rows)
    # once without the clock: it imports pandas
    with ResultStore.open_existing(address) as store:
        store.columns(NAMES, case="case-1")
        spent_s, some_s, of_cpu_s = [], [], []
        for _ in range(REPEATS):
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            found = store.columns(NAMES)
            spent_s.append(time.perf_counter() - began_s)
            of_cpu_s.append(time.process_time() - began_cpu_s)
            began_s = time.perf_counter()
            since = (start + timedelta(minutes=count * 9 // 10)).isoformat()
            some = store.columns(NAMES, since=since)
            some_s.append(time.perf_counter() - began_s)
        assert len(found) == count
        assert len(some) == count - count * 9 // 10
    size = "" if address.url else f", file {(address.folder / 'runs.db').stat().st_size / count / 1024:.1f} KiB a trial"
    median_s = statistics.median(spent_s)
    print(
        f"{kind}: {count} trials as {len(NAMES)} columns into pandas: median {median_s:.2f} s "
        f"({min(spent_s):.2f} to {max(spent_s):.2f}), {statistics.median(of_cpu_s):.2f} s of CPU; "
        f"the last tenth by date {statistics.median(some_s):.2f} s{size}",
        flush=True,
    )
    return median_s <= FRAME_GOAL_S


def sampled_readings() -> list[Reading]:
    """What the head of this file describes."""
    dice = np.random.default_rng(1)
    times = 10**15 + np.arange(READINGS) * 1_000_000 + dice.normal(0, 30_000, READINGS).astype(int)
    climb = np.minimum(np.arange(READINGS) / 20_000, 1) * 130_000
    pages = (climb + np.cumsum(dice.integers(-1, 2, READINGS) * (dice.random(READINGS) < 0.3))).astype(int) + 1_000
    footprint = pages * PAGE_BYTES
    resident = footprint + dice.integers(0, 64, READINGS).cumsum() % 4096 * PAGE_BYTES
    faults = np.cumsum(dice.poisson(3, READINGS))
    pageins = np.cumsum(dice.poisson(0.2, READINGS) * (dice.random(READINGS) < 0.2))
    cpu_ns = np.cumsum(dice.integers(700_000, 1_000_000, READINGS))
    metal = np.cumsum(dice.random(READINGS) < 0.01) * PAGE_BYTES * 16
    compressed = np.cumsum(dice.integers(-2, 4, READINGS) * (dice.random(READINGS) < 0.05)).clip(0) * PAGE_BYTES
    return [
        Reading(
            Source.APP,
            int(times[n]),
            n + 1,
            footprint_bytes=int(footprint[n]),
            resident_bytes=int(resident[n]),
            virtual_bytes=int(footprint[n]) + 400 * 2**30,
            available_bytes=3 * 2**30 - int(footprint[n]),
            metal_bytes=int(metal[n]),
            compressed_bytes=int(compressed[n]),
            pageins=int(pageins[n]),
            faults=int(faults[n]),
            cpu_ns=int(cpu_ns[n]),
            thermal=int(n > 25_000) + int(n > 50_000),
        )
        for n in range(READINGS)
    ]


def file_size() -> bool:
    readings = sampled_readings()
    columns = sum(getattr(readings[0], field.name) is not None for field in dataclasses.fields(Reading)) - 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        began_s = time.monotonic()
        write_parquet(path, readings)
        written_s = time.monotonic() - began_s
        assert len(read_parquet(path)) == READINGS
        size = path.stat().st_size
    shape = f"{READINGS} readings × {columns} columns of numbers"
    print(f"telemetry: {shape}: {size / 1e6:.2f} MB, written in {written_s:.2f} s")
    return size <= FILE_GOAL_BYTES


if __name__ == "__main__":
    sys.exit(main())
