"""What is planted in the demo's nights, and what a report of the last night has to say of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from harness.analysis.metrics import METRICS
from harness.analysis.series import OUTCOME, CaseKey
from harness.bench.demo.kinds import Plant, Told
from harness.bench.demo.world import (
    DEFAULT_NIGHTS,
    INT4_CPU_COLD,
    INT4_CPU_WARM,
    INT4_GPU,
    LARGE_GPU,
    LAST_NIGHT,
    MIDDLE,
    NEW,
    OLD,
    Q8_CPU,
    Q8_GPU,
    SMALL_CPU,
    SMALL_GPU,
    SUITE,
    DemoCase,
    DeviceClass,
)
from harness.core.errors import UsageError
from harness.core.judgement import ConfirmationResult, TriageState, VerdictKind
from harness.core.outcome import Outcome
from harness.core.phone import PhoneKind

FEWEST_NIGHTS = 40
MOST_NIGHTS = 1000
_NIGHTS_BEFORE = 12
"""What is planted has so many nights before it, or is left out."""
_METRICS = tuple(metric.name for metric in METRICS)


@dataclass(frozen=True, kw_only=True)
class PlantedEvent:
    """One thing that happens to a case on a class of phones (None: to all)."""

    name: str
    plant: Plant
    words: str
    told: Told
    device: DeviceClass | None
    case: DemoCase | None
    ago: int
    """Its first night, counted back from the last one, which is 0."""
    until: int = 0
    """Its last night, counted so."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Column → what its level is multiplied by."""
    outcome: Outcome = Outcome.LOADED
    """Of trials that do not load."""
    with_new_app: bool = True
    """Whether a new build of the app comes with its first night; else it is the same build as the night before."""
    tonight: Mapping[str, VerdictKind] = field(default_factory=dict)
    """Metric or OUTCOME → verdict of the last night, of all that are not `same`."""
    triage: TriageState | None = None
    confirmation: ConfirmationResult | None = None

    @property
    def first(self) -> date:
        return LAST_NIGHT - timedelta(days=self.ago)

    @property
    def last(self) -> date:
        return LAST_NIGHT - timedelta(days=self.until)

    @property
    def case_key(self) -> CaseKey | None:
        """Of its case; None: it is about more than one."""
        if self.device is None or self.case is None:
            return None
        return case_key(self.device, self.case)

    @property
    def verdicts(self) -> dict[str, VerdictKind]:
        """Text of a series → its verdict of the last night, of all that are not `same`."""
        key = self.case_key
        return {} if key is None else {key.series(metric).text: kind for metric, kind in self.tonight.items()}

    def happens_to(self, device: DeviceClass, case: DemoCase, ago: int) -> bool:
        """Whether the case on that class is in it on that night."""
        return (
            self.until <= ago <= self.ago
            and (self.device is None or self.device is device)
            and (self.case is None or self.case is case)
        )


def case_key(device: DeviceClass, case: DemoCase) -> CaseKey:
    return CaseKey(PhoneKind.VIRTUAL.value, device.product_type, SUITE, case.name)


def planted(seed: int, nights: int = DEFAULT_NIGHTS) -> tuple[PlantedEvent, ...]:
    """Everything that is planted, latest first. The seed moves nights and sizes a little.

    Raises UsageError for a number of nights that is too small or too large.
    """
    if not FEWEST_NIGHTS <= nights <= MOST_NIGHTS:
        raise UsageError(f"--nights {nights}: from {FEWEST_NIGHTS} to {MOST_NIGHTS}")
    if seed < 0:
        raise UsageError(f"--seed {seed}: from 0")
    events = [one for one in _events(np.random.default_rng([seed, 1])) if one.ago <= nights - _NIGHTS_BEFORE]
    return tuple(sorted(events, key=lambda one: (one.ago, one.name)))


def _all(kind: VerdictKind, outcome: VerdictKind | None = None) -> dict[str, VerdictKind]:
    """The same of every metric, and of the outcome unless it has another."""
    return {**dict.fromkeys(_METRICS, kind), OUTCOME: outcome or kind}


def _events(random: np.random.Generator) -> Iterator[PlantedEvent]:
    def night(ago: int) -> int:
        return ago + int(random.integers(0, 2))

    def by(share: float) -> float:
        """A factor, up to a tenth of the share larger or smaller."""
        return 1 + share * float(random.uniform(0.9, 1.1))

    regressed, improved = VerdictKind.REGRESSED, VerdictKind.IMPROVED
    yield PlantedEvent(
        name="memory-tonight",
        plant=Plant.STEP,
        told=Told.TONIGHT,
        words="memory at its peak is larger since last night",
        device=NEW,
        case=INT4_CPU_COLD,
        ago=0,
        factors={"peak_footprint_bytes": by(0.17), "peak_resident_bytes": by(0.15)},
        tonight={"peak_footprint_bytes": regressed, "peak_resident_bytes": regressed},
    )
    yield PlantedEvent(
        name="death-tonight",
        plant=Plant.DEATH,
        told=Told.TONIGHT,
        words="loaded until the night before, std::bad_alloc since last night",
        device=OLD,
        case=Q8_CPU,
        ago=0,
        outcome=Outcome.BAD_ALLOC,
        tonight=_all(VerdictKind.MISSING, regressed),
    )
    yield PlantedEvent(
        name="recovery",
        plant=Plant.RECOVERY,
        told=Told.TONIGHT,
        words="the phone killed it for its memory for two weeks; since last night it loads again",
        device=MIDDLE,
        case=LARGE_GPU,
        ago=night(16),
        until=1,
        outcome=Outcome.JETSAM,
        tonight={OUTCOME: improved},
    )
    yield PlantedEvent(
        name="not-run",
        plant=Plant.ABSENT,
        told=Told.ABSENT,
        words="the case did not run, though its suite did",
        device=MIDDLE,
        case=SMALL_CPU,
        ago=1,
        tonight=_all(VerdictKind.MISSING),
    )
    yield PlantedEvent(
        name="phone-lost",
        plant=Plant.ABSENT,
        told=Told.TONIGHT,
        words="the phone left its cable: no trial says anything about the model",
        device=OLD,
        case=SMALL_GPU,
        ago=0,
        outcome=Outcome.LOST,
        tonight=_all(VerdictKind.MISSING),
    )
    yield PlantedEvent(
        name="faster-load",
        plant=Plant.STEP,
        told=Told.BETTER,
        words="loads faster since this week",
        device=NEW,
        case=Q8_GPU,
        ago=night(3),
        factors={"load_ns": by(-0.22)},
        tonight={"load_ns": improved},
    )
    yield PlantedEvent(
        name="slow-and-back",
        plant=Plant.STEP,
        told=Told.BETTER,
        words="decoded slower for ten nights; it is back",
        device=MIDDLE,
        case=Q8_CPU,
        ago=night(14),
        until=4,
        factors={"decode_tokens_per_s": by(-0.16)},
        tonight={"decode_tokens_per_s": improved},
    )
    yield PlantedEvent(
        name="new-model-file",
        plant=Plant.LINE,
        told=Told.NOTE,
        words="another model file: nothing to compare with yet",
        device=NEW,
        case=SMALL_CPU,
        ago=night(2),
        factors={"peak_footprint_bytes": 1.06, "load_ns": 1.04},
        tonight=_all(VerdictKind.INCOMPARABLE),
    )
    yield PlantedEvent(
        name="slow-load",
        plant=Plant.STEP,
        told=Told.OPEN,
        words="loads slower since a week; a re-run of both builds confirms it",
        device=NEW,
        case=Q8_CPU,
        ago=night(6),
        factors={"load_ns": by(0.19)},
        tonight={"load_ns": regressed},
        confirmation=ConfirmationResult.CONFIRMED,
    )
    yield PlantedEvent(
        name="slow-decode",
        plant=Plant.STEP,
        told=Told.OPEN,
        words="decodes slower since an update of iOS, with the same build of the app",
        device=MIDDLE,
        case=INT4_GPU,
        ago=night(9),
        factors={"decode_tokens_per_s": by(-0.1)},
        with_new_app=False,
        tonight={"decode_tokens_per_s": regressed},
    )
    yield PlantedEvent(
        name="flaky-gpu",
        plant=Plant.FLAKY,
        told=Told.OPEN,
        words="two of five trials end with a fault of the GPU on most nights",
        device=OLD,
        case=INT4_GPU,
        ago=night(11),
        until=1,
        outcome=Outcome.GPU_FAULT,
        tonight={OUTCOME: regressed},
    )
    yield PlantedEvent(
        name="death-known",
        plant=Plant.DEATH,
        told=Told.KNOWN,
        words="the phone kills it for its memory; acknowledged",
        device=OLD,
        case=Q8_GPU,
        ago=night(5),
        outcome=Outcome.JETSAM,
        tonight=_all(VerdictKind.MISSING, regressed),
        triage=TriageState.ACKNOWLEDGED,
    )
    yield PlantedEvent(
        name="slow-first-token",
        plant=Plant.STEP,
        told=Told.KNOWN,
        words="the first token comes later; acknowledged",
        device=MIDDLE,
        case=Q8_GPU,
        ago=night(12),
        factors={"ttft_ns": by(0.26)},
        tonight={"ttft_ns": regressed},
        triage=TriageState.ACKNOWLEDGED,
    )
    yield PlantedEvent(
        name="refuted",
        plant=Plant.STEP,
        told=Told.KNOWN,
        words="reads the prompt slower; a re-run of both builds refutes that it is the build",
        device=NEW,
        case=SMALL_GPU,
        ago=8,
        factors={"prefill_tokens_per_s": by(-0.13)},
        tonight={"prefill_tokens_per_s": VerdictKind.NOISY},
        confirmation=ConfirmationResult.REFUTED,
    )
    yield PlantedEvent(
        name="accepted",
        plant=Plant.STEP,
        told=Told.KNOWN,
        words="more memory is left after unload; accepted (won't fix)",
        device=OLD,
        case=SMALL_CPU,
        ago=night(20),
        factors={"leftover_footprint_bytes": by(0.45)},
        triage=TriageState.WONT_FIX,
    )
    yield from _history(night, by)


def _history(night: Callable[[int], int], by: Callable[[float], float]) -> Iterator[PlantedEvent]:
    """What is over, and lines."""
    yield PlantedEvent(
        name="smaller-memory",
        plant=Plant.STEP,
        told=Told.HISTORY,
        words="memory at its peak became smaller",
        device=MIDDLE,
        case=INT4_CPU_COLD,
        ago=night(33),
        factors={"peak_footprint_bytes": by(-0.15), "peak_resident_bytes": by(-0.12)},
    )
    yield PlantedEvent(
        name="memory-and-back",
        plant=Plant.STEP,
        told=Told.HISTORY,
        words="memory at its peak was larger for two weeks",
        device=NEW,
        case=INT4_CPU_WARM,
        ago=night(98),
        until=84,
        factors={"peak_footprint_bytes": by(0.2)},
    )
    yield PlantedEvent(
        name="ios-26",
        plant=Plant.LINE,
        told=Told.HISTORY,
        words="iOS 18.5 → 26.0",
        device=NEW,
        case=None,
        ago=night(40),
        factors={"ttft_ns": 0.94, "leftover_footprint_bytes": 1.08},
        with_new_app=False,
    )
    yield PlantedEvent(
        name="ios-18",
        plant=Plant.LINE,
        told=Told.HISTORY,
        words="iOS 17.7 → 18.5",
        device=OLD,
        case=None,
        ago=night(75),
        factors={"load_ns": 1.05},
        with_new_app=False,
    )
    yield PlantedEvent(
        name="engine",
        plant=Plant.LINE,
        told=Told.HISTORY,
        words="engine version 0.17.0 → 0.18.1",
        device=None,
        case=None,
        ago=night(60),
        factors={"decode_tokens_per_s": 1.12, "prefill_tokens_per_s": 1.08, "peak_footprint_bytes": 0.96},
    )
    for name, device, ago, until in (("away-old", OLD, 50, 45), ("away-middle", MIDDLE, 30, 28)):
        yield PlantedEvent(
            name=name,
            plant=Plant.AWAY,
            told=Told.HISTORY,
            words="the phone was not there",
            device=device,
            case=None,
            ago=ago,
            until=until,
        )
