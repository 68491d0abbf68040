"""Every fault at every moment: is the outcome right, is each record kept, does the next trial on the phone load?

    python -m tests.benchmarks.reliability.matrix [--jobs 2] [--only TEXT] [--write docs/reliability.md]

Takes a quarter of an hour on two cores. Exits with 1 when a cell is wrong. `--write` makes the document anew.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.benchmarks.reliability.cells import FAULTS, MOMENTS, PUSH_OFFSETS, Cell, all_cells
from tests.benchmarks.reliability.rig import Result, run_cell

HEAD = """# Reliability

Every fault of the virtual iPhone at every moment of a trial. Each cell is a phone of its own, the trial that meets the
fault, and a trial after it on the same phone. A cell is right when
- the outcome is one that the evidence allows (`tests/benchmarks/reliability/cells.py` states which),
- both trials have their record, and a loaded one has every event of the app (streamed or from its journal),
- the fault did strike,
- the phone is usable: the next trial loads, and no process of the app is left.

These are the virtual iPhone's faults on the virtual iPhone; none of it has been tried on a physical one.
At `report` the app was aborted first, so that there is a crash report to pull: `aborted` is right there.
`service-refuses` and `service-hangs` concern the service that the harness needs soonest after the moment.

Made by `python -m tests.benchmarks.reliability.matrix --write docs/reliability.md`.
"""


def table(results: dict[Cell, Result]) -> str:
    """Faults down, moments across; a wrong cell is bold."""
    lines = ["| fault | " + " | ".join(MOMENTS) + " |", "|---" * (len(MOMENTS) + 1) + "|"]
    for fault in FAULTS:
        cells = []
        for moment in MOMENTS:
            result = results.get(Cell(fault, moment))
            if result is None:
                cells.append("not run")
            else:
                outcome = str(result.outcome)
                cells.append(f"**{outcome}: {'; '.join(result.wrong)}**" if result.wrong else outcome)
        lines.append(f"| `{fault}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def counts(results: dict[Cell, Result]) -> str:
    """The sums under the table."""
    done = list(results.values())
    wrong = sum(bool(result.wrong) for result in done)
    loaded = [result for result in done if result.outcome == "loaded"]
    rows = [
        ("cells", len(done)),
        ("trials", 2 * len(done)),
        ("records kept", sum(result.records for result in done)),
        ("samples kept of the trials that met a fault", sum(result.samples for result in done)),
        ("events missing from those that loaded", sum(result.missing_events for result in loaded)),
        ("phones whose next trial loaded", sum(result.next_outcome == "loaded" for result in done)),
        ("wrong cells", wrong),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {count} |" for name, count in rows)])


def document(results: dict[Cell, Result]) -> str:
    offsets = ", ".join(map(str, PUSH_OFFSETS))
    offsets_told = f"`push:N`: the model's write has come to byte {offsets}."
    return f"{HEAD}\n## Counts\n{counts(results)}\n\n## Outcomes\n{offsets_told}\n\n{table(results)}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="cells whose text contains this")
    parser.add_argument("--write", type=Path, help="the document")
    options = parser.parse_args()
    cells = [cell for cell in all_cells() if options.only in cell.text]
    results: dict[Cell, Result] = {}
    # a process for each cell: limits and environment are its own, and nothing of the last one is left
    with ProcessPoolExecutor(options.jobs, max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(run_cell, cell) for cell in cells]):
            result = future.result()
            results[result.cell] = result
            mark = "WRONG " + "; ".join(result.wrong) if result.wrong else "ok"
            print(
                f"{len(results):3}/{len(cells)} {result.seconds:5.1f} s {result.cell.text:60} {result.outcome} {mark}",
                flush=True,
            )
    print(counts(results))
    if options.write:
        options.write.write_text(document(results))
    return 1 if any(result.wrong for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
