"""Phases heard in an app's stream: any split tells the same, and nothing an app may say breaks it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.app_link import LINE_LIMIT_BYTES, PhaseScanner

begins = st.text(max_size=20).map(lambda name: {"ev": "phase", "name": name, "edge": "begin"})
others = st.one_of(
    st.text(max_size=20).map(lambda name: {"ev": "phase", "name": name, "edge": "end"}),
    st.text(max_size=20).map(lambda line: {"ev": "log", "line": line + '"phase"'}),
    st.just({"ev": "phase", "name": 3, "edge": "begin"}),
)


def heard(pieces: list[bytes]) -> list[str]:
    scanner = PhaseScanner()
    return [name for piece in pieces for name in scanner.receive_data(piece)]


@given(st.lists(begins | others, max_size=6), st.data())
def test_any_split_tells_the_same_phases(events: list[dict[str, object]], data: st.DataObject) -> None:
    wire = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    expected = [e["name"] for e in events if e["ev"] == "phase" and e["edge"] == "begin" and isinstance(e["name"], str)]
    assert heard(pieces) == expected


@given(st.lists(st.binary(max_size=60) | st.just(b'{"ev":"phase"\r\n'), max_size=8))
def test_garbage_before_a_phase_does_not_hide_it(garbage: list[bytes]) -> None:
    line = json.dumps({"ev": "phase", "name": "decode", "edge": "begin"}).encode()
    assert heard([*garbage, b"\n", line, b"\n"])[-1:] == ["decode"]


def test_a_line_without_end_is_not_kept() -> None:
    scanner = PhaseScanner()
    for _ in range(4):
        assert scanner.receive_data(b"x" * LINE_LIMIT_BYTES) == []
        assert scanner.buffered_bytes <= LINE_LIMIT_BYTES
    assert heard([b"x" * (3 * LINE_LIMIT_BYTES), b'\n{"ev":"phase","name":"a","edge":"begin"}\n']) == ["a"]
