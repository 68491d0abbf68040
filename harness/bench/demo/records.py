"""The record of a demo trial, and what is kept beside it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from zlib import crc32

import numpy as np

from harness.bench.demo.endings import ending
from harness.bench.demo.timeline import CLOCK_OFFSET_NS, NS_PER_S, SAMPLE_HZ, Course, journal
from harness.bench.demo.trials import DemoTrial
from harness.bench.demo.world import DECODE_TOKENS, ENGINE, HOST, LAST_NIGHT, PROMPT_TOKENS, SUITE, levels_of
from harness.core.outcome import Outcome
from harness.core.phone import PhoneKind
from harness.core.record import DEMO_ORIGIN, TrialRecord, TrialState
from harness.core.telemetry import Cut, Reading, Source

_CLOCK_STARTS = LAST_NIGHT - timedelta(days=2000)
_ALLOCATION_LIMIT_BYTES = 7_906_263_040


@dataclass(frozen=True)
class DemoRecord:
    """A record, its readings and its files: name → text; both empty where they are not kept."""

    record: TrialRecord
    readings: Sequence[Reading] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def trial_id(trial: DemoTrial, seed: int) -> str:
    """As the harness makes them, but by seed."""
    return f"{trial.begin:%Y%m%d-%H%M%S-%f}-{_hash(seed, trial.phone.udid, trial.case.name, trial.ordinal):08x}"


def demo_record(trial: DemoTrial, seed: int, run_ids: Mapping[str, str]) -> DemoRecord:
    """The record of a trial; `run_ids`: of each run's name."""
    ident = trial_id(trial, seed)
    random = np.random.default_rng([seed, 6, crc32(ident.encode())])
    device, case, levels = trial.device, trial.case, levels_of(trial.device, trial.case)
    backend, loaded = case.backend.value, trial.outcome is Outcome.LOADED
    pid = 2_000 + int(random.integers(0, 30_000))
    begin_ns = (trial.begin.date() - _CLOCK_STARTS).days * 86_400 * NS_PER_S + trial.begin.hour * 3_600 * NS_PER_S
    course = Course(trial.outcome, backend, begin_ns, trial.figures, device.limit_bytes)
    ended = trial.begin + timedelta(microseconds=(course.end_ns - course.begin_ns) // 1000 + 7_300_000)
    end = ending(trial.outcome, backend, pid, ended, device.limit_bytes, device.product_type)
    readings = course.readings(random) if trial.kept else []
    samples = (course.end_ns - course.begin_ns) * SAMPLE_HZ // NS_PER_S
    evidence = end.found.evidence if trial.kept else tuple(replace(one, file=None) for one in end.found.evidence)
    told = {name: value for name, value in trial.figures.items() if loaded}
    peak = course.peak_bytes
    predicted = int(levels.peak_footprint_bytes * 1.012)
    fits = predicted <= device.limit_bytes
    record = TrialRecord(
        trial_id=ident,
        run_id=run_ids[trial.run],
        suite=SUITE,
        case=case.name,
        ordinal=trial.ordinal,
        suite_digest=_digest(f"suite {seed}")[:12],
        state=TrialState.DONE.value,
        started_at=trial.begin.isoformat(timespec="microseconds"),
        finished_at=ended.isoformat(timespec="microseconds"),
        host_pid=1,
        harness_version=DEMO_ORIGIN,
        host_name=HOST,
        build=trial.app.name,
        arm=trial.arm,
        origin=f"{DEMO_ORIGIN}, seed {seed}",
        device_kind=PhoneKind.VIRTUAL.value,
        device_udid=trial.phone.udid,
        device_product_type=device.product_type,
        device_os_version=trial.system[0],
        device_os_build=trial.system[1],
        device_settings="",
        transport=DEMO_ORIGIN,
        battery_celsius=round(28.5 + 2 * float(random.random()) + 0.02 * trial.ordinal, 1),
        battery_percent=int(random.integers(82, 100)),
        battery_charging=True,
        thermal_state_start="nominal",
        low_power=False,
        free_bytes=(30 << 30) + int(random.integers(0, 1 << 30)),
        ram_bytes=device.ram_bytes,
        phone_locked=False,
        developer_mode=True,
        developer_image=True,
        cooled_ns=0,
        app_bundle_id="org.iphone-load-harness.demo",
        app_build=trial.app.digest,
        app_commit=trial.app.commit,
        app_ballast_bytes=0,
        app_entitlements={},
        engine=ENGINE,
        engine_version=trial.engine_version,
        model_name=case.model.name,
        model_file=f"{case.model.name}.task",
        model_sha256=_digest(f"{case.model.name} {trial.model_edition}"),
        model_bytes=case.model.size_bytes,
        model_quantization=case.model.quantization,
        model_format="task",
        model_context=1024,
        model_signatures=2,
        model_weight_bytes=int(case.model.size_bytes * 0.97),
        backend_requested=backend,
        backend_effective=backend if loaded else None,
        backend_how=f"{DEMO_ORIGIN}: {backend} was asked for" if loaded else None,
        cache_state=case.cache.value,
        max_tokens=512,
        decode_tokens=DECODE_TOKENS,
        sample_hz=SAMPLE_HZ,
        seed=1,
        warmup=False,
        expected_outcome=trial.expected.value,
        preflight="will_load" if fits else "will_not_load",
        preflight_reason=f"{DEMO_ORIGIN}: the footprint's limit {'is not' if fits else 'is'} in the way",
        predicted_peak_footprint_bytes=predicted,
        prediction_error=round(predicted / told["peak_footprint_bytes"] - 1, 6) if loaded else None,
        allocation_limit_bytes=_ALLOCATION_LIMIT_BYTES,
        outcome=trial.outcome.value,
        outcome_family=trial.outcome.family.value,
        reason=end.found.reason,
        evidence=evidence,
        pid=pid,
        phases=course.phases,
        host_steps=course.host_steps() if trial.kept else (),
        cuts=(_cut(course),) if trial.outcome is Outcome.LOST else (),
        notices=course.notices() if trial.kept else (),
        load_ns=round(told["load_ns"]) if loaded else None,
        ttft_ns=round(told["ttft_ns"]) if loaded else None,
        prefill_tokens=PROMPT_TOKENS if loaded else None,
        prefill_tokens_per_s=told.get("prefill_tokens_per_s"),
        decoded_tokens=DECODE_TOKENS if loaded else None,
        decode_tokens_per_s=told.get("decode_tokens_per_s"),
        peak_footprint_bytes=peak,
        peak_resident_bytes=int(peak * course.resident_share),
        leftover_footprint_bytes=int(told["leftover_footprint_bytes"]) if loaded else None,
        footprint_limit_bytes=device.limit_bytes,
        host_peak_footprint_bytes=int(peak * 0.995),
        sample_count=sum(one.source is Source.APP for one in readings) if trial.kept else samples,
        sample_gap_max_ns=NS_PER_S // SAMPLE_HZ,
        sample_gap_count=0,
        sample_gap_limit_ns=NS_PER_S // 10,
        last_sample_ns=course.end_ns - NS_PER_S // SAMPLE_HZ,
        seq_missing=0,
        clock_offset_ns=CLOCK_OFFSET_NS,
        clock_round_trip_ns=450_000,
        clock_offset_end_ns=CLOCK_OFFSET_NS + 900 if loaded else None,
        clock_round_trip_end_ns=470_000 if loaded else None,
        telemetry_file=f"telemetry/{ident}.parquet" if trial.kept else None,
        artifacts_dir=f"artifacts/{ident}" if trial.kept else None,
    )
    if not trial.kept:
        return DemoRecord(record)
    lines = "".join(f"{json.dumps(line)}\n" for line in journal(course, pid, readings))
    return DemoRecord(record, readings, {"journal.ndjson": lines, **end.files})


def _cut(course: Course) -> Cut:
    return Cut(course.end_ns - CLOCK_OFFSET_NS).on_app_clock(CLOCK_OFFSET_NS)


def _hash(*parts: object) -> int:
    return crc32("/".join(map(str, parts)).encode())


def _digest(text: str) -> str:
    return hashlib.sha256(f"{DEMO_ORIGIN} {text}".encode()).hexdigest()
