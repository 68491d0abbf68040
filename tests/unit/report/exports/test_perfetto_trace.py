"""A trace, decoded again with Perfetto's own messages and held against the record, event by event."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]  # has no py.typed
    CounterDescriptor,
    Trace,
    TrackEvent,
)

from harness.core.record import TrialRecord
from harness.core.telemetry import Cut, HostStep, Notice, Phase, Reading, SampleGap, Source
from harness.report.exports.perfetto import perfetto_trace
from harness.store.telemetry import ReadingArrays, read_arrays, write_parquet
from tests.kept_trials import a_trial

S = 10**9
APP, HOST = (
    "org.example.runner, virtual iPhone17,1 (iOS 18.5)",
    "harness on the host, driving virtual iPhone17,1 (iOS 18.5)",
)
READINGS = [
    Reading(Source.APP, 2 * S, 1, footprint_bytes=100, thermal=0),
    Reading(Source.APP, 3 * S, 2, footprint_bytes=100, thermal=0),
    Reading(Source.APP, 4 * S, 3, footprint_bytes=100, thermal=1),
    Reading(Source.APP, 5 * S, 4, footprint_bytes=300),
    Reading(Source.HOST, 6 * S, footprint_bytes=310),
]


def a_record(**changes: Any) -> TrialRecord:
    usual: dict[str, Any] = {
        "app_bundle_id": "org.example.runner",
        "pid": 77,
        "footprint_limit_bytes": 1000,
        "phases": (Phase("load", 2 * S, 4 * S), Phase("map", 3 * S, 5 * S), Phase("decode", 5 * S, None)),
        "notices": (Notice("memory_warning", 4 * S), Notice("thermal", 5 * S, "serious")),
        "sample_gaps": (SampleGap(4 * S, S),),
        "host_steps": (
            HostStep("launch", 101 * S, 102 * S, S, 2 * S),
            HostStep("run", 102 * S, None, 2 * S, None),
            HostStep("no clock", 90 * S, 91 * S),
        ),
        "cuts": (Cut(105 * S, 106 * S, 5 * S, 6 * S),),
        "reason": "ok",
    }
    return a_trial(**(usual | changes))


@pytest.fixture
def readings(tmp_path: Path) -> ReadingArrays:
    return frame(tmp_path, READINGS)


def frame(folder: Path, readings: list[Reading]) -> ReadingArrays:
    write_parquet(folder / "readings.parquet", readings)
    return read_arrays(folder / "readings.parquet")


@dataclass
class Track:
    """What a trace says of a track."""

    name: str
    parent: str | None
    unit: int
    slices: list[tuple[str, int, int | None]] = field(default_factory=list)
    instants: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)


def decoded(trace: bytes) -> list[Track]:
    """The tracks, in order. Checks what every reader asks for: a descriptor before the events, slices nested."""
    tracks: dict[int, Track] = {}
    open_slices: dict[int, list[tuple[str, int]]] = {}
    packets = list(Trace.FromString(trace).packet)
    assert packets[0].sequence_flags == 1
    for packet in packets:
        assert packet.trusted_packet_sequence_id == 1
        if packet.HasField("track_descriptor"):
            told = packet.track_descriptor
            name = told.process.process_name if told.HasField("process") else told.name
            parent = tracks[told.parent_uuid].name if told.parent_uuid else None
            tracks[told.uuid] = Track(name, parent, told.counter.unit)
            continue
        event = packet.track_event
        track, at_ns = tracks[event.track_uuid], packet.timestamp
        if event.type == TrackEvent.TYPE_COUNTER:
            track.counts.append((at_ns, event.counter_value))
        elif event.type == TrackEvent.TYPE_INSTANT:
            more = {one.name: one.string_value or one.int_value for one in event.debug_annotations}
            track.instants.append((at_ns, event.name, more))
        elif event.type == TrackEvent.TYPE_SLICE_BEGIN:
            open_slices.setdefault(event.track_uuid, []).append((event.name, at_ns))
        else:
            assert event.type == TrackEvent.TYPE_SLICE_END
            name, begin_ns = open_slices[event.track_uuid].pop()
            assert at_ns >= begin_ns
            track.slices.append((name, begin_ns, at_ns))
    for uuid, left in open_slices.items():
        tracks[uuid].slices += [(name, begin_ns, None) for name, begin_ns in left]
    return list(tracks.values())


def test_every_event_is_where_the_record_has_it(readings: ReadingArrays) -> None:
    tracks = decoded(perfetto_trace(a_record(), readings))
    assert [(one.name, one.parent) for one in tracks if one.parent is None] == [(APP, None), (HOST, None)]
    slices = [(one.parent, one.name, one.slices) for one in tracks if one.slices]
    assert slices == [
        (APP, "phases", [("load", 2 * S, 4 * S), ("decode", 5 * S, None)]),
        (APP, "phases", [("map", 3 * S, 5 * S)]),
        (APP, "no samples", [("no samples", 4 * S, 5 * S)]),
        (HOST, "steps", [("launch", S, 2 * S), ("run", 2 * S, None)]),
        (HOST, "presence", [("phone not attached", 5 * S, 6 * S)]),
    ]
    notices, trial = [one for one in tracks if one.instants]
    assert (notices.parent, notices.instants) == (
        APP,
        [(4 * S, "memory_warning", {}), (5 * S, "thermal", {"text": "serious"})],
    )
    ((at_ns, name, told),) = trial.instants
    assert (at_ns, name) == (S, "trial 20261122-1")
    assert told["device_kind"] == "virtual"
    assert told["ordinal"] == 1
    assert "build" not in told


def test_counters_are_the_readings_and_what_is_missing_has_no_track(readings: ReadingArrays) -> None:
    counters = {one.name: one for one in decoded(perfetto_trace(a_record(), readings)) if one.counts}
    assert {name: (one.parent, one.counts) for name, one in counters.items()} == {
        # the reading in the middle of a level says nothing new
        "footprint": (APP, [(2 * S, 100), (4 * S, 100), (5 * S, 300)]),
        "thermal state": (APP, [(2 * S, 0), (3 * S, 0), (4 * S, 1)]),
        "footprint limit": (APP, [(2 * S, 1000), (6 * S, 1000)]),
        "footprint (system monitor)": (HOST, [(6 * S, 310)]),
    }
    assert counters["footprint"].unit == CounterDescriptor.UNIT_SIZE_BYTES
    assert counters["thermal state"].unit == CounterDescriptor.UNIT_COUNT


def test_equal_input_gives_equal_bytes(readings: ReadingArrays) -> None:
    assert perfetto_trace(a_record(), readings) == perfetto_trace(a_record(), readings)


def test_a_trial_that_left_next_to_nothing_is_still_a_trace(tmp_path: Path) -> None:
    bare = a_record(phases=(), notices=(), sample_gaps=(), host_steps=(), cuts=(), pid=None, app_bundle_id=None)
    tracks = decoded(perfetto_trace(bare, frame(tmp_path, [])))
    assert [one.name for one in tracks] == ["runner app, virtual iPhone17,1 (iOS 18.5)", HOST]


def test_what_was_before_the_apps_clock_is_left_out(tmp_path: Path) -> None:
    record = a_record(
        phases=(Phase("before", -5, -1), Phase("across", -5, 7), Phase("backwards", 9, 8)),
        notices=(Notice("early", -1),),
        host_steps=(),
        cuts=(),
        sample_gaps=(),
    )
    tracks = decoded(perfetto_trace(record, frame(tmp_path, [Reading(Source.APP, -3, 1, footprint_bytes=5)])))
    assert [one.slices for one in tracks if one.slices] == [[("across", 0, 7), ("backwards", 9, 9)]]
    assert not [one for one in tracks if one.counts]


def test_hostile_names_are_names(readings: ReadingArrays) -> None:
    hostile = "<script>\x00\ud800" + "x" * 10_000
    record = a_record(phases=(Phase(hostile, S, 2 * S),), device_product_type=hostile, origin="demo, seed 7")
    tracks = decoded(perfetto_trace(record, readings))
    (phase,) = next(one for one in tracks if one.name == "phases").slices
    assert phase[0].startswith("<script>")
    assert len(phase[0]) < 2100
    assert "demo virtual <script>" in tracks[0].name


def test_the_trace_processor_reads_it(tmp_path: Path, readings: ReadingArrays) -> None:
    """Perfetto's own reader, where it is installed: its package on PyPI fetches it from a server when first asked."""
    program = shutil.which("trace_processor_shell") or shutil.which("trace_processor")
    if program is None:
        pytest.skip("trace_processor_shell is not on the PATH")
    trace = tmp_path / "trial.pftrace"
    trace.write_bytes(perfetto_trace(a_record(), readings))
    query = tmp_path / "query.sql"
    query.write_text("select name, ts, dur from slice where dur > 0 order by ts, name;")
    answer = subprocess.run([program, "-q", str(query), str(trace)], capture_output=True, text=True, check=True)
    assert f'"load",{2 * S},{2 * S}' in answer.stdout
