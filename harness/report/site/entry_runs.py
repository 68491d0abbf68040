"""The newest run of each suite, and where its own page is. Looks whether that page was drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.report.site.comparison_choice import shown
from harness.report.site.data import SiteData
from harness.report.site.entry_trials import RecentTrials, moment_text
from harness.report.site.pages import ENTRY, run_folder


@dataclass(frozen=True)
class Run:
    suite: str
    device: str
    device_kind: str
    run_id: str
    started_at: str
    trials: int
    page: str | None
    """Its name below the site's folder, if it is there."""
    command: str
    """That draws it."""


@dataclass(frozen=True)
class SideBySide:
    """A page that compares."""

    page: str
    what: str
    """In words."""
    suite: str
    device: str
    device_kind: str
    run_id: str


def runs(data: SiteData, recent: RecentTrials, folder: Path) -> tuple[Run, ...]:
    """The newest one of each suite on each kind of phone, newest first; `folder`: the site's."""
    # a comparison's arms are no run of the suite
    first = recent.runs[recent.runs["arm"].isna()]
    first = first.drop_duplicates(["device_kind", "suite"], keep="last")
    counts = data.trials.loc[data.trials["run_id"].isin(first["run_id"]), "run_id"].value_counts()
    found = []
    for row in first.iloc[::-1].itertuples(index=False):
        run_id = str(row.run_id)
        page = f"{run_folder(run_id)}/{ENTRY}"
        found.append(
            Run(
                suite=str(row.suite),
                device=str(row.device_product_type),
                device_kind=str(row.device_kind),
                run_id=run_id,
                started_at=moment_text(str(row.started_at)),
                trials=int(counts[run_id]),
                page=page if (folder / page).is_file() else None,
                command=f"harness report --run {quoted(run_id)}",
            )
        )
    return tuple(found)


def side_by_side(data: SiteData) -> tuple[SideBySide, ...]:
    """The comparisons that have a page, those of two builds first."""
    return tuple(
        SideBySide(
            one.page,
            "Two sides in turns" if one.of_builds else "Cases of the newest run",
            one.suite,
            one.device_product_type,
            one.device_kind,
            one.run_id,
        )
        for one in shown(data)
    )


def quoted(text: str) -> str:
    """As a word of a command line: whoever pastes it gets one argument, whatever is in it."""
    import shlex

    return shlex.quote(text)
