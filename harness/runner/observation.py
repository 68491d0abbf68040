"""What the events of a trial say, taken together. Pure: the same events give the same observation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.core.telemetry import WIRE_COLUMNS, Notice, Phase, Reading, Source
from harness.runner.messages import (
    BackendEvent,
    ErrorEvent,
    Event,
    HelloEvent,
    LogEvent,
    NoticeEvent,
    PhaseEvent,
    ResultEvent,
    SampleEvent,
    TokenEvent,
)

# A trial has a dozen; a runner that sends more than this is broken.
MAX_PHASES = 1_000
# A phone warns a few times at most; the rest stays in the journal.
MAX_NOTICES = 64
MAX_NOTICE_CHARS = 128


@dataclass
class Observation:
    """None: no such event came."""

    hello: HelloEvent | None = None
    backend: BackendEvent | None = None
    result: ResultEvent | None = None
    error: ErrorEvent | None = None
    phases: list[Phase] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    log_lines: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    token_count: int | None = None

    @property
    def last_phase(self) -> str | None:
        """The phase in which the process was last known to be: the last one begun and not ended, else the last."""
        open_phases = [phase for phase in self.phases if phase.end_ns is None]
        last = (open_phases or self.phases)[-1:]
        return last[0].name if last else None


def observe(events: Iterable[Event]) -> Observation:
    """Reads events in order of `seq`; samples before the hello (which names their columns) cannot be read."""
    seen = Observation()
    columns: Sequence[str] = ()
    for event in events:
        match event:
            case HelloEvent():
                seen.hello = event
                columns = event.sample_columns
            case SampleEvent():
                reading = read_sample(event, columns)
                if reading is not None:
                    seen.readings.append(reading)
            case PhaseEvent():
                _note_phase(seen.phases, event)
            case BackendEvent():
                seen.backend = event
            case ResultEvent():
                seen.result = event
            case ErrorEvent() if event.trial is not None:
                seen.error = event
            case TokenEvent():
                seen.token_count = event.count
            case LogEvent():
                seen.log_lines.append(event.line)
            case NoticeEvent():
                _note_notice(seen.notices, event)
            case _:
                pass
    return seen


def read_sample(event: SampleEvent, columns: Sequence[str]) -> Reading | None:
    """The sample under our column names; None when it does not have as many values as the hello named columns."""
    if len(event.d) != len(columns):
        return None
    named = {WIRE_COLUMNS[name]: value for name, value in zip(columns, event.d, strict=True) if name in WIRE_COLUMNS}
    return Reading(source=Source.APP, t_ns=event.t, seq=event.seq, **named)


def _note_notice(notices: list[Notice], event: NoticeEvent) -> None:
    if len(notices) < MAX_NOTICES:
        text = None if event.text is None else event.text[:MAX_NOTICE_CHARS]
        notices.append(Notice(event.kind, event.t, text))


def _note_phase(phases: list[Phase], event: PhaseEvent) -> None:
    if event.edge == "begin":
        if len(phases) < MAX_PHASES:
            phases.append(Phase(event.name, event.t))
        return
    for index in range(len(phases) - 1, -1, -1):
        phase = phases[index]
        if phase.name == event.name and phase.end_ns is None:
            phases[index] = Phase(phase.name, phase.begin_ns, event.t, event.kernel_peak_resident)
            return
