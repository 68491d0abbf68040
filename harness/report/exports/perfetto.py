"""A trial as a trace for https://ui.perfetto.dev, made with Perfetto's own builder.

Times are the app's clock, in nanoseconds. Counters hold their value until the next one; a stretch in which none was
taken is a slice of its own track, and a figure that the platform does not have has no track. The format:
https://perfetto.dev/docs/reference/synthetic-track-event
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]  # has no py.typed
    CounterDescriptor,
    Trace,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)
from perfetto.trace_builder.proto_builder import (  # type: ignore[import-untyped]  # the same package
    StreamingTraceProtoBuilder,
)

from harness.core.record import TrialRecord, is_demo
from harness.core.telemetry import Source
from harness.core.text import printable
from harness.report.exports.newest import DEMO

if TYPE_CHECKING:
    from harness.store.telemetry import ReadingArrays

SEQUENCE_ID = 1
MAX_TEXT_CHARS = 2_000
LIMIT = "footprint limit"
_NO_COUNTER = ("seq",)
_TOLD = (
    "trial_id",
    "run_id",
    "suite",
    "case",
    "ordinal",
    "outcome",
    "expected_outcome",
    "reason",
    "started_at",
    "device_kind",
    "device_product_type",
    "device_os_version",
    "device_settings",
    "origin",
    "build",
    "engine",
    "engine_version",
    "model_name",
    "model_file",
    "backend_requested",
    "backend_effective",
    "cache_state",
    "harness_version",
)
"""Columns that the trace itself says."""


@dataclass(frozen=True)
class Span:
    """A slice; `end_ns` None: it never ended, and Perfetto says so."""

    name: str
    begin_ns: int
    end_ns: int | None


def perfetto_trace(record: TrialRecord, readings: ReadingArrays) -> bytes:
    """The trace file of one trial; equal input, equal bytes.

    What has no time on the app's clock (the offset of the clocks was not measured), or one before it began, is left
    out.
    """
    out = io.BytesIO()
    trace = _Trace(out)
    where = _device(record)
    app = trace.process(f"{_text(record.app_bundle_id or 'runner app')}, {where}", record.pid)
    trace.slices(app, "phases", [Span(one.name, one.begin_ns, one.end_ns) for one in record.phases])
    notices = [(one.at_ns, one.kind, {} if one.text is None else {"text": one.text}) for one in record.notices]
    trace.instants(app, "notices", notices)
    trace.slices(
        app,
        "no samples",
        [Span("no samples", one.begin_ns, one.begin_ns + one.length_ns) for one in record.sample_gaps],
    )
    _counters(trace, app, readings, Source.APP)
    _limit(trace, app, record, readings)
    host = trace.process(f"harness on the host, driving {where}", None)
    steps = [
        Span(one.name, one.app_begin_ns, one.app_end_ns) for one in record.host_steps if one.app_begin_ns is not None
    ]
    trace.slices(host, "steps", steps)
    cuts = [
        Span("phone not attached", one.app_gone_ns, one.app_back_ns)
        for one in record.cuts
        if one.app_gone_ns is not None
    ]
    trace.slices(host, "presence", cuts)
    _counters(trace, host, readings, Source.HOST)
    first = _first_time(record, steps, readings)
    if first is not None:
        told = {name: value for name in _TOLD if (value := getattr(record, name)) not in (None, "")}
        trace.instants(host, "trial", [(first, f"trial {record.trial_id}", told)])
    return out.getvalue()


def _counters(trace: _Trace, parent: int, readings: ReadingArrays, source: Source) -> None:
    of_source = readings.of_app if source is Source.APP else readings.of_host
    for name, column in readings.columns.items():
        if name in _NO_COUNTER:
            continue
        known = of_source & column.known
        times, values = readings.t_ns[known], column.values[known]
        kept = _edges(values) & (times >= 0)
        points = list(zip(times[kept].tolist(), values[kept].tolist(), strict=True))
        trace.counter(parent, _counter_name(name, source), name, points)


def _edges(values: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which values say something: those that differ from the one before or after, the first and the last."""
    if values.size == 0:
        return np.zeros(0, dtype=bool)
    changes = values[1:] != values[:-1]
    edges: np.ndarray[Any, np.dtype[np.bool_]] = np.append(True, changes) | np.append(changes, True)
    return edges


def _counter_name(column: str, source: Source) -> str:
    plain = {"cpu_ns": "CPU time", "thermal": "thermal state"}.get(column, column.removesuffix("_bytes"))
    return plain if source is Source.APP else f"{plain} (system monitor)"


def _limit(trace: _Trace, parent: int, record: TrialRecord, readings: ReadingArrays) -> None:
    if record.footprint_limit_bytes is None:
        return
    ends = sorted({*readings.t_ns[:1].tolist(), *readings.t_ns[-1:].tolist()})
    points = [(at, record.footprint_limit_bytes) for at in ends if at >= 0]
    trace.counter(parent, LIMIT, "footprint_limit_bytes", points)


def _first_time(record: TrialRecord, steps: Sequence[Span], readings: ReadingArrays) -> int | None:
    times = [one.begin_ns for one in record.phases] + [one.begin_ns for one in steps]
    times += readings.t_ns[:1].tolist()
    return min((one for one in times if one >= 0), default=None)


def _device(record: TrialRecord) -> str:
    marks = [
        mark for mark, holds in ((DEMO, is_demo(record.origin)), ("virtual", record.device_kind == "virtual")) if holds
    ]
    return _text(f"{' '.join([*marks, record.device_product_type])} (iOS {record.device_os_version})")


def _text(text: str) -> str:
    plain = printable(text)
    return plain if len(plain) <= MAX_TEXT_CHARS else f"{plain[:MAX_TEXT_CHARS]}…"


class _Trace:
    """Packets of one sequence; tracks are numbered in the order in which they are made."""

    def __init__(self, out: io.BytesIO) -> None:
        self._out = out
        self._builder = StreamingTraceProtoBuilder(out)
        self._tracks = 0
        self._first = True

    def process(self, name: str, pid: int | None) -> int:
        """A group of tracks; with a pid it is a process."""
        descriptor = self._descriptor(name if pid is None else None, None)
        descriptor.child_ordering = TrackDescriptor.EXPLICIT
        if pid is not None:
            descriptor.process.pid = pid & 0x7FFFFFFF
            descriptor.process.process_name = name
        return self._write_track(descriptor)

    def slices(self, parent: int, name: str, spans: Iterable[Span]) -> None:
        """A track; where spans overlap, as many as it takes: slices of one must be nested."""
        lanes: list[list[Span]] = []
        known = [one for one in spans if one.end_ns is None or one.end_ns >= 0]
        for span in sorted(known, key=lambda one: one.begin_ns):
            free = next((lane for lane in lanes if _ended(lane[-1], span.begin_ns)), None)
            if free is None:
                lanes.append([span])
            else:
                free.append(span)
        for lane in lanes:
            track = self._write_track(self._descriptor(name, parent))
            for span in lane:
                begin_ns = max(0, span.begin_ns)
                self._event(begin_ns, track, TrackEvent.TYPE_SLICE_BEGIN, span.name)
                if span.end_ns is not None:
                    self._event(max(begin_ns, span.end_ns), track, TrackEvent.TYPE_SLICE_END)

    def instants(self, parent: int, name: str, moments: Sequence[tuple[int, str, dict[str, Any]]]) -> None:
        """Moments on one track: when, what, and more about it."""
        known = [one for one in moments if one[0] >= 0]
        if not known:
            return
        track = self._write_track(self._descriptor(name, parent))
        for at_ns, what, more in sorted(known, key=lambda one: one[0]):
            self._event(at_ns, track, TrackEvent.TYPE_INSTANT, what, more)

    def counter(self, parent: int, name: str, column: str, points: Sequence[tuple[int, int]]) -> None:
        """A counter's values; without any there is no track."""
        if not points:
            return
        descriptor = self._descriptor(name, parent)
        descriptor.counter.unit = _unit(column)
        track = self._write_track(descriptor)
        # values are nearly all of a trace: a message that is told them in turn costs a third of the builder's own
        trace = Trace()
        trace.packet.append(self._packet(0))
        packet = trace.packet[0]
        event = packet.track_event
        event.type, event.track_uuid = TrackEvent.TYPE_COUNTER, track
        for at_ns, value in points:
            packet.timestamp, event.counter_value = at_ns, value
            self._out.write(trace.SerializeToString())

    def _descriptor(self, name: str | None, parent: int | None) -> Any:
        self._tracks += 1
        descriptor = TrackDescriptor(uuid=self._tracks, sibling_order_rank=self._tracks)
        if name is not None:
            descriptor.name = name
        if parent is not None:
            descriptor.parent_uuid = parent
        return descriptor

    def _write_track(self, descriptor: Any) -> int:
        packet = self._packet(None)
        packet.track_descriptor.CopyFrom(descriptor)
        self._builder.write_packet(packet)
        return int(descriptor.uuid)

    def _event(self, at_ns: int, track: int, kind: Any, name: str = "", more: dict[str, Any] | None = None) -> None:
        packet = self._packet(at_ns)
        event = packet.track_event
        event.type, event.track_uuid = kind, track
        if name:
            event.name = _text(name)
        for key, value in (more or {}).items():
            note = event.debug_annotations.add()
            note.name = key
            if isinstance(value, int):
                note.int_value = value
            else:
                note.string_value = _text(str(value))
        self._builder.write_packet(packet)

    def _packet(self, at_ns: int | None) -> Any:
        packet = self._builder.create_packet()
        packet.trusted_packet_sequence_id = SEQUENCE_ID
        if at_ns is not None:
            packet.timestamp = at_ns
        if self._first:
            packet.sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
            self._first = False
        return packet


def _ended(span: Span, by_ns: int) -> bool:
    return span.end_ns is not None and span.end_ns <= by_ns


def _unit(column: str) -> Any:
    if column.endswith("_bytes"):
        return CounterDescriptor.UNIT_SIZE_BYTES
    return CounterDescriptor.UNIT_TIME_NS if column.endswith("_ns") else CounterDescriptor.UNIT_COUNT
