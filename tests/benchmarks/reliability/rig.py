"""Runs one cell of the matrix: a phone of its own, the trial that meets the fault, and the one after it."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.bench.conductor import open_conductor
from harness.bench.listener import Listener
from harness.bench.plan import plan_trials
from harness.bench.suite import Suite
from harness.core.errors import HarnessError
from harness.core.phone import ByUdid
from harness.core.record import TrialRecord
from harness.device import limits
from harness.store.database import ResultStore
from harness.virtual.running import RunningPhone, start_phone
from tests.benchmarks.reliability.cells import Cell

# A service that hangs is waited for so long; the product's own limit is for slow phones.
SERVICE_LIMIT_S = 3.0
INSTALL_LIMIT_S = 20.0
GRACE_S = 4.0
# The app must still be there when the fault strikes, and one that is silent must be seen to be.
HOLD_MS = 300
END_LIMIT_S = 10.0
VARIABLES = ("HOME", "USBMUXD_SOCKET_ADDRESS", "IPHONE_LOAD_HARNESS_LOCKS")


@dataclass(frozen=True)
class Result:
    """What came of a cell; `wrong` is empty when all is as it should be."""

    cell: Cell
    outcome: str | None
    struck: bool
    next_outcome: str | None
    records: int
    samples: int
    missing_events: int
    seconds: float
    wrong: tuple[str, ...]


def run_cell(cell: Cell) -> Result:
    """Takes the process's environment for its own while it runs: one cell at a time in a process."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cell-") as name, surroundings(Path(name)):
        folder = Path(name)
        with start_phone(home=folder / "phone") as phone:
            os.environ["USBMUXD_SOCKET_ADDRESS"] = phone.usbmux
            phone.control("fault", text=cell.text, seed="7")
            first = run_trial(phone, folder, cell.model)
            struck = cell.text.split("+")[-1].split("@")[0].split(":")[0] in happened(phone)
            phone.control("heal")
            phone.control("trust", state="trusted")
            second = run_trial(phone, folder, cell.model)
            wrong = judge(cell, first, second, struck, phone, folder / "results")
    return Result(
        cell,
        first.outcome if first else None,
        struck,
        second.outcome if second else None,
        sum(record is not None for record in (first, second)),
        (first.sample_count or 0) if first else 0,
        (first.seq_missing or 0) if first else 0,
        time.monotonic() - begin,
        wrong,
    )


@contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    """A home and locks of the cell's own, and short limits; what was there is put back."""
    kept = {name: os.environ.get(name) for name in VARIABLES}
    kept_limits = limits.SERVICE_LIMIT_S, limits.INSTALL_LIMIT_S
    os.environ["HOME"] = str(folder / "host")
    os.environ["IPHONE_LOAD_HARNESS_LOCKS"] = str(folder / "locks")
    limits.SERVICE_LIMIT_S, limits.INSTALL_LIMIT_S = SERVICE_LIMIT_S, INSTALL_LIMIT_S
    (folder / "host").mkdir()
    try:
        yield
    finally:
        limits.SERVICE_LIMIT_S, limits.INSTALL_LIMIT_S = kept_limits
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def suite(model: str = "tiny", *, hold_ms: int = HOLD_MS, trials: int = 1) -> Suite:
    """One case without a weight cache, so that each trial is one process."""
    return Suite.model_validate(
        {
            "name": "reliability",
            "models": [{"name": model, "synth": model}],
            "matrix": {"caches": ["none"]},
            "options": {"trials": trials, "max_tokens": 128, "hold_ms": hold_ms, "grace_s": GRACE_S},
        }
    )


def run_trial(phone: RunningPhone, folder: Path, model: str) -> TrialRecord | None:
    """None when the phone could not even be opened: then there is no trial, and so no record."""

    async def run() -> TrialRecord:
        async with open_conductor(ByUdid(phone.udid), folder / "results", Listener()) as conductor:
            (planned,) = plan_trials(suite(model))
            return await conductor.run_trial(planned)

    try:
        return asyncio.run(run())
    except HarnessError:
        return None


def happened(phone: RunningPhone) -> set[str]:
    """Names of the faults that have struck."""
    return {str(text).split("@")[0].split(":")[0] for text in phone.control("faults")["happened"]}


def judge(
    cell: Cell,
    first: TrialRecord | None,
    second: TrialRecord | None,
    struck: bool,
    phone: RunningPhone,
    results: Path,
) -> tuple[str, ...]:
    """Everything that is not as it should be."""
    wrong = []
    if first is None:
        wrong.append("the phone could not be opened")
    elif first.outcome not in cell.expected:
        wrong.append(f"{first.outcome} instead of {' or '.join(sorted(cell.expected))}: {first.reason}")
    elif first.outcome == "loaded" and first.seq_missing:
        wrong.append(f"{first.seq_missing} events of a loaded trial are missing")
    if not struck:
        wrong.append("the fault did not strike")
    if second is None or second.outcome != "loaded":
        wrong.append(f"the next trial: {'no phone' if second is None else f'{second.outcome}: {second.reason}'}")
    with ResultStore.open(results) as store:
        kept = {record.trial_id for record in store.trials() if record.state == "done"}
    made = {record.trial_id for record in (first, second) if record is not None}
    if kept != made:
        wrong.append(f"{len(made - kept)} records are lost, {len(kept - made)} nobody knows")
    if left := apps_left(phone):
        wrong.append(f"app processes are left: {left}")
    return tuple(wrong)


def apps_left(phone: RunningPhone) -> list[int]:
    """Pids of apps that still run, after they had time to end."""
    deadline = time.monotonic() + END_LIMIT_S
    while (rows := phone.control("processes")["processes"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [row["pid"] for row in rows]
