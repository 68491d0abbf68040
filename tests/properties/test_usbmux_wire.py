"""usbmux packets: any split of the bytes gives the same requests."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.wire.usbmux import (
    Request,
    Result,
    UnsupportedVersion,
    UsbmuxDecoder,
    UsbmuxError,
    encode,
    encode_bad_version,
    encode_result,
    port_from_wire,
)

words = st.integers(0, 2**32 - 1)
requests = st.builds(
    Request,
    words,
    st.dictionaries(st.sampled_from(["MessageType", "ProgName", "PortNumber"]), st.integers(0, 9) | st.just("x")),
)


def decode(pieces: list[bytes]) -> list[Request | UnsupportedVersion]:
    decoder, found = UsbmuxDecoder(), []
    for piece in pieces:
        decoder.receive_data(piece)
        while (event := decoder.next_event()) is not None:
            found.append(event)
    assert decoder.at_boundary
    return found


@given(st.lists(requests, max_size=4), st.data())
def test_any_split_gives_the_same_requests(sent: list[Request], data: st.DataObject) -> None:
    wire = b"".join(encode(request.tag, request.message) for request in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert decode(pieces) == sent


@given(requests)
def test_wants_is_exactly_what_completes_a_packet(request_: Request) -> None:
    wire = encode(request_.tag, request_.message)
    decoder = UsbmuxDecoder()
    assert decoder.wants == 16
    decoder.receive_data(wire[:16])
    assert decoder.next_event() is None
    assert decoder.wants == len(wire) - 16
    decoder.receive_data(wire[16:])
    assert decoder.next_event() == request_


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_a_typed_error_or_is_incomplete(garbage: bytes) -> None:
    decoder = UsbmuxDecoder()
    decoder.receive_data(garbage)
    with contextlib.suppress(UsbmuxError):
        while decoder.next_event() is not None:
            pass


@pytest.mark.parametrize("size", [0, 15, 1024 * 1024 + 1, 2**32 - 1])
def test_impossible_sizes_are_refused_from_the_header_alone(size: int) -> None:
    decoder = UsbmuxDecoder()
    decoder.receive_data(struct.pack("<IIII", size, 1, 8, 1))
    with pytest.raises(UsbmuxError, match=str(size)):
        decoder.next_event()


def test_the_old_binary_protocol_is_told_apart_and_answered_in_its_own_form() -> None:
    assert decode([struct.pack("<IIII", 16, 0, 3, 7)]) == [UnsupportedVersion(7, 0)]
    assert encode_bad_version(7) == struct.pack("<IIIII", 20, 0, 1, 7, 6)


@given(words, st.sampled_from(Result))
def test_a_result_is_a_request_like_any_other_on_the_wire(tag: int, result: Result) -> None:
    assert decode([encode_result(tag, result)]) == [Request(tag, {"MessageType": "Result", "Number": int(result)})]


@given(st.integers(0, 0xFFFF))
def test_ports_travel_byte_swapped(port: int) -> None:
    assert port_from_wire(struct.unpack("<H", struct.pack(">H", port))[0]) == port


@pytest.mark.parametrize("number", [-1, 65536, "80", None, 1.0])
def test_what_is_no_port_is_none(number: object) -> None:
    assert port_from_wire(number) is None
