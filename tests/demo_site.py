"""The demo's site, made once for all tests that look at it, and which of its pages is of which kind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.analysis.series import OUTCOME
from harness.bench.demo.events import PlantedEvent, case_key, planted
from harness.bench.demo.store import make_demo
from harness.bench.demo.world import DEFAULT_NIGHTS, LAST_NIGHT, NEW, OLD, Q8_CPU
from harness.core.outcome import Outcome
from harness.core.record import TrialRecord
from harness.report.site.build import build_site
from harness.report.site.pages import COMPARISONS_FOLDER, ENTRY, series_page, trial_page
from harness.store.database import ResultStore
from harness.store.owner import exclusive

SEED = 7
_DONE = "done.json"


@dataclass(frozen=True)
class DemoSite:
    """Results and the site in them."""

    results: Path
    nights: int = DEFAULT_NIGHTS

    @property
    def report(self) -> Path:
        return self.results / "report"

    @cached_property
    def events(self) -> tuple[PlantedEvent, ...]:
        return planted(SEED, self.nights)

    @cached_property
    def last_night(self) -> list[TrialRecord]:
        """Records of the trials that began on the last night or later."""
        with ResultStore.open_existing(self.results) as store:
            return [one for one in store.trials(since=f"{LAST_NIGHT}T12:00:00+00:00") if one.arm is None]

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Kind of page → name of one of it."""
        slow, dead = case_key(NEW, Q8_CPU), case_key(OLD, Q8_CPU)
        found = {
            "entry": ENTRY,
            "series with a step": series_page(slow.series("load_ns")),
            "series with a death": series_page(dead.series("peak_footprint_bytes")),
            "series of outcomes": series_page(dead.series(OUTCOME)),
        }
        for outcome in (Outcome.LOADED, Outcome.BAD_ALLOC, Outcome.JETSAM, Outcome.LOST):
            ids = [one.trial_id for one in self.last_night if one.outcome == outcome.value]
            drawn = [name for name in map(trial_page, ids) if (self.report / name).is_file()]
            if drawn:
                found[f"trial that ended as {outcome.value}"] = drawn[0]
        comparisons = sorted((self.report / COMPARISONS_FOLDER).glob("*.html"))
        for number, path in enumerate(comparisons[:2], start=1):
            found[f"comparison {number}"] = f"{COMPARISONS_FOLDER}/{path.name}"
        return found


PAGE_KINDS = (
    "entry",
    "series with a step",
    "series with a death",
    "series of outcomes",
    "trial that ended as loaded",
    "trial that ended as bad_alloc",
    "trial that ended as jetsam",
    "trial that ended as lost",
    "comparison 1",
    "comparison 2",
)


def demo_site(folder: Path, nights: int = DEFAULT_NIGHTS) -> DemoSite:
    """The demo of so many nights in `folder`, made unless it is there; several processes may ask at once."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results"
    with exclusive(folder / ".lock"):
        if not (folder / _DONE).exists():
            make_demo(results, SEED, nights)
            built = build_site(results)
            (folder / _DONE).write_text(json.dumps({"pages": len(built.drawn)}), encoding="utf-8")
    return DemoSite(results, nights)
