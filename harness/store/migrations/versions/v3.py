"""Version 3: attempts, variants and copies, what a model's file says, predictions, notices, broken limits."""

from __future__ import annotations

from harness.store.migrations.columns import INTEGER, NUMBER, TEXT, YES_OR_NO, New, bring, integers, texts
from harness.store.migrations.late import bring_late

revision = "3"
down_revision = "2"

# whoever ran version 2 before the Swift runner came has none of these
_LATE_IN_2 = [*texts("prewarm"), *integers("prewarm_chunk_bytes", "guard_reserve_bytes"), New("warmup", YES_OR_NO)]
_COLUMNS = [
    # nothing was ever run again before there was `--resume`
    New("attempt", INTEGER, 1),
    *texts("suite_digest", "model_format", "preflight", "preflight_reason", "broken_limits"),
    *integers(
        "model_context",
        "model_signatures",
        "model_weight_bytes",
        "predicted_peak_footprint_bytes",
        "predicted_address_bytes",
        "allocation_limit_bytes",
    ),
    New("prediction_error", NUMBER),
    # there was one build of the app, with the entitlements that are now called `plain`
    New("app_variant", TEXT, "plain"),
]


def upgrade() -> None:
    bring([*_LATE_IN_2, *_COLUMNS])
    bring_late()
