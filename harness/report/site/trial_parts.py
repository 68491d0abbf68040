"""What a trial's page shows beside its content: figure, tables, words. Reads the telemetry that the content names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from harness.core.outcome import EMULATED_GPU
from harness.core.record import TrialRecord
from harness.core.text import printable
from harness.report.explanation import Section, explain
from harness.report.figures_style import style
from harness.report.inline_svg import PAGE, inline_svg
from harness.report.site.table_rows import table_rows
from harness.report.site.trial_files import TelemetryFile
from harness.report.site.trial_pages import TrialContent
from harness.report.site.trial_words import figures, is_bad, outcome_symbol, reading_rows
from harness.report.timeline_parts import SampledTrial, bounded
from harness.report.trial_figure import trial_figure
from harness.report.words import bytes_text, case_text, drawable
from harness.store.errors import StoreError
from harness.store.telemetry import ReadingArrays, read_arrays

_MAX_TITLE_CHARS = 160
MAX_LINES = 300
"""Of one heading; a record may have ten thousand."""


@dataclass(frozen=True)
class Proof:
    """One piece of evidence."""

    kind: str
    words: str
    file: str | None
    decisive: bool


@dataclass(frozen=True)
class Table:
    headings: tuple[str, ...]
    rows: Markup
    shown: int
    """Rows."""
    of: int
    """Readings that there are; more than rows: every so many-th is shown."""


@dataclass(frozen=True)
class Parts:
    title: str
    bad: bool
    symbol: str
    outcome: str
    figures: tuple[tuple[str, str], ...]
    figure: Markup | None
    caption: str
    no_figure: str
    """Why there is none."""
    table: Table | None
    end: Section
    why: Section
    told: tuple[Section, ...]
    timeline: Section
    evidence: tuple[Proof, ...]
    next: Section


def drawn(content: TrialContent) -> Parts:
    """Everything that is drawn or worded."""
    record = content.record
    sections = {one.title: _told(one.title, one.lines) for one in explain(record, (), content.advice)}
    shown, lost = bounded(record)
    trial, no_figure = _read(shown, content.telemetry)
    figure, table, caption = None, None, ""
    if trial is not None:
        with style(PAGE):
            figure = inline_svg(trial_figure(trial, PAGE), _label(record), "t")
        table = _table(trial)
        caption = _caption(record, lost)
    return Parts(
        title=_title(record),
        bad=is_bad(record),
        symbol=outcome_symbol(record),
        outcome=printable(record.outcome or record.state),
        figures=figures(record),
        figure=figure,
        caption=caption,
        no_figure=no_figure,
        table=table,
        end=_section(sections, "How it ended"),
        why=_section(sections, "Why the harness says so"),
        told=(_section(sections, "What was asked"), _section(sections, "The phone")),
        timeline=_section(sections, "What happened when"),
        evidence=tuple(
            Proof(
                one.kind.value.replace("_", " "),
                printable(one.text),
                None if one.file is None else printable(one.file),
                one.decisive,
            )
            for one in record.evidence[:MAX_LINES]
        ),
        next=_section(sections, "What to try next"),
    )


def _told(title: str, lines: Sequence[str]) -> Section:
    more = len(lines) - MAX_LINES
    shown = tuple(map(printable, lines[:MAX_LINES]))
    return Section(title, (*shown, f"{more} more lines are told by harness explain.") if more > 0 else shown)


def _section(sections: dict[str, Section], title: str) -> Section:
    return sections.get(title) or Section(title, ())


def _read(record: TrialRecord, telemetry: TelemetryFile | None) -> tuple[SampledTrial | None, str]:
    """The trial with its readings; or why it has none."""
    if telemetry is None:
        if record.files_removed_at is not None:
            return None, f"Its readings were removed to save space ({printable(record.files_removed_at)})."
        if record.telemetry_file is not None:
            return None, "Its readings are not in these results."
        return SampledTrial(record, ReadingArrays.none()) if record.phases else None, "It has no readings."
    try:
        readings = read_arrays(Path(telemetry.path))
    except StoreError:
        return None, "Its readings cannot be read."
    return SampledTrial(record, readings), ""


def _title(record: TrialRecord) -> str:
    case = case_text(record.case, gpu_emulated=record.backend_effective == EMULATED_GPU)
    kind = f"{record.device_product_type} ({record.device_kind})"
    title = drawable(f"{case} on {kind}")
    return title if len(title) <= _MAX_TITLE_CHARS else f"{title[: _MAX_TITLE_CHARS - 1]}…"


def _label(record: TrialRecord) -> str:
    peak, limit = bytes_text(record.peak_footprint_bytes), bytes_text(record.footprint_limit_bytes)
    return drawable(
        f"Line chart, {record.device_kind} phone: memory over the trial. It ended as {record.outcome}, peak footprint "
        f"{peak}, footprint limit {limit}; the readings are in the table below."
    )


def _caption(record: TrialRecord, lost: int) -> str:
    bands = "Bands are the phases of the app; a line breaks where no sample was taken."
    if lost:
        bands += f" {lost} further phases, notices and steps are in the record and have no room here."
    if record.clock_offset_ns is None and record.host_steps:
        return f"{bands} The app's clock was not measured, so what the host did is not on it."
    return bands


def _table(trial: SampledTrial) -> Table:
    headings, rows, count = reading_rows(trial)
    return Table(headings, table_rows(rows), len(rows), count)
