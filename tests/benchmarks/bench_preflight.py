"""How well preflight foretells what a load takes, and whether its verdicts hold: on a virtual iPhone.

    python -m tests.benchmarks.bench_preflight [--quick] [--big] [--write docs/preflight.md]

Each case is run once without a wall that matters: predicted peak against measured. Then some cases are run again with a
wall of either kind below and above what they take, near and far: every verdict must be how it then ends. Ends with 1
when an error is beyond its goal or a verdict is wrong. Models are made in a temporary folder; `--big` adds models of
0.75 GB (5 GB of disk, several minutes).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.analysis.preflight import MARGIN, Verdict
from harness.bench.conductor import run_suite
from harness.bench.listener import Listener
from harness.bench.models import models_folder
from harness.bench.suite import Suite
from harness.core.phone import Virtual
from harness.core.record import TrialRecord

MIB = 1 << 20
MEDIAN_GOAL = 0.05
WORST_GOAL = 0.15
ROOMY = {"footprint_limit": "12GiB", "allocation_limit": "20GiB"}
FACTORS = (0.6, 0.85, 0.95, 1.05, 1.15, 1.6)
"""Walls at these times of what a load takes."""
BEGIN, END = "<!-- preflight: begin -->", "<!-- preflight: end -->"
LOADED = "loaded"
PROGRESS_LIMIT_S = 30
"""An engine may hang at a wall; no phase of these loads takes that long."""


@dataclass(frozen=True)
class Shape:
    """A model, and how it is loaded."""

    name: str
    synth: dict[str, Any]
    caches: tuple[str, ...] = ("cold", "warm", "none")
    options: dict[str, Any] = field(default_factory=dict)
    engine: str = "litert_lm"
    backend: str = "cpu"
    settings: dict[str, str] = field(default_factory=dict)
    walls: bool = False
    """Tried against walls, too."""


WIDE, TINY = {"base": "wide"}, {"base": "tiny"}
LONG_PROMPT = "memory " * 100
SHAPES = (
    Shape("tiny", TINY),
    Shape("tiny, 24 layers, context 2048", TINY | {"layers": 24, "context": 2048}),
    Shape("wide", WIDE, walls=True),
    Shape("wide, context 128", WIDE | {"context": 128}, caches=("warm",)),
    Shape("wide, context 4096", WIDE | {"context": 4096}, walls=True),
    Shape("wide, 8 layers", WIDE | {"layers": 8}),
    Shape("wide, int4", WIDE | {"weights": "int4"}),
    Shape("wide, f32", WIDE | {"weights": "f32", "embedding": "f32"}),
    Shape("wide, untied int8 head", WIDE | {"tied": False, "embedding": "f32"}, caches=("cold", "none")),
    Shape("wide, prefill 16 and 128", WIDE | {"prefill": [16, 128]}, caches=("none",)),
    Shape(
        "wide, prefill 16 and 256, long prompt, context 1024",
        WIDE | {"prefill": [16, 256], "context": 1024},
        options={"prompt": LONG_PROMPT, "max_tokens": 1024},
        caches=("warm",),
    ),
    Shape("wide, load only", WIDE, options={"decode_tokens": 0}, caches=("cold",)),
    Shape("wide, 3 copies", WIDE, options={"copies": 3}, caches=("cold", "none")),
    Shape("wide, emulated GPU", WIDE, backend="gpu", caches=("cold",), settings={"gpu": "emulated"}),
    Shape("wide, floor read", WIDE, engine="read", caches=("none",), walls=True),
    Shape("wide, floor mmap", WIDE, engine="mmap", caches=("none",)),
)
BIG = (
    Shape("Llama 3.2 1B, int4", {"base": "llama-3.2-1b-int4"}, walls=True),
    Shape("Llama 3.2 1B, int4, context 4096", {"base": "llama-3.2-1b-int4", "context": 4096}, caches=("warm",)),
)
QUICK = ("tiny", "wide")


@dataclass(frozen=True)
class Row:
    """One case without walls."""

    shape: Shape
    record: TrialRecord

    @property
    def error(self) -> float:
        assert self.record.prediction_error is not None, self.record.preflight_reason or self.record.reason
        return self.record.prediction_error


@dataclass(frozen=True)
class Walled:
    """A case with a wall at `factor` times what it takes."""

    row: Row
    wall: str
    factor: float
    record: TrialRecord

    @property
    def right(self) -> bool | None:
        """None: the verdict was that it is too close to say."""
        match self.record.preflight:
            case Verdict.TOO_CLOSE:
                return None
            case Verdict.WILL_LOAD:
                return self.record.outcome == LOADED
            case Verdict.WILL_NOT_LOAD:
                return self.record.outcome != LOADED
        return False  # nothing was foretold


class Rig:
    """Runs suites of one model on a virtual phone, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0
        # records of one run would correct the predictions of the next: each gets a results folder of its own

    def run(self, shape: Shape, caches: Iterable[str], settings: dict[str, str], **options: Any) -> list[TrialRecord]:
        """One trial for each cache state."""
        self._runs += 1
        suite = Suite.model_validate(
            {
                "name": "preflight",
                "models": [{"name": "model", "synth": shape.synth}],
                "matrix": {"engines": [shape.engine], "backends": [shape.backend], "caches": list(caches)},
                "options": {"trials": 1, "progress_limit_s": PROGRESS_LIMIT_S, **shape.options, **options},
            }
        )
        word = Virtual(settings={**shape.settings, **settings})
        results = self._folder / f"results-{self._runs}"
        return list(asyncio.run(run_suite(suite, word, results, Listener())).records)

    def measure(self, shape: Shape) -> list[Row]:
        """Every cache state, with room enough."""
        rows = [Row(shape, record) for record in self.run(shape, shape.caches, ROOMY)]
        for row in rows:
            if row.record.outcome != LOADED:
                raise SystemExit(f"{shape.name}: {row.record.outcome}: {row.record.reason}")
        return rows

    def against_walls(self, row: Row, factors: Iterable[float] = FACTORS) -> Iterator[Walled]:
        """The same case, with the footprint's wall and with the address space's, each at some distances."""
        record = row.record
        assert record.peak_footprint_bytes is not None
        assert record.predicted_address_bytes is not None
        assert record.allocation_limit_bytes is not None
        # what the app has mapped before the load, from the roomy limit and what was then left
        has_bytes = 20 * (1 << 30) - record.allocation_limit_bytes
        needs = {
            "footprint_limit": record.peak_footprint_bytes,
            "allocation_limit": record.predicted_address_bytes,
        }
        for wall, need_bytes in needs.items():
            for factor in factors:
                limit_bytes = int(need_bytes * factor) + (has_bytes if wall == "allocation_limit" else 0)
                settings = ROOMY | {wall: f"{limit_bytes // 1024}KiB"}
                (again,) = self.run(row.shape, [record.cache_state], settings)
                yield Walled(row, wall, factor, again)


def main() -> int:
    """Measures, prints, writes; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only the smallest cases")
    parser.add_argument("--big", action="store_true", help="with models of 0.75 GB")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this document")
    options = parser.parse_args()
    shapes = [shape for shape in SHAPES if not options.quick or shape.name in QUICK]
    rows: list[Row] = []
    walled: list[Walled] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_CACHE_HOME": f"{folder}/cache", "XDG_STATE_HOME": f"{folder}/state"}
        rig = Rig(Path(folder))
        for shape in (*shapes, *(BIG if options.big else ())):
            found = rig.measure(shape)
            rows += found
            for row in found:
                sys.stderr.write(_line(row) + "\n")
                # a warm load within a wall begins with a cold one, to fill the cache
                if shape.walls and row.record.cache_state != "warm":
                    for one in rig.against_walls(row):
                        walled.append(one)
                        sys.stderr.write(_walled_line(one) + "\n")
            for file in models_folder().iterdir():
                file.unlink()
    text = "\n".join([*table(rows), "", *walls_table(walled)])
    sys.stdout.write(text + "\n")
    if options.write is not None:
        put(options.write, text)
    return 0 if holds(rows, walled) else 1


def _line(row: Row) -> str:
    return f"{row.shape.name}, {row.record.cache_state}: {row.error:+.1%}"


def _walled_line(one: Walled) -> str:
    record = one.record
    return f"  {one.wall} × {one.factor}: {record.preflight}, {record.outcome}: {one.right}; {record.preflight_reason}"


def errors(rows: list[Row]) -> list[float]:
    """Sizes of the errors."""
    return [abs(row.error) for row in rows]


def holds(rows: list[Row], walled: list[Walled]) -> bool:
    """Whether every goal is met."""
    sizes = errors(rows)
    right = all(one.right is not False for one in walled)
    return right and statistics.median(sizes) <= MEDIAN_GOAL and max(sizes) <= WORST_GOAL


def table(rows: list[Row]) -> list[str]:
    """Predicted against measured."""
    sizes = errors(rows)
    engine = rows[0].record.engine_version
    lines = [
        f"Measured on a **virtual** iPhone ({rows[0].record.device_product_type}, iOS "
        f"{rows[0].record.device_os_version}) on Linux, {platform.machine()}, {os.cpu_count()} cores, LiteRT-LM "
        f"{engine}, Python runner, sampled at 1 kHz, without corrections by earlier records.",
        f"**{len(rows)} cases: median error {statistics.median(sizes):.1%}, worst {max(sizes):.1%}**.",
        "",
        "| model and load | cache | file MiB | predicted MiB | measured MiB | error |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        record = row.record
        figures = (record.model_bytes, record.predicted_peak_footprint_bytes, record.peak_footprint_bytes)
        cells = " | ".join("" if figure is None else f"{figure / MIB:.1f}" for figure in figures)
        lines.append(f"| {row.shape.name} | {record.cache_state} | {cells} | {row.error:+.1%} |")
    return lines


def walls_table(walled: list[Walled]) -> list[str]:
    """Verdicts against how it ended, counted."""
    lines = [
        f"Walls at {', '.join(f'{factor:g}' for factor in FACTORS)} times what a load takes, "
        f"{len(walled)} trials; too close is within {MARGIN:.0%} of a wall.",
        "",
        "| wall | verdict | trials | loaded | did not load | right |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for wall in ("footprint_limit", "allocation_limit"):
        for verdict in Verdict:
            chosen = [one for one in walled if one.wall == wall and one.record.preflight == verdict]
            loaded = sum(one.record.outcome == LOADED for one in chosen)
            right = "–" if verdict is Verdict.TOO_CLOSE else str(sum(one.right is True for one in chosen))
            lines.append(f"| {wall} | {verdict} | {len(chosen)} | {loaded} | {len(chosen) - loaded} | {right} |")
    return lines


def put(document: Path, text: str) -> None:
    """Between the two marks of the document."""
    old = document.read_text(encoding="utf-8")
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
