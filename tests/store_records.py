"""Records to put into a store, and processes that write them: for the tests of the store and its benchmark.

python -m tests.store_records commit RESULTS NAME COUNT      begins and finishes COUNT trials
python -m tests.store_records acknowledge RESULTS NAME       writes until it is killed, and tells what was kept
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from harness.core.outcome import Evidence, EvidenceKind
from harness.core.record import TrialRecord
from harness.core.telemetry import HostStep, Phase, Reading, Source
from harness.store.address import parse_results
from harness.store.database import ResultStore
from harness.store.salvage import salvage
from harness.store.schema import RECORD_TYPES
from harness.store.telemetry import read_parquet

ROOT = Path(__file__).parents[1]
PROCESS_LIMIT_S = 300
BATCH = 10
"""Readings of a batch."""
ROW, SAMPLES = "row", "samples"

VALUES: dict[type, Any] = {str: "text", bool: True, int: 2**60 + 1, float: 0.1, dict: {"key": [1]}, tuple: ()}


def a_record(trial_id: str, **changes: Any) -> TrialRecord:
    """Every column that must have a value has one, every other is None."""
    values = {name: None if optional else VALUES[plain] for name, (plain, optional) in RECORD_TYPES.items()}
    return TrialRecord(**{**values, "trial_id": trial_id, "state": "running", **changes})


def a_filled_record(trial_id: str, **changes: Any) -> TrialRecord:
    """About as much as a real trial leaves: every column, a few phases, a dozen steps, some evidence."""
    values = {name: VALUES[plain] for name, (plain, _) in RECORD_TYPES.items()}
    spans: dict[str, Any] = {
        "evidence": tuple(Evidence(EvidenceKind.STEP, f"what was seen, in about so many words: {n}") for n in range(4)),
        "phases": tuple(Phase(f"phase_{number}", number * 10**9, (number + 1) * 10**9) for number in range(8)),
        "host_steps": tuple(HostStep(f"step_{n}", n * 10**9, n * 10**9 + 5, n * 10**9, n) for n in range(16)),
    }
    return TrialRecord(**{**values, **spans, "trial_id": trial_id, "state": "running", **changes})


def batches() -> Iterator[list[Reading]]:
    """Without end; the times go on from batch to batch."""
    for number in count():
        yield [
            Reading(Source.APP, t_ns, t_ns + 1, footprint_bytes=0)
            for t_ns in range(BATCH * number, BATCH * (number + 1))
        ]


def commit(results: str, name: str, trials: int) -> None:
    """Begins and finishes trials, one after the other: two commits each."""
    with ResultStore.open(parse_results(results)) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(trials):
            record = a_filled_record(f"{name}-{number:05}")
            store.begin(record)
            store.finish(record)


def acknowledge(results: str, name: str) -> None:
    """Writes trials with readings until it is killed; tells each row and each batch after the call has returned."""
    store = ResultStore.open(parse_results(results))
    for number in count():
        record = a_filled_record(f"{name}-{number:05}")
        store.begin(record)
        with store.spool(record.trial_id) as spool:
            for position, batch in zip(range(20), batches(), strict=False):
                spool.append(batch)
                print(SAMPLES, record.trial_id, BATCH * (position + 1), flush=True)
        store.finish(record)
        print(ROW, record.trial_id, flush=True)


def start(what: str, results: str, *words: str) -> subprocess.Popen[str]:
    """One of the two above, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store_records", what, results, *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def commit_at_once(results: str, processes: int, trials: int) -> list[str]:
    """Lets so many processes commit at the same time; returns what they said on stderr."""
    writers = [start("commit", results, f"p{number}", str(trials)) for number in range(processes)]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    return release(writers)


def release(writers: list[subprocess.Popen[str]]) -> list[str]:
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    said = []
    for writer in writers:
        _, errors = writer.communicate(timeout=PROCESS_LIMIT_S)
        if writer.returncode or errors:
            said.append(f"{writer.returncode}: {errors}")
    return said


@dataclass
class Acknowledged:
    """What killed processes had told before they died."""

    rows: set[str] = field(default_factory=set)
    samples: dict[str, int] = field(default_factory=dict)
    """Of a trial: how many readings, from the first."""

    def write_and_kill(self, results: str, name: str, lines: int) -> None:
        """Kills a writer after it has told so many lines; hears all that it told."""
        writer = start("acknowledge", results, name)
        assert writer.stdout is not None
        heard = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        rest, errors = writer.communicate(timeout=PROCESS_LIMIT_S)
        assert writer.returncode == -signal.SIGKILL, errors
        # the last line may be torn: then nobody has heard it
        for line in [*heard, *rest.splitlines(keepends=True)]:
            if line.endswith("\n"):
                self._hear(line.split())

    def _hear(self, words: list[str]) -> None:
        if words[0] == ROW:
            self.rows.add(words[1])
        else:
            self.samples[words[1]] = int(words[2])

    def lost(self, results: str) -> list[str]:
        """What is not there any more, after the salvage that every run begins with."""
        with ResultStore.open(parse_results(results)) as store:
            salvage(store)
            records = {record.trial_id: record for record in store.trials()}
            lost = [f"row {trial_id}" for trial_id in self.rows if not self._is_done(records.get(trial_id))]
            for trial_id, samples in self.samples.items():
                record = records.get(trial_id)
                if record is None or record.telemetry_file is None:
                    lost.append(f"telemetry of {trial_id}")
                    continue
                times = read_parquet(store.folder / record.telemetry_file)["t_ns"].tolist()
                if times[:samples] != list(range(samples)):
                    lost.append(f"samples of {trial_id}: {samples} were told, {len(times)} are there")
        return lost

    @staticmethod
    def _is_done(record: TrialRecord | None) -> bool:
        return record is not None and record.state == "done" and record.outcome != "harness_error"


if __name__ == "__main__":
    if sys.argv[1] == "commit":
        commit(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        acknowledge(sys.argv[2], sys.argv[3])
