"""The host's end of the wire language: any split of the bytes gives the same events; garbage is refused by name."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import DeviceError
from harness.runner.framing import MAX_LINE_BYTES, FramingError, LineSplitter
from harness.runner.journal import merge, parse_journal
from harness.runner.messages import Event, HeartbeatEvent, MessageError, UnknownEvent, parse_event
from harness.runner.session import Session

FIXTURES = Path("ios_runner_app/Tests/Fixtures")


def heartbeat(seq: int) -> bytes:
    return json.dumps({"v": 1, "seq": seq, "t": seq * 1000, "ev": "heartbeat"}).encode() + b"\n"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(st.integers(0, 2000)), st.integers(1, 20))
def test_any_split_gives_the_same_events(cuts: list[int], count: int) -> None:
    stream = b"".join(heartbeat(seq) for seq in range(1, count + 1))
    session = Session()
    events = [event for piece in split(stream, cuts) for event in session.receive_data(piece)]
    assert [event.seq for event in events] == list(range(1, count + 1))
    assert session.missing == 0


@given(st.lists(st.sampled_from(range(1, 12)), min_size=1))
def test_gaps_are_counted_and_repetitions_dropped(order: list[int]) -> None:
    session = Session()
    seen = [event.seq for seq in order for event in session.receive_data(heartbeat(seq))]
    assert len(seen) == len(set(seen))
    assert set(seen) == set(order), "an event that fills a gap is new"
    assert session.missing == max(order) - len(set(order))


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_stream_and_journal_unite(streamed: set[int], journaled: set[int]) -> None:
    stream = [parse_event(heartbeat(seq).strip()) for seq in sorted(streamed)]
    journal = parse_journal(b"".join(heartbeat(seq) for seq in sorted(journaled)))
    merged = merge(stream, journal.events)
    assert [event.seq for event in merged.events] == sorted(streamed | journaled)
    assert merged.missing == max(streamed | journaled, default=0) - len(streamed | journaled)


@given(st.integers(0, 200))
def test_a_torn_journal_loses_only_its_torn_line(cut: int) -> None:
    data = b"".join(heartbeat(seq) for seq in range(1, 4))
    journal = parse_journal(data[: min(cut, len(data))])
    whole = data[: min(cut, len(data))].count(b"\n")
    assert len(journal.events) == whole
    assert journal.bad_lines == 0


@given(st.binary(max_size=400))
def test_garbage_is_refused_with_a_typed_error(data: bytes) -> None:
    with suppress(DeviceError):
        Session().receive_data(data + b"\n")


def test_an_endless_line_is_refused_before_it_fills_the_memory() -> None:
    lines = LineSplitter()
    lines.receive_data(b"x" * MAX_LINE_BYTES)
    with pytest.raises(FramingError, match="65536"):
        lines.receive_data(b"x")


@pytest.mark.parametrize(
    "line",
    [
        b'{"v":2,"seq":1,"t":1,"ev":"heartbeat"}',
        b'{"v":1,"seq":0,"t":1,"ev":"heartbeat"}',
        b'{"v":1,"seq":1,"t":-1,"ev":"heartbeat"}',
        b'{"v":1,"seq":true,"t":1,"ev":"heartbeat"}',
        b'{"v":1,"seq":1,"t":1,"ev":"sample","d":[1.5]}',
        b'{"v":1,"seq":1,"t":1,"ev":"sample","d":["1"]}',
        b'{"v":1,"seq":1,"t":1,"ev":"phase","name":"x","edge":"middle"}',
        b'{"v":1,"seq":1,"t":1}',
        b"[]",
        b"[" * 5000,
    ],
)
def test_bad_events_are_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        parse_event(line)


def test_an_event_of_a_newer_runner_is_kept_as_unknown() -> None:
    event = parse_event(b'{"v":1,"seq":1,"t":1,"ev":"horoscope","stars":[1,2]}')
    assert isinstance(event, UnknownEvent)
    assert event.ev == "horoscope"


def test_golden_events_are_understood() -> None:
    lines = (FIXTURES / "events.ndjson").read_bytes().splitlines()
    events: list[Event] = [parse_event(line) for line in lines if line.strip()]
    assert events
    assert not [event for event in events if isinstance(event, UnknownEvent)]
    assert any(isinstance(event, HeartbeatEvent) for event in events)


@given(st.integers(1, 6), st.binary(min_size=1, max_size=40).filter(lambda data: b"\n" not in data))
def test_events_before_nonsense_are_given_out_and_those_behind_it_asked_for_again(count: int, garbage: bytes) -> None:
    whole = b"".join(heartbeat(seq) for seq in range(1, count + 1))
    session = Session()
    assert [event.seq for event in session.receive_data(whole + b"\xff" + garbage + b"\n")] == [*range(1, count + 1)]
    assert session.broken
    with pytest.raises(DeviceError):
        session.receive_data(heartbeat(count + 1))
    assert json.loads(session.reconnected())["from_seq"] == count + 1
    assert [event.seq for event in session.receive_data(heartbeat(count + 1))] == [count + 1]
