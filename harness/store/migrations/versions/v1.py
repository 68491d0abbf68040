"""Version 1: trials, whose they are, and the version itself."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import Column
from sqlalchemy.types import TypeEngine

from harness.store.migrations.columns import INTEGER, NUMBER, OBJECT, TEXT, TRIALS

revision = "1"
down_revision = None

_NEVER_NULL: dict[str, TypeEngine[Any]] = {
    "trial_id": TEXT,
    "run_id": TEXT,
    "suite": TEXT,
    "case": TEXT,
    "ordinal": INTEGER,
    "state": TEXT,
    "started_at": TEXT,
    "host_pid": INTEGER,
    "harness_version": TEXT,
    "device_kind": TEXT,
    "device_udid": TEXT,
    "device_product_type": TEXT,
    "device_os_version": TEXT,
    "device_os_build": TEXT,
    "device_settings": TEXT,
    "engine": TEXT,
    "model_name": TEXT,
    "model_file": TEXT,
    "model_sha256": TEXT,
    "model_bytes": INTEGER,
    "backend_requested": TEXT,
    "cache_state": TEXT,
    "max_tokens": INTEGER,
    "decode_tokens": INTEGER,
    "sample_hz": INTEGER,
    "seed": INTEGER,
    "expected_outcome": TEXT,
    "evidence": OBJECT,
    "phases": OBJECT,
}
_OPTIONAL: dict[str, TypeEngine[Any]] = {
    "finished_at": TEXT,
    "battery_celsius": NUMBER,
    "app_bundle_id": TEXT,
    "app_build": TEXT,
    "app_entitlements": OBJECT,
    "engine_version": TEXT,
    "model_quantization": TEXT,
    "backend_effective": TEXT,
    "backend_how": TEXT,
    "outcome": TEXT,
    "outcome_family": TEXT,
    "reason": TEXT,
    "pid": INTEGER,
    "load_ns": INTEGER,
    "ttft_ns": INTEGER,
    "prefill_tokens": INTEGER,
    "prefill_tokens_per_s": NUMBER,
    "decoded_tokens": INTEGER,
    "decode_tokens_per_s": NUMBER,
    "peak_footprint_bytes": INTEGER,
    "peak_resident_bytes": INTEGER,
    "kernel_peak_resident_bytes": INTEGER,
    "leftover_footprint_bytes": INTEGER,
    "footprint_limit_bytes": INTEGER,
    "host_peak_footprint_bytes": INTEGER,
    "output_sha256": TEXT,
    "sample_count": INTEGER,
    "sample_gap_max_ns": INTEGER,
    "last_sample_ns": INTEGER,
    "seq_missing": INTEGER,
    "clock_offset_ns": INTEGER,
    "clock_round_trip_ns": INTEGER,
    "telemetry_file": TEXT,
    "artifacts_dir": TEXT,
}


def upgrade() -> None:
    op.create_table("meta", Column("key", TEXT, primary_key=True), Column("value", TEXT, nullable=False))
    op.create_table(
        TRIALS,
        *(Column(name, kind, primary_key=name == "trial_id", nullable=False) for name, kind in _NEVER_NULL.items()),
        *(Column(name, kind) for name, kind in _OPTIONAL.items()),
    )
    op.create_index("trials_of_case", TRIALS, ["case", "trial_id"])
    op.create_table("claims", Column("trial_id", TEXT, primary_key=True), Column("owner", TEXT, nullable=False))
