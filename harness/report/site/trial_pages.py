"""One page a trial: its memory over time, how it ended and why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.analysis.advice import Advice, advise
from harness.analysis.metrics import METRICS
from harness.analysis.series import OUTCOME, CaseHistory, CaseKey
from harness.core.phone import PhoneKind
from harness.core.record import TrialRecord, is_demo
from harness.report.metric_words import metric_heading
from harness.report.site import comparison_choice
from harness.report.site.data import SiteData
from harness.report.site.layout import render
from harness.report.site.pages import WITH_READINGS, Page, series_page, trial_page
from harness.report.site.trial_choice import WHO, chosen_trials
from harness.report.site.trial_files import RawFile, TelemetryFile, raw_files, telemetry_file

PERFETTO_SUFFIX = ".pftrace"


@dataclass(frozen=True)
class Link:
    """To a page of the site."""

    words: str
    page: str


@dataclass(frozen=True)
class TrialContent:
    page: str
    record: TrialRecord
    demo: bool
    telemetry: TelemetryFile | None
    files: tuple[RawFile, ...]
    advice: tuple[Advice, ...]
    series: tuple[Link, ...]
    """Those of its case."""
    comparison: str | None
    """The page of the comparison that it is a side of."""
    trace: str | None
    """The page that Perfetto opens."""

    @property
    def virtual(self) -> bool:
        return self.record.device_kind == PhoneKind.VIRTUAL


@dataclass(frozen=True)
class TraceContent:
    record: TrialRecord
    telemetry: TelemetryFile


def chosen(data: SiteData) -> frozenset[str]:
    """Ids of the trials that get a page."""
    return chosen_trials(data, comparison_choice.stand_ins(comparison_choice.shown(data)))


def pages(data: SiteData, trials: frozenset[str], folder: Path) -> Iterator[Page]:
    """Their pages; `folder`: where the site is, from which links to raw files go."""
    records = data.store.trials(trial_id=sorted(trials))
    compared = comparison_choice.pages_of_runs(comparison_choice.shown(data))
    with_traces = can_trace()
    for record in records:
        page = trial_page(record.trial_id)
        readings = telemetry_file(data.store, record)
        trace = None
        if with_traces and readings is not None:
            trace = page.removesuffix(".html") + PERFETTO_SUFFIX
            yield Page(trace, TraceContent(record, readings), draw_trace, WITH_READINGS)
        content = TrialContent(
            page=page,
            record=record,
            demo=is_demo(record.origin),
            telemetry=readings,
            files=raw_files(data.store, record, folder, page),
            advice=_advice(record, records),
            series=tuple(_series(data, record)),
            comparison=None if record.arm is None else compared.get(record.run_id),
            trace=trace,
        )
        yield Page(page, content, draw, WITH_READINGS)


def can_trace() -> bool:
    """Whether Perfetto's own package is installed: it is an extra."""
    return find_spec("perfetto") is not None


def draw(content: TrialContent) -> str:
    """The page."""
    # matplotlib is loaded where pages are drawn, not where they are planned
    from harness.report.site.trial_parts import drawn

    parts = drawn(content)
    return render(
        "trial.html.j2",
        page=content.page,
        title=parts.title,
        demo=content.demo,
        virtual=content.virtual,
        content=content,
        parts=parts,
        who=WHO,
    )


def draw_trace(content: TraceContent) -> bytes:
    """The trace."""
    from harness.report.exports.perfetto import perfetto_trace
    from harness.store.errors import StoreError
    from harness.store.telemetry import ReadingArrays, read_arrays

    try:
        readings = read_arrays(Path(content.telemetry.path))
    except StoreError:
        # the trial's page says so; one damaged file must not keep the whole site from being drawn
        readings = ReadingArrays.none()
    return perfetto_trace(content.record, readings)


def _advice(record: TrialRecord, others: list[TrialRecord]) -> tuple[Advice, ...]:
    """Held against the other trials with a page: all cases are among them."""
    return tuple(advise(record, others))


def _series(data: SiteData, record: TrialRecord) -> Iterator[Link]:
    key = CaseKey(record.device_kind, record.device_product_type, record.suite, record.case)
    history = data.history_of.get(key)
    if history is None:
        return
    for metric in (OUTCOME, *_measured(history)):
        yield Link(metric_heading(metric), series_page(key.series(metric)))


def _measured(history: CaseHistory) -> list[str]:
    """Metrics that some night of the case has."""
    return [one.name for one in METRICS if any(segment.counts[one.name].any() for segment in history.segments)]
