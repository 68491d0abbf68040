"""Version 2: the phone's condition, the harness's own steps, gaps and cuts, clocks at the end, load techniques."""

from __future__ import annotations

from harness.store.migrations.columns import NUMBER, OBJECT, YES_OR_NO, New, bring, integers, texts

revision = "2"
down_revision = "1"

# the first databases of version 1 had no battery
_LATE_IN_1 = [New("battery_celsius", NUMBER)]
_COLUMNS = [
    *texts("transport", "thermal_state_start", "prewarm"),
    *integers(
        "battery_percent",
        "free_bytes",
        "ram_bytes",
        "cooled_ns",
        "prewarm_chunk_bytes",
        "guard_reserve_bytes",
        "sample_gap_count",
        "sample_gap_limit_ns",
        "clock_offset_end_ns",
        "clock_round_trip_end_ns",
        "phone_clock_offset_ns",
        "phone_clock_offset_end_ns",
    ),
    *(
        New(name, YES_OR_NO)
        for name in ("battery_charging", "low_power", "phone_locked", "developer_mode", "developer_image", "warmup")
    ),
    # Version 1 kept none of these three. Empty is all that the record can say; `sample_gap_count`, null, says that
    # nobody counted.
    New("host_steps", OBJECT, []),
    New("cuts", OBJECT, []),
    New("sample_gaps", OBJECT, []),
]


def upgrade() -> None:
    bring([*_LATE_IN_1, *_COLUMNS])
