"""Made-up trials for the tests of reports: clearly test data, no phone has given these figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.core.outcome import Evidence, EvidenceKind, Outcome
from harness.core.record import TrialRecord
from harness.core.telemetry import Phase, Reading, Source
from harness.store.database import ResultStore

MIB = 1024 * 1024
MS = 1_000_000
START_NS = 5_000_000_000_000
HZ = 100
LONG_NAME = "llama-3.2-1b-instruct-q8-with-f32-embedding × litert_lm × gpu × a-very-long-option=value × cold cache"


def made_up(case: str, ordinal: int = 1, **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "trial_id": f"TESTDATA-{changes.get('run_id', 'run-1')}-{abs(hash_of(case)):08x}-{ordinal}",
        "run_id": "run-1",
        "suite": "made-up",
        "case": case,
        "ordinal": ordinal,
        "state": "running",
        "started_at": "2026-11-22T15:04:05.000Z",
        "host_pid": 1,
        "harness_version": "0",
        "device_kind": "virtual",
        "device_udid": "00008140-0000000000000000",
        "device_product_type": "iPhone17,1",
        "device_os_version": "18.5",
        "device_os_build": "22F76",
        "device_settings": "",
        "engine": "litert_lm",
        "model_name": "tiny",
        "model_file": "tiny.task",
        "model_sha256": "0" * 64,
        "model_bytes": 180_000,
        "backend_requested": "cpu",
        "cache_state": "none",
        "max_tokens": 64,
        "decode_tokens": 8,
        "sample_hz": HZ,
        "seed": 1,
        "expected_outcome": "loaded",
    }
    record = TrialRecord(**{**values, **changes})
    if record.outcome is not None:
        record = replace(record, outcome_family=Outcome(record.outcome).family.value)
    return record


def hash_of(text: str) -> int:
    """Small and the same in every process, unlike `hash`."""
    return sum(index * ord(letter) for index, letter in enumerate(text, 1))


def curve(peak_mib: float, seconds: float, *, host: bool = True, limit_mib: float = 3376) -> list[Reading]:
    """Footprint and resident that rise and stay; the host's monitor sees it twice a second."""
    readings = []
    for step in range(int(seconds * HZ)):
        share = min(1.0, 1.6 * step / (seconds * HZ))
        footprint = int(peak_mib * MIB * (0.08 + 0.92 * share**1.5))
        readings.append(
            Reading(
                Source.APP,
                START_NS + 3 * MS + step * 1_000_000_000 // HZ,
                step + 1,
                footprint_bytes=footprint,
                resident_bytes=int(footprint * 1.2) + 4 * MIB,
                available_bytes=int(limit_mib * MIB) - footprint,
            )
        )
    if host:
        seen = [replace(app, source=Source.HOST, seq=None, t_ns=app.t_ns + 9 * MS) for app in readings[:: HZ // 2]]
        readings += [replace(app, resident_bytes=None, available_bytes=None) for app in seen]
    return readings


def phases(*steps: tuple[str, float], open_end: bool = False) -> tuple[Phase, ...]:
    """Phases one after the other, from their lengths in seconds."""
    found, at_ns = [], START_NS
    for name, length in steps:
        end_ns = at_ns + int(length * 1e9)
        found.append(Phase(name, at_ns, end_ns))
        at_ns = end_ns
    if open_end:
        found[-1] = replace(found[-1], end_ns=None)
    return tuple(found)


GOOD = (("map", 0.02), ("create_engine", 0.5), ("create_session", 0.03), ("first_token", 0.06), ("decode", 0.9))


def fill(store: ResultStore) -> None:
    """Loaded cold (three trials) and warm, jetsam, bad_alloc, load_error without telemetry, hung with a gap."""
    keep(
        store,
        "tiny cpu warm",
        curve(12.4, 0.3, host=False),
        load_ns=31 * MS,
        phases=phases(
            ("map", 0.004),
            ("create_engine", 0.02),
            ("create_session", 0.001),
            ("prefill", 0.002),
            ("first_token", 0.004),
            ("decode", 0.05),
            ("hold", 0.2),
            ("unload", 0.003),
        ),
    )
    for ordinal, peak in enumerate((1400, 1450, 1480), 1):
        keep(
            store,
            LONG_NAME,
            curve(peak, 2.0 + ordinal / 5),
            ordinal,
            load_ns=(500 + 60 * ordinal) * MS,
            ttft_ns=60 * MS,
            decode_tokens_per_s=20.0 + ordinal,
            phases=phases(*GOOD, ("unload", 0.1)),
        )
    keep(
        store,
        "wide cpu",
        curve(88.5, 1.4, limit_mib=90),
        outcome="jetsam",
        limit_mib=90,
        reason="killed by the phone: per-process-limit at 94371840 bytes",
        phases=phases(("map", 0.3), ("create_engine", 1.0), open_end=True),
        evidence=(Evidence(EvidenceKind.JETSAM_EVENT, "JetsamEvent: <Runner> pid 7", "JetsamEvent-1.ips", True),),
    )
    keep(
        store,
        "wide cpu, small address space",
        curve(40, 0.9),
        outcome="bad_alloc",
        expected_outcome="bad_alloc",
        reason="terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc",
        phases=phases(("map", 0.3), ("create_engine", 0.6), open_end=True),
    )
    keep(store, "broken file", [], outcome="load_error", reason="not a <model> & nothing else")
    gap = [reading for reading in curve(200, 3.0) if not 900 < (reading.t_ns - START_NS) / MS < 1700]
    keep(
        store,
        "stuck",
        gap,
        outcome="hung",
        reason="no event within the liveness limit during create_engine",
        phases=phases(("map", 0.4), ("create_engine", 2.0), open_end=True),
    )


def keep(
    store: ResultStore,
    case: str,
    readings: list[Reading],
    ordinal: int = 1,
    *,
    outcome: str = "loaded",
    limit_mib: int = 3376,
    reason: str = "result received, on cpu",
    **changes: Any,
) -> TrialRecord:
    app = [reading.footprint_bytes or 0 for reading in readings if reading.source is Source.APP]
    record = made_up(
        case,
        ordinal,
        outcome=outcome,
        reason=reason,
        peak_footprint_bytes=max(app, default=None),
        footprint_limit_bytes=limit_mib * MIB if readings else None,
        **changes,
    )
    store.begin(record)
    return store.finish(record, readings)
