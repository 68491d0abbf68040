"""What the newest run of a suite says of its cases: the one point that tools which keep histories are given.

May know `core` and `analysis`' words.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from harness.analysis.attempts import replaced
from harness.analysis.metrics import METRICS
from harness.analysis.series import CaseKey
from harness.core.outcome import EMULATED_GPU, Outcome
from harness.core.phone import PhoneKind
from harness.core.record import TrialRecord, TrialState, is_demo
from harness.core.text import printable

DEMO = "demo"
_DIGEST_CHARS = 12


@dataclass(frozen=True)
class Spread:
    """A figure over the trials that loaded, in its column's unit."""

    median: float
    lower: float
    """Lower quartile."""
    upper: float
    count: int


@dataclass(frozen=True)
class NewestRun:
    """A case on a device class, as the newest run of its suite saw it."""

    key: CaseKey
    demo: bool
    """Made by seed: no measurement."""
    gpu_emulated: bool
    run_id: str
    started_at: str
    """Of its last trial; ISO 8601, UTC."""
    outcomes: dict[str, int]
    """Most frequent first."""
    expected: bool
    """Every trial ended as it was expected to, within the suite's limits."""
    figures: dict[str, Spread]
    """By column; one that no trial has is not there."""
    limit_bytes: int | None
    build: str | None
    app_build: str | None
    engine_version: str | None
    os_version: str
    harness_version: str

    @property
    def virtual(self) -> bool:
        return self.key.device_kind == PhoneKind.VIRTUAL.value

    @property
    def name(self) -> str:
        """Stable from run to run; of a virtual phone it begins with `virtual/`, of a demo with `demo/`."""
        return series_name(self.key, demo=self.demo)

    @property
    def marks(self) -> tuple[str, ...]:
        """What keeps its figures from being a phone's."""
        told = {DEMO: self.demo, "virtual": self.virtual, "gpu emulated": self.gpu_emulated}
        return tuple(mark for mark, holds in told.items() if holds)


def series_name(key: CaseKey, *, demo: bool, metric: str | None = None) -> str:
    """The series' text as `harness verdicts` has it, with a mark on a demo's; without the metric, the case's."""
    text = key.series(metric or "").text.removesuffix(":" if metric is None else "")
    return f"{DEMO}/{text}" if demo else text


def key_of(record: TrialRecord) -> CaseKey:
    """What the trial is a trial of."""
    return CaseKey(record.device_kind, record.device_product_type, record.suite, record.case)


def counted(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Those that figures are about: done, no warm-ups, no attempts that were run again, no arms of comparisons."""
    # as `summary.counted` has it for frames; names of which pandas can make no text are counted here, too
    done = [one for one in records if one.state == TrialState.DONE.value and one.arm is None and one.ordinal >= 1]
    told = replaced((_place(one), one.attempt, one.cut_short) for one in done)
    return [one for one, is_replaced in zip(done, told, strict=True) if not is_replaced]


def newest_runs(records: Iterable[TrialRecord]) -> list[NewestRun]:
    """The cases of the newest run of each suite on each device class, in order of their names.

    A case that is not in it is left out: its figures of another night would be taken for this one's.
    """
    of_suite: dict[tuple[str, str, str], list[TrialRecord]] = defaultdict(list)
    for one in counted(records):
        of_suite[one.device_kind, one.device_product_type, one.suite].append(one)
    of_key: dict[CaseKey, list[TrialRecord]] = defaultdict(list)
    for trials in of_suite.values():
        newest = max(trials, key=lambda one: (one.started_at, one.trial_id)).run_id
        for one in trials:
            if one.run_id == newest:
                of_key[key_of(one)].append(one)
    return sorted((_newest(key, ones) for key, ones in of_key.items()), key=lambda run: run.name)


def bounded(text: str, limit: int) -> str:
    """One line, at most `limit` characters; what had to be changed ends in its digest: it stays different from others.

    Names of cases and phones come from files and phones: no tool is to be given what it cannot take, nor two things of
    one name, for which it refuses a whole file or drops one of them.
    """
    line = " ".join(printable(text).split()) or "none"
    if len(line) <= limit and line == (text or "none"):
        return line
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:_DIGEST_CHARS]
    return f"{line[: limit - _DIGEST_CHARS - 1]}~{digest}"


def number(value: float) -> int | float:
    """Whole numbers without a fraction: bytes are none of floats."""
    return int(value) if value.is_integer() else value


def moment(text: str | None) -> datetime | None:
    """A record's time; None for what is none, as another program may have left it."""
    try:
        found = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=UTC)


def _place(one: TrialRecord) -> tuple[str, str, str, int]:
    return (one.run_id, one.suite, one.case, one.ordinal)


def _newest(key: CaseKey, run: Sequence[TrialRecord]) -> NewestRun:
    last = max(run, key=lambda one: (one.started_at, one.trial_id))
    loaded = [one for one in run if one.outcome == Outcome.LOADED.value]
    names = [one.outcome or "running" for one in run]
    spreads = {metric.name: _spread([getattr(one, metric.name) for one in loaded]) for metric in METRICS}
    limits = [one.footprint_limit_bytes for one in run if one.footprint_limit_bytes is not None]
    return NewestRun(
        key=key,
        demo=any(is_demo(one.origin) for one in run),
        gpu_emulated=any(one.backend_effective == EMULATED_GPU for one in run),
        run_id=last.run_id,
        started_at=last.started_at,
        outcomes={name: names.count(name) for name in sorted(set(names), key=lambda one: (-names.count(one), one))},
        expected=all(one.outcome == one.expected_outcome and not one.broken_limits for one in run),
        figures={name: spread for name, spread in spreads.items() if spread is not None},
        limit_bytes=int(np.median(limits)) if limits else None,
        build=last.build,
        app_build=last.app_build,
        engine_version=next((one.engine_version for one in reversed(run) if one.engine_version is not None), None),
        os_version=last.device_os_version,
        harness_version=last.harness_version,
    )


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    lower, median, upper = (float(one) for one in np.percentile(known, (25, 50, 75)))
    return Spread(median, lower, upper, len(known))
