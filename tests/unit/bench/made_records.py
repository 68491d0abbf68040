"""Trial records for tests: what must have a value has a plain one, everything else is what the test says or None."""

from __future__ import annotations

from typing import Any

from harness.core.record import TrialRecord
from harness.store.schema import RECORD_TYPES

_SAMPLES: dict[type, Any] = {str: "text", bool: False, int: 1, float: 1.0, dict: {}, tuple: ()}


def made_record(**changes: Any) -> TrialRecord:
    """A trial that has loaded, as expected, without a single figure."""
    values = {name: None if optional else _SAMPLES[plain] for name, (plain, optional) in RECORD_TYPES.items()}
    ended = {"state": "done", "outcome": "loaded", "outcome_family": "measured", "expected_outcome": "loaded"}
    return TrialRecord(**{**values, **ended, **changes})
