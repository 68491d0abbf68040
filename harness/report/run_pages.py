"""The pages of single runs, beside the site: drawn after a run, or when somebody asks. Writes below its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.report.site.pages import SITE_FOLDER, run_folder
from harness.store.address import Results, address_of


@dataclass(frozen=True)
class Drawn:
    """What lies there after a run."""

    index: Path
    """The site's entry."""
    run_page: Path


def draw_run(results: Results, run_id: str, site: Path | None = None) -> Path:
    """Draws one run below the site's folder (None: `report/` of the results); returns its page.

    Raises StoreError as `build_report` does.
    """
    from harness.report.build import build_report

    folder = site if site is not None else address_of(results).folder / SITE_FOLDER
    return build_report(results, folder / run_folder(run_id), run_id).index


def draw_after_run(results: Results, run_id: str) -> Drawn:
    """The run's page, and the site with it, into `report/` of the results.

    By this process alone: whoever has just driven a phone may have threads, which a fork does not bear.
    """
    from harness.report.site.build import build_site

    page = draw_run(results, run_id)
    return Drawn(build_site(results, processes=1).index, page)
