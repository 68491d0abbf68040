"""Cable pulls at random moments of one trial after another: 0 wrong outcomes, 0 lost samples, 0 leaked processes?

    python -m tests.benchmarks.reliability.soak [--pulls 500] [--seed 1]

A pull lasts 0.05 to 1 s, the next comes 0.2 to 2 s later, wherever the trial is by then. Every fourth trial, the first
after the phone was opened anew, finds its model gone and pushes 76 MB. Takes some 20 minutes; exits with 1 when
anything is wrong. The moments are drawn from the seed, but what they meet depends on the machine's speed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.bench.conductor import Conductor, open_conductor
from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial, plan_trials
from harness.core.errors import HarnessError
from harness.core.phone import ByUdid
from harness.core.record import TrialRecord
from harness.store.database import ResultStore
from harness.virtual.running import RunningPhone, start_phone
from tests.benchmarks.reliability.rig import apps_left, suite, surroundings

PULL_S = (0.05, 1.0)
GAP_S = (0.2, 2.0)
HOLD_MS = 1500
TRIALS_PER_OPENING = 4
OPEN_AGAIN_S = 0.2
JOIN_LIMIT_S = 30.0


@dataclass
class Tally:
    """What came of the soak."""

    outcomes: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    """What was going on when the cable was pulled: the last step or phase heard of."""
    openings_refused: int = 0
    samples: int = 0
    wrong: list[str] = field(default_factory=list)


class Where(Listener):
    """Knows what is going on."""

    def __init__(self) -> None:
        self.now = "between trials"

    def step(self, what: str, done: int, total: int) -> None:
        self.now = what.split(" ", maxsplit=1)[0]

    def trial_begins(self, planned: PlannedTrial, number: int, total: int) -> None:
        self.now = "before the load"

    def phase(self, name: str) -> None:
        self.now = name

    def trial_ended(self, planned: PlannedTrial, record: TrialRecord) -> None:
        self.now = "between trials"


class Puller(threading.Thread):
    """Pulls the cable so many times, then leaves it in."""

    def __init__(self, phone: RunningPhone, pulls: int, seed: int, where: Where, tally: Tally) -> None:
        super().__init__(name="puller")
        self._phone, self._where, self._tally = phone, where, tally
        self._chance = random.Random(seed)
        self._pulls = pulls
        self.enough = threading.Event()

    def run(self) -> None:
        for _ in range(self._pulls):
            if self.enough.wait(self._chance.uniform(*GAP_S)):
                break
            self._tally.met[self._where.now] += 1
            self._phone.control("unplug")
            time.sleep(self._chance.uniform(*PULL_S))
            self._phone.control("plug")


async def trials(phone: RunningPhone, results: Path, puller: Puller, where: Where, tally: Tally) -> None:
    """Until the puller is done."""
    number = 0
    while puller.is_alive():
        for path in phone.home.glob("Containers/*/Documents/models/*"):
            path.unlink()
        try:
            async with open_conductor(ByUdid(phone.udid), results, where) as conductor:
                for place in range(TRIALS_PER_OPENING):
                    if not puller.is_alive():
                        return
                    number += 1
                    await one_trial(conductor, "tiny" if place else "wide", number, tally)
        except HarnessError:
            # pulled while no trial was under way: a named phone that is absent is refused at once, as it should be
            tally.openings_refused += 1
            await asyncio.sleep(OPEN_AGAIN_S)


async def one_trial(conductor: Conductor, model: str, number: int, tally: Tally) -> None:
    (planned,) = plan_trials(suite(model, hold_ms=HOLD_MS))
    record = await conductor.run_trial(planned)
    tally.outcomes[str(record.outcome)] += 1
    tally.samples += record.sample_count or 0
    if record.outcome != "loaded":
        tally.wrong.append(f"trial {number}, {model}: {record.outcome}: {record.reason}")
    elif record.seq_missing:
        tally.wrong.append(f"trial {number}, {model}: {record.seq_missing} events are missing")
    print(f"{number:4} {sum(tally.met.values()):4} pulls  {model} {record.outcome} {tally.wrong[-1:]}", flush=True)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pulls", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tally, where = Tally(), Where()
    with tempfile.TemporaryDirectory(prefix="soak-") as name, surroundings(Path(name)):
        results = Path(name) / "results"
        with start_phone(home=Path(name) / "phone") as phone:
            os.environ["USBMUXD_SOCKET_ADDRESS"] = phone.usbmux
            before = open_files()
            puller = Puller(phone, options.pulls, options.seed, where, tally)
            puller.start()
            try:
                asyncio.run(trials(phone, results, puller, where, tally))
            finally:
                puller.enough.set()
                puller.join(JOIN_LIMIT_S)
            with suppress(FileNotFoundError):
                tally.wrong += [f"process {pid} of the app is left" for pid in apps_left(phone)]
            if (after := open_files()) > before:
                tally.wrong.append(f"{after - before} files are left open")
        with ResultStore.open(results) as store:
            records = store.trials()
        running = sum(record.state != "done" for record in records)
        if running or len(records) != sum(tally.outcomes.values()):
            tally.wrong.append(
                f"{len(records)} records, {running} of them open, of {sum(tally.outcomes.values())} trials"
            )
    print(f"pulls {sum(tally.met.values())}, at: {dict(tally.met.most_common())}")
    print(f"trials {sum(tally.outcomes.values())}: {dict(tally.outcomes)}; samples kept {tally.samples}")
    print(f"openings refused while the phone was away: {tally.openings_refused}")
    for line in tally.wrong:
        print(f"WRONG {line}")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
