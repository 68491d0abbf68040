"""Property-list frames: any split of the bytes gives the same dictionaries."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.wire.plist import PlistDecoder, PlistFrameError, encode

# plists know signed 64-bit integers and text XML can carry
texts = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))
scalars = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.binary(max_size=40))
messages = st.dictionaries(texts, scalars | st.lists(scalars, max_size=3), max_size=5)


def decode(pieces: list[bytes]) -> list[dict[str, Any]]:
    decoder, found = PlistDecoder(), []
    for piece in pieces:
        decoder.receive_data(piece)
        while (event := decoder.next_event()) is not None:
            found.append(event)
    assert decoder.at_boundary
    return found


@given(st.lists(messages, max_size=4), st.booleans(), st.data())
def test_any_split_gives_the_same_messages(sent: list[dict[str, Any]], binary: bool, data: st.DataObject) -> None:
    wire = b"".join(encode(message, binary=binary) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert decode(pieces) == sent


@given(messages, st.binary(max_size=20))
def test_reading_what_it_wants_never_takes_a_byte_of_what_follows(message: dict[str, Any], after: bytes) -> None:
    wire = encode(message) + after
    decoder, position = PlistDecoder(), 0
    while (event := decoder.next_event()) is None:
        wanted = decoder.wants
        assert wanted > 0
        decoder.receive_data(wire[position : position + wanted])
        position += wanted
    assert event == message
    assert wire[position:] == after


@given(st.binary(max_size=300))
def test_garbage_is_refused_with_a_typed_error_or_is_incomplete(garbage: bytes) -> None:
    decoder = PlistDecoder()
    decoder.receive_data(garbage)
    with contextlib.suppress(PlistFrameError):
        while decoder.next_event() is not None:
            pass


@given(st.binary(max_size=200))
def test_a_framed_body_of_garbage_is_refused(body: bytes) -> None:
    decoder = PlistDecoder()
    decoder.receive_data(struct.pack(">I", len(body)) + body)
    with pytest.raises(PlistFrameError):
        decoder.next_event()


def test_an_over_long_frame_is_refused_before_it_is_collected() -> None:
    decoder = PlistDecoder(limit_bytes=100)
    decoder.receive_data(struct.pack(">I", 101))
    with pytest.raises(PlistFrameError, match="101"):
        decoder.next_event()


def test_entities_are_refused() -> None:
    body = (
        b'<!DOCTYPE p [<!ENTITY a "aaaa">]><plist version="1.0"><dict><key>k</key><string>&a;</string></dict></plist>'
    )
    decoder = PlistDecoder()
    decoder.receive_data(struct.pack(">I", len(body)) + body)
    with pytest.raises(PlistFrameError):
        decoder.next_event()


def test_a_list_at_the_top_is_refused() -> None:
    body = b'<plist version="1.0"><array/></plist>'
    decoder = PlistDecoder()
    decoder.receive_data(struct.pack(">I", len(body)) + body)
    with pytest.raises(PlistFrameError, match="list"):
        decoder.next_event()
