"""What is kept of a trial: one flat record, whose fields are the columns of the results.

Each field's metadata says its unit and meaning; the database schema and `results/README.md` are made from it, so
that there is one place to read and one to change.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from typing import Any

from harness.core.outcome import Evidence
from harness.core.telemetry import Cut, HostStep, Notice, Phase, SampleGap


class TrialState(StrEnum):
    RUNNING = "running"
    """Begun; a record that is still in this state when its process is gone is salvaged at the next start."""
    DONE = "done"


DEMO_ORIGIN = "demo"
"""Begins the `origin` of records that were made by seed, to show what reports look like."""


def is_demo(origin: str | None) -> bool:
    """Whether a record of this `origin` was made by seed: it is no measurement."""
    return (origin or "").startswith(DEMO_ORIGIN)


def _column(doc: str, unit: str = "", default: Any = ...) -> Any:
    metadata = {"doc": doc, "unit": unit}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial. None in a metric: not measured (the platform has no such figure, or the trial ended before)."""

    # which trial
    trial_id: str = _column("Unique, sorts by time: UTC date and time, then random hex digits.")
    run_id: str = _column("The run of the suite that this trial belongs to.")
    suite: str = _column("Name of the suite.")
    case: str = _column("Name of the case: model, engine, backend, cache state.")
    ordinal: int = _column("Number of the trial within its case, from 1; 0 and below: a warm-up, not counted.")
    attempt: int = _column("From 1; higher when an earlier one of this trial was cut short with its run.", default=1)
    cut_short: bool = _column(
        "Whether it was given up before it could count (Ctrl-C, a killed process, a phone or host that a farm lost): "
        "such a trial is run again, and its next attempt counts in its place. What it brought home is evidence.",
        default=False,
    )
    suite_digest: str | None = _column(
        "Digest of everything in the suite that decides what is run; None: a trial without a suite file.", default=None
    )
    state: str = _column("`running` or `done`.")
    started_at: str = _column("When the trial began on the host.", "ISO 8601, UTC")
    finished_at: str | None = _column("When its record was complete.", "ISO 8601, UTC", None)
    host_pid: int = _column("Process of the host that runs the trial; tells a dead run from a living one.")
    harness_version: str = _column("Version of this harness.")
    host_name: str | None = _column("Name of the host, where the trial's files were written.", default=None)
    build: str | None = _column(
        "Name of the build under test, as whoever began the run gave it (`--build`): a nightly's number, a commit.",
        default=None,
    )
    arm: str | None = _column(
        "`a` or `b`: the side of an interleaved comparison, whose id is `run_id`; such trials are in no series.",
        default=None,
    )
    origin: str | None = _column(
        "Where the record was imported or merged from; None: it was made in these results.", default=None
    )
    files_removed_at: str | None = _column(
        "When the trial's telemetry and artifacts were removed to save space; None: they were not.",
        "ISO 8601, UTC",
        None,
    )

    # which phone
    device_kind: str = _column("`physical` or `virtual`: never compared with one another.")
    device_udid: str = _column("The phone.")
    device_product_type: str = _column("Device class, as in iPhone17,1.")
    device_os_version: str = _column("iOS version.")
    device_os_build: str = _column("iOS build.")
    device_settings: str = _column("A virtual phone's departures from its profile; empty: none.")

    transport: str | None = _column("Client library through which the phone was driven.", default=None)

    # what the phone said of itself before the trial
    battery_celsius: float | None = _column("Battery temperature before the trial.", "°C", None)
    battery_percent: int | None = _column("Battery level before the trial.", "%", None)
    battery_charging: bool | None = _column("Whether it was charging.", default=None)
    thermal_state_start: str | None = _column(
        "Thermal state before the trial, as the app reads it: `nominal`, `fair`, `serious` or `critical`.", default=None
    )
    low_power: bool | None = _column("Whether Low Power Mode was on, as the app reads it.", default=None)
    free_bytes: int | None = _column("Free storage of the phone before the trial.", "bytes", None)
    ram_bytes: int | None = _column("Memory of the phone, as the app reads it.", "bytes", None)
    phone_locked: bool | None = _column("Whether the phone said that it was locked.", default=None)
    developer_mode: bool | None = _column("Whether Developer Mode was on.", default=None)
    developer_image: bool | None = _column("Whether the developer image was mounted.", default=None)
    cooled_ns: int | None = _column(
        "How long the trial waited for the phone to become ready; 0: not at all.", "ns", None
    )

    # which app, engine, model
    app_bundle_id: str | None = _column("The runner app.", default=None)
    app_build: str | None = _column("Its build (content digest), as it says itself.", default=None)
    app_commit: str | None = _column("Commit that the app was built from, as it says itself.", default=None)
    app_ballast_bytes: int | None = _column(
        "Memory that this build of the app occupies on purpose, to see whether the alarm goes off; None: an app that "
        "does not say.",
        "bytes",
        None,
    )
    app_entitlements: dict[str, Any] | None = _column("Entitlements of the installed app.", default=None, unit="JSON")  # noqa: RUF009  # a field() in disguise, like its neighbours
    engine: str = _column("Engine asked for.")
    engine_version: str | None = _column("Its version, as the runner says.", default=None)
    model_name: str = _column("Name of the model in the suite.")
    model_file: str = _column("File name of the model.")
    model_sha256: str = _column("Digest of the model file.")
    model_bytes: int = _column("Size of the model file.", "bytes")
    model_quantization: str | None = _column("Quantisation, where the suite or the recipe states it.", default=None)
    model_format: str | None = _column("`task`, `litertlm`, `tflite` or `bin`, as read from the file.", default=None)
    model_context: int | None = _column("Context that the file was made for.", "tokens", None)
    model_signatures: int | None = _column("Signatures in the file; without a cache each packs weights.", default=None)
    model_weight_bytes: int | None = _column("Constant tensors in the file, embedding included.", "bytes", None)

    # what was asked
    backend_requested: str = _column("`cpu` or `gpu`.")
    backend_effective: str | None = _column("Where it really ran; None: unknown.", default=None)
    backend_how: str | None = _column("How the effective backend is known.", default=None)
    cache_state: str = _column("Weight cache at the start of the load: `cold`, `warm` or `none`.")
    max_tokens: int = _column("Context asked for.", "tokens")
    decode_tokens: int = _column("Tokens asked for.", "tokens")
    sample_hz: int = _column("Sampling rate asked of the runner.", "Hz")
    seed: int = _column("Sampler seed.")
    prewarm: str | None = _column("Read-ahead of the file before the load: `advise` or `touch`.", default=None)
    prewarm_chunk_bytes: int | None = _column("How much of it at a time.", "bytes", None)
    warmup: bool | None = _column(
        "Whether a whole load and unload in the same process came before the measured one.", default=None
    )
    guard_reserve_bytes: int | None = _column(
        "Distance from the footprint limit at which the runner itself stops the load.", "bytes", None
    )
    copies: int = _column(
        "Engines of the file, one beside the other in one process; `load_ns` is the first one's.", default=1
    )
    app_variant: str = _column("Build variant of the app: which entitlements it was built to have.", default="plain")
    expected_outcome: str = _column("What the suite expects.")

    # what was to be expected, from the model's file and the phone's limits, before a byte was pushed
    preflight: str | None = _column(
        "`will_load`, `will_not_load` or `too_close`; None: no prediction was possible.", default=None
    )
    preflight_reason: str | None = _column("The same in words, or why no prediction was possible.", default=None)
    predicted_peak_footprint_bytes: int | None = _column("Predicted peak of the footprint.", "bytes", None)
    predicted_address_bytes: int | None = _column(
        "Predicted private writable address space of the load (what the allocation limit is on).", "bytes", None
    )
    prediction_calibration: float | None = _column(
        "By what the prediction was corrected, from the errors of earlier records; None: it was not.", "ratio", None
    )
    prediction_error: float | None = _column(
        "Predicted over measured peak footprint, minus 1; only of trials that loaded.", "ratio", None
    )
    allocation_limit_bytes: int | None = _column(
        "Most that the app can allocate, as it found by trying before the load.", "bytes", None
    )

    # how it ended
    outcome: str | None = _column("See docs/outcomes.md; None while running.", default=None)
    outcome_family: str | None = _column("`measured`, `model`, `device` or `host`.", default=None)
    reason: str | None = _column("The outcome in one line.", default=None)
    evidence: tuple[Evidence, ...] = _column("What proves it.", "JSON", ())
    pid: int | None = _column("The measured process on the phone.", default=None)
    phases: tuple[Phase, ...] = _column("Spans of the trial, on the app's clock.", "JSON", ())
    host_steps: tuple[HostStep, ...] = _column(
        "What the harness itself did, on the host's monotonic clock and, where that was measured, on the app's.",
        "JSON",
        (),
    )
    cuts: tuple[Cut, ...] = _column(
        "Times in which the phone was not attached, on the host's monotonic clock and on the app's.", "JSON", ()
    )

    notices: tuple[Notice, ...] = _column(
        "What the phone told the app unasked, on the app's clock: memory warnings, changes of thermal state and of Low "
        "Power Mode; the first 64.",
        "JSON",
        (),
    )
    broken_limits: str | None = _column(
        "The suite's limits that the figures break, in words; empty: all kept; None: none was checked.", default=None
    )

    # figures
    load_ns: int | None = _column("From the begin of the first load phase to an engine ready for a prompt.", "ns", None)
    ttft_ns: int | None = _column("From the prompt to the first token.", "ns", None)
    prefill_tokens: int | None = _column("Tokens of the prompt.", "tokens", None)
    prefill_tokens_per_s: float | None = _column("Prefill rate, by the engine's own count.", "tokens/s", None)
    decoded_tokens: int | None = _column("Tokens generated.", "tokens", None)
    decode_tokens_per_s: float | None = _column("Decode rate, by the engine's own count.", "tokens/s", None)
    peak_footprint_bytes: int | None = _column("Largest sampled footprint.", "bytes", None)
    peak_resident_bytes: int | None = _column("Largest sampled resident size.", "bytes", None)
    kernel_peak_resident_bytes: int | None = _column(
        "The kernel's own high-water mark of resident size.", "bytes", None
    )
    leftover_footprint_bytes: int | None = _column("Footprint after unload.", "bytes", None)
    footprint_limit_bytes: int | None = _column("Footprint + available, as the app reads them.", "bytes", None)
    host_peak_footprint_bytes: int | None = _column("Largest footprint that the system monitor saw.", "bytes", None)
    output_sha256: str | None = _column("Digest of the generated text; equal seeds give equal text.", default=None)

    # quality of the telemetry
    sample_count: int | None = _column("Samples of the app.", default=None)
    sample_gap_max_ns: int | None = _column("Longest time between two samples.", "ns", None)
    sample_gap_count: int | None = _column("Gaps between samples beyond `sample_gap_limit_ns`.", default=None)
    sample_gap_limit_ns: int | None = _column("What counts as a gap: three periods, at least 100 ms.", "ns", None)
    sample_gaps: tuple[SampleGap, ...] = _column(
        "The longest of them, in order of time, on the app's clock.", "JSON", ()
    )
    last_sample_ns: int | None = _column("Time of the last sample on the app's clock.", "ns", None)
    seq_missing: int | None = _column("Events that neither the stream nor the journal has.", default=None)
    clock_offset_ns: int | None = _column("App's clock minus the host's monotonic clock.", "ns", None)
    clock_round_trip_ns: int | None = _column("Smallest round trip of the offset's measurement.", "ns", None)
    clock_offset_end_ns: int | None = _column("The same offset, measured again after the result.", "ns", None)
    clock_round_trip_end_ns: int | None = _column("Smallest round trip of that measurement.", "ns", None)
    phone_clock_offset_ns: int | None = _column("The phone's wall clock minus the host's before the trial.", "ns", None)
    phone_clock_offset_end_ns: int | None = _column("The same after the trial.", "ns", None)

    # files, relative to the results folder
    telemetry_file: str | None = _column("Parquet file of the trial's readings.", default=None)
    artifacts_dir: str | None = _column("Folder with journal, stderr and reports.", default=None)


def record_columns() -> tuple[Field[Any], ...]:
    """The fields of a record in order, with their metadata `doc` and `unit`."""
    return fields(TrialRecord)
