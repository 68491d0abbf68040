"""From the results folder to pictures and a page. Reads the store; writes only below the report's own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.summary import GROUP_COLUMNS, counted, summarize, warm_ups, without_replaced
from harness.analysis.timeline import representative
from harness.bench.kept_suites import kept_suite
from harness.bench.suite import Published, SuiteError
from harness.core.outcome import EMULATED_GPU
from harness.core.record import DEMO_ORIGIN, TrialState
from harness.report.figures_style import DARK, LIGHT, THEMES, Theme, save, style
from harness.report.page import CaseSection, Picture, page
from harness.report.site.pages import SITE_FOLDER
from harness.report.summary_figure import summary_figure
from harness.report.table import summary_table
from harness.report.timeline_figure import Trial, timeline_figure
from harness.report.words import bytes_text, case_text, device_text, outcomes_text, rows_of, slug
from harness.store.address import Results, address_of
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.telemetry import read_parquet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


# Trials that advice may compare with, the newest; a folder may hold many thousands.
MAX_NEIGHBOURS = 2_000


@dataclass(frozen=True)
class ReportFiles:
    """What was written: the page, and every picture in both themes as SVG and PNG."""

    index: Path
    pictures: tuple[Path, ...]


def build_report(results: Results, target: Path | None = None, run_id: str | None = None) -> ReportFiles:
    """Draws one run (None: the latest) into `target` (None: `report/` of the results), replacing what is there.

    Warm-ups, and attempts in whose place a later one stands, are told of and not drawn. Raises StoreError if there are
    no results, or no finished trial of that run that counts.
    """
    address = address_of(results)
    if not address.has_records:
        raise StoreError(f"{address.database}: there are no results; run a suite first")
    with ResultStore.open_existing(address) as store:
        frame = store.frame(state=TrialState.DONE.value)
        wanted = run_id if run_id is not None else _latest(frame)
        chosen = frame[frame["run_id"] == wanted]
        if chosen.empty:
            what = "" if run_id is None else f" of run {run_id}; the runs are: {', '.join(frame['run_id'].unique())}"
            raise StoreError(f"{address.text}: there is no finished trial{what}")
        if counted(chosen).empty:
            raise StoreError(
                f"{address.text}: run {wanted} has no finished trial yet but warm-ups; harness run --resume"
            )
        folder = target if target is not None else store.folder / SITE_FOLDER
        return _draw(store, _arms_apart(chosen), folder, others=frame["run_id"].nunique() - 1)


def _arms_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """The two sides of a comparison are two cases, or their figures would be summed up together."""
    import pandas as pd

    names = [case if pd.isna(arm) else f"{case} [{arm}]" for case, arm in zip(frame["case"], frame["arm"], strict=True)]
    return frame.assign(case=pd.Series(names, index=frame.index, dtype="string"))


def _latest(frame: pd.DataFrame) -> str | None:
    return None if frame.empty else str(frame.sort_values(["started_at", "trial_id"])["run_id"].iloc[-1])


def _draw(store: ResultStore, frame: pd.DataFrame, folder: Path, *, others: int) -> ReportFiles:
    aside = _left_aside(frame)
    frame = counted(frame)
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("timeline-*.svg", "timeline-*.png", "summary*.svg", "summary*.png"):
        for stale in folder.glob(pattern):
            stale.unlink()
    written: list[Path] = []
    summaries = _summaries(frame, folder, written)
    sections = _sections(store, frame, folder, written)
    run_id = frame["run_id"].iloc[0]
    notes = [f"Suite {frame['suite'].iloc[0]}, run {run_id}, {len(frame)} trials, begun {frame['started_at'].min()}."]
    notes += aside
    published, unread = _published(store.folder, frame)
    notes += unread
    if others:
        notes.append(f"The results hold {others} other {'run' if others == 1 else 'runs'}, not shown here.")
    text = page(
        "iPhone load results",
        notes,
        summary_table(frame),
        summaries,
        sections,
        virtual=bool((frame["device_kind"] == "virtual").any()),
        demo=bool(frame["origin"].fillna("").str.startswith(DEMO_ORIGIN).any()),
        published=published,
    )
    index = folder / "index.html"
    index.write_text(text, encoding="utf-8")
    return ReportFiles(index, tuple(written))


def _published(folder: Path, frame: pd.DataFrame) -> tuple[list[Published], list[str]]:
    """What the run's suite quotes of others, from the copy beside the results; and notes on one that cannot be read."""
    facts: list[Published] = []
    notes = []
    for digest in frame["suite_digest"].dropna().unique():
        try:
            suite = kept_suite(folder, str(digest))
        except SuiteError as error:
            notes.append(f"The suite's copy cannot be read, so that what it quotes of others is missing: {error}")
            continue
        facts += suite.published if suite is not None else ()
    return facts, notes


def _left_aside(frame: pd.DataFrame) -> list[str]:
    """What the records have beyond the trials that count."""
    notes = []
    if before := warm_ups(frame):
        notes.append(f"{before} warm-up {'trial is' if before == 1 else 'trials are'} not counted.")
    if replaced := len(frame) - len(without_replaced(frame)):
        notes.append(
            f"{replaced} {'trial was' if replaced == 1 else 'trials were'} cut short with the run and run again."
        )
    return notes


def _summaries(frame: pd.DataFrame, folder: Path, written: list[Path]) -> list[Picture]:
    """One picture for each kind of phone: physical and virtual are not drawn side by side."""
    summary = summarize(frame)
    kinds = list(summary["device_kind"].unique())
    pictures = []
    for kind in kinds:
        part = summary[summary["device_kind"] == kind]
        name = "summary" if len(kinds) == 1 else f"summary-{slug(kind)}"
        told = "; ".join(
            f"{case_text(row['case'], gpu_emulated=row['gpu_emulated'])} on {device_text(row)}: "
            f"{outcomes_text(row['outcomes'])}, peak footprint {bytes_text(row['peak_footprint_bytes_median'])}"
            for row in rows_of(part)
        )
        light, dark = _write(partial(summary_figure, part), folder, name, written)
        pictures.append(Picture(f"Summary, {kind}", f"Bar chart, {kind} phone. {told}", light, dark))
    return pictures


def _sections(store: ResultStore, frame: pd.DataFrame, folder: Path, written: list[Path]) -> list[CaseSection]:
    sections = []
    taken: set[str] = set()
    everything = store.trials(state=TrialState.DONE.value)[-MAX_NEIGHBOURS:]
    for _, group in frame.groupby(list(GROUP_COLUMNS), sort=False, dropna=False):
        first = rows_of(group)[0]
        emulated = bool(group["backend_effective"].eq(EMULATED_GPU).fillna(False).any())
        heading = f"{case_text(first['case'], gpu_emulated=emulated)} on {device_text(first)}"
        records = store.trials(trial_id=list(group["trial_id"]))
        bold = representative(group)
        picture = None
        if bold is not None:
            trials = [
                # by its id: what a row names may lie anywhere
                Trial(record, read_parquet(store.telemetry_path(record.trial_id)))
                for record in records
                if record.telemetry_file is not None
            ]
            name = _unique(f"timeline-{slug(first['case'])}", taken)
            light, dark = _write(partial(timeline_figure, trials, bold), folder, name, written)
            shown = next(record for record in records if record.trial_id == bold)
            told = (
                f"Memory over time, {heading}. Trial {bold} ended as {shown.outcome}, peak footprint "
                f"{bytes_text(shown.peak_footprint_bytes)}, footprint limit {bytes_text(shown.footprint_limit_bytes)}."
            )
            picture = Picture(f"Timeline, {heading}", told, light, dark)
        sections.append(CaseSection(heading, picture, records, everything))
    return sections


def _unique(name: str, taken: set[str]) -> str:
    """The name, or with the first number that makes it new: two devices may have a case of the same name."""
    numbered: Iterable[str] = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
    found = next(candidate for candidate in numbered if candidate not in taken)
    taken.add(found)
    return found


def _write(draw: Callable[[Theme], Figure], folder: Path, name: str, written: list[Path]) -> tuple[Path, Path]:
    """Draws in every theme; returns the light and the dark SVG."""
    svgs: dict[str, Path] = {}
    for theme in THEMES:
        with style(theme):
            svg, png = save(draw(theme), folder, name, theme)
        written += [svg, png]
        svgs[theme.name] = svg
    return svgs[LIGHT.name], svgs[DARK.name]
