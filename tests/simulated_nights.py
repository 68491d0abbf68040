"""SIMULATED histories: records of nights that never were, for tests of verdicts. No phone, no model, no measurement.

Every record says so (`origin`, `harness_version`), so that one which got into real results would be found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from harness.analysis.metrics import METRICS
from harness.analysis.nightly import COLUMNS
from harness.core.outcome import Outcome
from harness.core.record import TrialRecord
from harness.store.schema import RECORD_TYPES

SIMULATED = "SIMULATED history of a test"
FIRST_NIGHT = date(2026, 1, 1)
LEVELS: dict[str, float] = {
    "peak_footprint_bytes": 100 * 2**20,
    "peak_resident_bytes": 120 * 2**20,
    "leftover_footprint_bytes": 20 * 2**20,
    "load_ns": 500e6,
    "ttft_ns": 60e6,
    "prefill_tokens_per_s": 300.0,
    "decode_tokens_per_s": 40.0,
}
"""About what a small model takes; the values mean nothing."""
_SAMPLES: dict[type, Any] = {str: "", bool: False, int: 1, float: 1.0, dict: {}, tuple: ()}
_METRIC_NAMES = tuple(metric.name for metric in METRICS)


@dataclass(frozen=True)
class SimulatedNight:
    """One case on one night; `factors` multiply the levels of metrics."""

    factors: dict[str, float] = field(default_factory=dict)
    outcomes: tuple[str, ...] = ("loaded",) * 5
    """Of the trials, in order; a trial that did not load has no figure."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Of all records of the night."""


@dataclass
class SimulatedHistory:
    """Nights of a case, with the noise that is asked for: trials vary by `noise`, nights by half as much."""

    case: str = "tiny/litert_lm/cpu/cold"
    suite: str = "simulated"
    noise: float = 0.01
    seed: int = 1
    levels: dict[str, float] = field(default_factory=lambda: dict(LEVELS))
    columns: dict[str, Any] = field(default_factory=dict)

    def records(self, nights: Sequence[SimulatedNight | None], first: date = FIRST_NIGHT) -> Iterator[TrialRecord]:
        """Records of consecutive nights; None: the case did not run."""
        random = np.random.default_rng(self.seed)
        for number, night in enumerate(nights):
            between = random.normal(0, self.noise / 2, len(_METRIC_NAMES))
            if night is not None:
                yield from self._of_night(random, between, night, first + timedelta(days=number))

    def _of_night(
        self, random: np.random.Generator, between: np.ndarray[Any, Any], night: SimulatedNight, day: date
    ) -> Iterator[TrialRecord]:
        # in the small hours after the evening that the night is named by
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=2)
        for ordinal, outcome in enumerate(night.outcomes, start=1):
            within = random.normal(0, self.noise * 0.87, len(_METRIC_NAMES))
            figures = {
                name: self.levels[name] * night.factors.get(name, 1.0) * (1 + between[place] + within[place])
                for place, name in enumerate(_METRIC_NAMES)
                if name in self.levels
            }
            yield simulated_record(
                trial_id=f"{day:%Y%m%d}-{self.suite}-{ordinal:02d}-{crc32(self.case.encode()):08x}",
                run_id=f"{day:%Y%m%d}-{self.suite}",
                suite=self.suite,
                case=self.case,
                ordinal=ordinal,
                started_at=(begin + timedelta(minutes=ordinal)).isoformat(),
                outcome=outcome,
                **(_rounded(figures) if outcome == Outcome.LOADED else {}),
                **{**self.columns, **night.columns},
            )


def _rounded(figures: dict[str, float]) -> dict[str, float | int]:
    return {name: round(value) if name.endswith(("_ns", "_bytes")) else value for name, value in figures.items()}


def simulated_record(**changes: Any) -> TrialRecord:
    """A record with what every record has, and the mark that it is simulated."""
    values = {name: None if optional else _SAMPLES[plain] for name, (plain, optional) in RECORD_TYPES.items()}
    outcome = Outcome(changes.get("outcome", "loaded"))
    usual = {
        "state": "done",
        "outcome": outcome.value,
        "outcome_family": outcome.family.value,
        "expected_outcome": "loaded",
        "harness_version": SIMULATED,
        "origin": SIMULATED,
        "device_kind": "virtual",
        "device_product_type": "iPhone17,1",
        "device_udid": "00008140-000000000000SIM1",
        "device_os_version": "18.5",
        "device_os_build": "22F76",
        "engine": "litert_lm",
        "engine_version": "0.18.1",
        "backend_requested": "cpu",
        "backend_effective": "cpu",
        "cache_state": "cold",
        "model_name": "simulated",
        "model_file": "simulated.task",
        "model_sha256": "0" * 64,
        "app_build": "a" * 16,
    }
    return TrialRecord(**{**values, **usual, **changes})


def frame_of(records: Iterator[TrialRecord] | Sequence[TrialRecord]) -> pd.DataFrame:
    """As `ResultStore.columns` gives it, with what verdicts read."""
    kinds: dict[type, Any] = {bool: "boolean", int: "Int64", float: "Float64", str: "string"}
    kept = list(records)
    return pd.DataFrame(
        {
            name: pd.Series([getattr(record, name) for record in kept], dtype=kinds.get(plain, object))
            for name, (plain, _) in RECORD_TYPES.items()
            if name in COLUMNS
        }
    )
