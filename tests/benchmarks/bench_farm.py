"""What a farm costs on this machine: one host with 1, 4, 16 and 32 virtual phones, and loads that cost next to nothing.

Not part of the tests. Run it from the project's folder:

    python tests/benchmarks/bench_farm.py [--phones 1 4 16 32] [--trials 8] [--idle 5] [--folder DIR]

`--trials` are of each phone. For each number of phones a hub, a host and a client are started anew. All figures are of
*virtual* phones: a virtual phone and its app take most of the processor and of the memory, and a host with real phones
has neither. What it does have is in the columns of the phone's process, the host's own, and the hub.

Processor time is that of the kernel's clock for processes (10 ms), between the first phone that is ready and the end of
the run; memory is read after the run: PSS shares what processes have in common among them, RSS counts it for each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

# the helpers lie beside the tests, which are no installed package
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.farm_members import Host, Hub
from tests.farm_network import Place, free_port

DEFAULT_PHONES = [1, 4, 16, 32]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024
SUITE = """
name = "scale"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
engines = ["mmap", "read"]
[options]
trials = {trials}
sample_hz = 20
hold_ms = 0
"""
CASES = 2
HUB, JOIN, PHONE_PROCESS, VIRTUAL, APPS = "hub", "join", "phone process", "virtual phone", "its apps"
_MARKS = {
    PHONE_PROCESS: "harness.farm.host.phone_process",
    VIRTUAL: "-m harness.virtual --",
    HUB: "farm hub",
    JOIN: "farm join",
}
"""What is in the command line of each kind."""
COLUMNS = (
    ("phones", 6),
    ("ready s", 8),
    ("trials", 7),
    ("trials/min", 11),
    ("CPU s a trial:", 15),
    ("phone process", 14),
    ("virtual", 8),
    ("apps", 6),
    ("hub", 6),
    ("join", 6),
    ("idle % a phone", 15),
    ("MiB PSS/RSS: phone process", 27),
    ("virtual", 9),
    ("hub", 9),
)


@dataclass
class Spent:
    """Of the processes of a farm, by kind."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    """Kind → processor time since their start, together."""

    def since(self, before: Spent, kind: str) -> float:
        return self.cpu_s.get(kind, 0.0) - before.cpu_s.get(kind, 0.0)


@dataclass(frozen=True)
class Memory:
    """Of one process, in bytes."""

    pss_bytes: int
    rss_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--phones", type=int, nargs="+", default=DEFAULT_PHONES)
    parser.add_argument("--trials", type=int, default=8, help="of each phone")
    parser.add_argument("--idle", type=float, default=5.0, help="seconds for which the ready farm is left alone")
    parser.add_argument("--folder", type=Path, default=None, help="keep everything there")
    arguments = parser.parse_args()
    print(f"virtual phones on one host with {os.cpu_count()} processors; synthetic model tiny, engines mmap and read")
    print("  ".join(f"{name:>{width}}" for name, width in COLUMNS), flush=True)
    for phones in arguments.phones:
        if arguments.folder is not None:
            measure(arguments.folder.resolve() / f"{phones}-phones", phones, arguments)
            continue
        with tempfile.TemporaryDirectory(prefix="farm-") as folder:
            measure(Path(folder), phones, arguments)
    return 0


def measure(folder: Path, phones: int, arguments: argparse.Namespace) -> None:
    """One row of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    suite = folder / "scale.toml"
    suite.write_text(SUITE.format(trials=max(1, arguments.trials * phones // CASES)))
    with Place(folder / "host", {}) as place:
        hub = Hub(place, "tcp", str(folder / "results"), None, free_port())
        hub.start()
        joined_s = time.monotonic()
        joined = Host(place, "here", hub, None).join(phones)
        hub.wait_for_phones(phones)
        ready_s = time.monotonic() - joined_s
        roots = [hub.pid, joined.pid]
        at_rest = spent(roots)
        time.sleep(arguments.idle)
        begun = spent(roots)
        client = hub.run(suite)
        if client.wait() != 0:
            sys.exit(place.log("client.log"))
        ended = spent(roots)
        memory = {kind: of_kind(roots, kind) for kind in (PHONE_PROCESS, VIRTUAL, HUB)}
        with hub.kept() as kept:
            records = kept.store.trials()
    first = min(datetime.fromisoformat(record.started_at) for record in records)
    last = max(datetime.fromisoformat(record.finished_at) for record in records if record.finished_at)
    per_trial = [ended.since(begun, kind) / len(records) for kind in (PHONE_PROCESS, VIRTUAL, APPS, HUB, JOIN)]
    # what a real host has too
    own = (begun.since(at_rest, PHONE_PROCESS) + begun.since(at_rest, JOIN)) / arguments.idle / phones
    cells = [
        str(phones),
        f"{ready_s:.1f}",
        str(len(records)),
        f"{len(records) / (last - first).total_seconds() * 60:.0f}",
        f"{sum(per_trial):.2f}",
        *(f"{value:.3f}" for value in per_trial),
        f"{100 * own:.1f}",
        *(_mean(memory[kind]) for kind in (PHONE_PROCESS, VIRTUAL, HUB)),
    ]
    print("  ".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)), flush=True)


def _mean(found: list[Memory]) -> str:
    if not found:
        return "-"
    pss_bytes = sum(memory.pss_bytes for memory in found) / len(found)
    rss_bytes = sum(memory.rss_bytes for memory in found) / len(found)
    return f"{pss_bytes / MIB:.0f}/{rss_bytes / MIB:.0f}"


def spent(roots: list[int]) -> Spent:
    """By `roots` and all below them. What has ended is in its parent's account: a phone's apps in the phone's."""
    found = Spent()
    for pid, fields in family(roots):
        kind = kind_of(pid)
        own, ended = (sum(map(int, fields[first : first + 2])) / TICKS_PER_S for first in (11, 13))
        found.cpu_s[kind] = found.cpu_s.get(kind, 0.0) + own
        if kind == VIRTUAL:
            found.cpu_s[APPS] = found.cpu_s.get(APPS, 0.0) + ended
    return found


def of_kind(roots: list[int], kind: str) -> list[Memory]:
    """Of each process of a kind."""
    found = []
    for pid, _ in family(roots):
        if kind_of(pid) != kind:
            continue
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines[1:])}
        found.append(Memory(sizes["Pss"], sizes["Rss"]))
    return found


def family(roots: list[int]) -> Iterator[tuple[int, list[str]]]:
    """Number and fields (from the state on) of `roots` and all that descend from them."""
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
    for pid, fields in stats.items():
        above = pid
        while above not in roots and above in stats:
            above = int(stats[above][1])
        if above in roots:
            yield pid, fields


def kind_of(pid: int) -> str:
    """By its command line; an app under way, and what is none of ours, counts with the apps."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return APPS
    return next((kind for kind, mark in _MARKS.items() if mark in command), APPS)


if __name__ == "__main__":
    sys.exit(main())
