"""AFC packets: any split of the bytes gives the same requests and the same written bytes."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.wire.afc import (
    AfcDecoder,
    AfcError,
    Event,
    Operation,
    Request,
    Status,
    WriteBegin,
    WriteChunk,
    WriteEnd,
    encode,
    encode_status,
)

numbers = st.integers(0, 2**64 - 1)
small_operations = st.sampled_from([operation for operation in Operation if operation is not Operation.WRITE])
# (number, operation, parameters, payload); a write's parameters begin with the handle
small = st.tuples(numbers, small_operations, st.binary(max_size=60), st.binary(max_size=60))
writes = st.tuples(numbers, st.just(Operation.WRITE), st.binary(min_size=8, max_size=8), st.binary(max_size=200))


def decode(pieces: list[bytes]) -> list[Event]:
    decoder, found = AfcDecoder(), []
    for piece in pieces:
        decoder.receive_data(piece)
        while (event := decoder.next_event()) is not None:
            found.append(event)
    assert decoder.at_boundary
    return found


def joined(events: list[Event]) -> list[object]:
    """The events with the chunks of each write put together, as how a write is cut is no part of its meaning."""
    found: list[object] = []
    content = b""
    for event in events:
        if isinstance(event, WriteChunk):
            assert event.data
            content += event.data
        elif isinstance(event, WriteEnd):
            found.append((event, content))
            content = b""
        else:
            found.append(event)
    return found


def expected(packets: list[tuple[int, Operation, bytes, bytes]]) -> list[object]:
    found: list[object] = []
    for number, operation, parameters, payload in packets:
        if operation is Operation.WRITE:
            (handle,) = struct.unpack("<Q", parameters)
            found += [WriteBegin(number, handle, len(payload)), (WriteEnd(number), payload)]
        else:
            found.append(Request(number, operation, parameters + payload))
    return found


@given(st.lists(small | writes, max_size=5), st.data())
def test_any_split_gives_the_same_requests(
    packets: list[tuple[int, Operation, bytes, bytes]], data: st.DataObject
) -> None:
    wire = b"".join(encode(*packet) for packet in packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert joined(decode(pieces)) == expected(packets)


@given(numbers, st.binary(max_size=100))
def test_a_write_whose_payload_is_declared_as_parameters_is_the_same_write(number: int, content: bytes) -> None:
    handle = struct.pack("<Q", 5)
    assert joined(decode([encode(number, Operation.WRITE, handle + content)])) == joined(
        decode([encode(number, Operation.WRITE, handle, content)])
    )


def test_a_large_write_is_passed_on_while_it_comes() -> None:
    decoder = AfcDecoder()
    decoder.receive_data(struct.pack("<8sQQQQ", b"CFA6LPAA", 48 + (1 << 30), 48, 9, Operation.WRITE))
    decoder.receive_data(struct.pack("<Q", 5))
    assert decoder.next_event() == WriteBegin(9, 5, 1 << 30)
    for _ in range(3):
        decoder.receive_data(bytes(1000))
        assert decoder.next_event() == WriteChunk(memoryview(bytes(1000)))
        assert decoder.next_event() is None


@given(st.binary(max_size=300))
def test_garbage_is_refused_with_a_typed_error_or_is_incomplete(garbage: bytes) -> None:
    decoder = AfcDecoder()
    decoder.receive_data(garbage)
    with contextlib.suppress(AfcError):
        while decoder.next_event() is not None:
            pass


@pytest.mark.parametrize(
    ("magic", "whole", "own", "operation"),
    [
        (b"CFA6LPAB", 40, 40, Operation.READ_DIR),
        (b"CFA6LPAA", 39, 39, Operation.READ_DIR),
        (b"CFA6LPAA", 40, 41, Operation.READ_DIR),
        (b"CFA6LPAA", 1 << 20, 1 << 20, Operation.READ_DIR),
        (b"CFA6LPAA", 1 << 63, 40, Operation.HASH),
        (b"CFA6LPAA", 47, 40, Operation.WRITE),
        (b"CFA6LPAA", 1 << 62, 48, Operation.WRITE),
    ],
)
def test_impossible_headers_are_refused_at_once(magic: bytes, whole: int, own: int, operation: Operation) -> None:
    decoder = AfcDecoder()
    decoder.receive_data(struct.pack("<8sQQQQ", magic, whole, own, 1, operation))
    with pytest.raises(AfcError):
        decoder.next_event()


@given(numbers, st.sampled_from(Status))
def test_a_status_echoes_the_number(number: int, status: Status) -> None:
    assert encode_status(number, status) == struct.pack("<8sQQQQQ", b"CFA6LPAA", 48, 48, number, 1, int(status))
