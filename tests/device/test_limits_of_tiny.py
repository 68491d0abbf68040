"""What `pytest --device=…` runs beside the suites: hand-written tests with the `phone` and `load` fixtures."""

from __future__ import annotations

from collections.abc import Callable

from harness.core.phone import PhoneFacts
from harness.core.record import TrialRecord

# the tiny model has 0.2 MB: what is used beyond it is the app's own
TINY_LIMIT_BYTES = 64 * 1024 * 1024


def test_a_tiny_model_stays_small(phone: PhoneFacts, load: Callable[..., TrialRecord]) -> None:
    record = load("tiny", cache="none")
    assert record.device_udid == phone.udid
    assert record.peak_footprint_bytes is not None
    assert record.peak_footprint_bytes < TINY_LIMIT_BYTES


def test_reading_the_file_is_the_floor(load: Callable[..., TrialRecord]) -> None:
    loaded, read = load("tiny", cache="none"), load("tiny", engine="read", cache="none")
    assert read.peak_footprint_bytes is not None
    assert loaded.peak_footprint_bytes is not None
    assert read.peak_footprint_bytes < loaded.peak_footprint_bytes
