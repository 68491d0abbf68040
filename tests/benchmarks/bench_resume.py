"""A suite of 200 trials, killed with kill -9 at ten random moments and resumed each time: is the run complete?

    python tests/benchmarks/bench_resume.py [--trials 200] [--kills 10] [--seed 1] [--folder DIR]

The moments are drawn from the seed: after how many trials in all, and how far into what comes then (0 to 3 s, which is
more than a trial and the pause to the next take). Each time the command is the same, `harness run … --resume`, with a
virtual phone that it starts and that must end with it. Exits 1 unless every trial has exactly one record that counts,
all in one run, and nothing outlived a kill. Takes some minutes.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

# the helpers lie beside the tests, which are no installed package
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.functional.killed_runs import KilledRun

CASES = 2
FURTHER_LIMIT_S = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="keep everything there")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return measure(arguments.folder, arguments)
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> int:
    """Prints a line a kill, and what the records say in the end."""
    dice = random.Random(arguments.seed)
    run = KilledRun(folder.resolve(), trials=arguments.trials // CASES)
    moments = sorted(dice.sample(range(1, arguments.trials), arguments.kills))
    print("kill  after trials begun  and s  records  cut short  s of the whole")
    began_s = time.monotonic()
    for number, begun in enumerate(moments, start=1):
        further_s = dice.uniform(0, FURTHER_LIMIT_S)
        run.kill_after(begun, further_s)
        records = run.records()
        # the last one is closed by the next process
        cut = sum(record.cut_short or record.state == "running" for record in records)
        elapsed_s = time.monotonic() - began_s
        print(f"{number:4}  {begun:18}  {further_s:5.2f}  {len(records):7}  {cut:9}  {elapsed_s:14.0f}", flush=True)
    code, said = run.finish()
    run.wait_until_gone()
    ledger = run.ledger()
    missing = len(ledger.planned - set(ledger.counting))
    twice = sum(1 for count in ledger.counting.values() if count > 1)
    print(f"exit code {code}; runs {ledger.runs}; trials {len(ledger.planned)}: missing {missing}, twice {twice}")
    print(f"cut short and run again: {ledger.cut_short}; most attempts of one trial: {ledger.most_attempts}")
    print(f"whole time {time.monotonic() - began_s:.0f} s")
    if code or not ledger.complete:
        print(said[-2000:], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
