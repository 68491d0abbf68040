"""Results in which every name and every text is one that a page must not believe. Made of the demo's trials."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.analysis.series import OUTCOME, CaseKey
from harness.bench.demo.events import planted
from harness.bench.demo.records import demo_record
from harness.bench.demo.trials import DemoTrial, History
from harness.bench.demo.world import CASES, INT4_CPU_COLD, LAST_NIGHT, NEW, OLD, Q8_CPU, SMALL_GPU
from harness.core.judgement import ConfirmationResult, TriageState
from harness.core.outcome import Evidence, EvidenceKind, Outcome
from harness.core.record import TrialRecord
from harness.core.telemetry import Notice, Phase
from harness.report.site.build import SiteFiles, build_site
from harness.store.address import ResultsAddress
from harness.store.database import ResultStore
from harness.store.exchange.incoming import insert
from harness.store.telemetry import write_parquet
from harness.store.triage import keep_confirmation, keep_triage

SCRIPT = "<script>alert(1)</script>"
SPITE = (
    f"{SCRIPT}\"'><img src=x onerror=alert(2)>\n\r\n</style></title></textarea>--><svg onload=alert(3)>"
    "\0\u202egnp.exe\u202c\u200f{{ 7 * 7 }}{% include 'x' %}$\\frac{1$ ${x} %s %(y)s &lt;&amp; javascript:alert(4)"
)
"""Markup, quotes, newlines, NUL, marks that turn the direction of writing, templates, mathtext, an address."""
LONG = "E" * 10_000
"""An error of an engine, say: nowhere to break it."""
NIGHTS = 40
_SEED = 3
_RUN = "run"


def hostile_results(folder: Path) -> list[TrialRecord]:
    """Fills the folder; the records are what another program might have written into the database."""
    history = History(_SEED, NIGHTS, planted(_SEED, NIGHTS))
    kept = {(NEW, Q8_CPU), (NEW, SMALL_GPU), (OLD, Q8_CPU), (OLD, INT4_CPU_COLD)}
    trials = [one for one in history.trials() if (one.device, one.case) in kept]
    records = []
    with ResultStore.open(ResultsAddress(folder)) as store:
        for trial in trials:
            made = demo_record(trial, _SEED, {one.run: f"{one.run} {_RUN}" for one in trials})
            if made.readings:
                write_parquet(store.telemetry_path(made.record.trial_id), made.readings)
                (store.artifacts_dir(made.record.trial_id) / "stderr.txt").write_text(SPITE, encoding="utf-8")
            records.append(_spoilt(made.record, trial))
        with store.writing() as connection:
            insert(connection, records)
        for record in {one.case: one for one in records}.values():
            key = CaseKey(record.device_kind, record.device_product_type, record.suite, record.case)
            series = key.series(OUTCOME if record.outcome != Outcome.LOADED.value else "load_ns").text
            if len(series) > 1000:
                continue
            at = datetime(LAST_NIGHT.year, LAST_NIGHT.month, LAST_NIGHT.day, tzinfo=UTC)
            keep_triage(store, series, LAST_NIGHT, TriageState.ACKNOWLEDGED, SPITE, f"author {SPITE}", at=at)
            keep_confirmation(store, series, LAST_NIGHT, ConfirmationResult.CONFIRMED, SPITE, SPITE, at=at)
    return records


def hostile_site(folder: Path) -> SiteFiles:
    """The site of such results."""
    hostile_results(folder)
    return build_site(folder, processes=1)


def _spoilt(record: TrialRecord, trial: DemoTrial) -> TrialRecord:
    long_name = trial.case is INT4_CPU_COLD
    wicked: dict[str, Any] = {
        name: f"{name} {SPITE}"
        for name in (
            "suite", "device_udid", "device_os_build", "device_settings", "host_name", "build", "app_commit",
            "app_build", "engine_version", "model_name", "model_file", "transport", "thermal_state_start",
            "broken_limits", "preflight_reason", "backend_how", "run_id", "model_quantization",
        )
    }  # fmt: skip  # one name a line would hide that they are all treated alike
    return replace(
        record,
        **wicked,
        case=LONG if long_name else f"{CASES.index(trial.case)} {SPITE}",
        device_product_type=f"{record.device_product_type} {SPITE}",
        device_os_version=f"18.5 {SPITE}",
        reason=LONG if long_name else SPITE,
        evidence=tuple(
            Evidence(kind, f"{kind} {SPITE}{LONG if long_name else ''}", "../../../../etc/passwd", decisive=True)
            for kind in EvidenceKind
        ),
        phases=tuple(Phase(f"{one.name} {SPITE}", one.begin_ns, one.end_ns) for one in record.phases),
        notices=(Notice(SPITE, record.phases[-1].begin_ns, LONG),),
        telemetry_file=record.telemetry_file if trial.ordinal % 2 else "../../../../etc/passwd",
        artifacts_dir=record.artifacts_dir if trial.ordinal % 2 else "../../../../etc",
    )
