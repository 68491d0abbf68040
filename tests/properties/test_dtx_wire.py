"""DTX: fragments under any split, arguments, bounds; and the keyed archives inside."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.wire.dtx import (
    FRAGMENT_HEADER,
    MAGIC,
    MAXIMUM_FRAGMENT_BYTES,
    MAXIMUM_MESSAGE_BYTES,
    MAXIMUM_UNFINISHED_MESSAGES,
    DtxError,
    DtxMessage,
    DtxReceiver,
    Int32,
    Int64,
    MessageType,
    Primitive,
    decode_arguments,
    encode_arguments,
    encode_message,
)
from harness.virtual.wire.keyed_archive import ArchiveError, NSError, NSNull, archive, unarchive

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PRIMITIVES: st.SearchStrategy[Primitive] = st.one_of(
    st.none(),
    TEXT,
    st.binary(max_size=60),
    st.integers(-(1 << 31), (1 << 31) - 1).map(Int32),
    st.integers(-(1 << 63), (1 << 63) - 1).map(Int64),
    st.floats(allow_nan=False),
)
MESSAGES = st.builds(
    DtxMessage,
    kind=st.sampled_from(MessageType),
    identifier=st.integers(0, (1 << 32) - 1),
    channel=st.integers(-(1 << 31), (1 << 31) - 1),
    conversation=st.integers(0, 3),
    expects_reply=st.booleans(),
    arguments=st.lists(PRIMITIVES, max_size=4).map(tuple),
    payload=st.binary(max_size=100),
)
VALUES: st.SearchStrategy[object] = st.recursive(
    st.one_of(st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False), TEXT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


def fragment(index: int, count: int, size: int, *, identifier: int = 1, body: bytes = b"") -> bytes:
    return FRAGMENT_HEADER.pack(MAGIC, 32, index, count, size, identifier, 0, 1, 0) + body


@given(st.lists(MESSAGES, max_size=4), st.lists(st.integers(0, 2000), max_size=12))
def test_any_split_gives_the_same_messages(messages: list[DtxMessage], cuts: list[int]) -> None:
    data = b"".join(encode_message(message) for message in messages)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    receiver = DtxReceiver()
    seen = [m for a, b in itertools.pairwise(edges) for m in receiver.receive_data(data[a:b])]
    assert seen == messages
    assert [[type(a) for a in m.arguments] for m in seen] == [[type(a) for a in m.arguments] for m in messages]


@pytest.mark.parametrize("size", [MAXIMUM_FRAGMENT_BYTES - 16, MAXIMUM_FRAGMENT_BYTES - 15, 300_000])
def test_long_messages_travel_in_fragments(size: int) -> None:
    message = DtxMessage(MessageType.DATA, 7, -3, payload=bytes(range(256)) * (size // 256) + bytes(size % 256))
    data = encode_message(message)
    assert data.count(struct.pack("<I", MAGIC)) == (
        1 if size <= MAXIMUM_FRAGMENT_BYTES - 16 else -(-(size + 16) // 65536) + 1
    )
    receiver = DtxReceiver()
    assert [m for i in range(0, len(data), 9_999) for m in receiver.receive_data(data[i : i + 9_999])] == [message]


def test_fragments_of_two_messages_may_mix() -> None:
    first = DtxMessage(MessageType.DATA, 1, 1, payload=b"a" * MAXIMUM_FRAGMENT_BYTES)
    second = DtxMessage(MessageType.DATA, 2, 1, payload=b"b" * MAXIMUM_FRAGMENT_BYTES)
    left, right = encode_message(first), encode_message(second)
    half = 32 + 32 + MAXIMUM_FRAGMENT_BYTES
    mixed = left[:half] + right[:half] + left[half:] + right[half:]
    assert DtxReceiver().receive_data(mixed) == [first, second]


@given(st.lists(PRIMITIVES, max_size=6))
def test_arguments_survive(arguments: list[Primitive]) -> None:
    assert decode_arguments(encode_arguments(arguments)) == tuple(arguments)


@given(st.binary(max_size=120))
def test_garbage_is_a_typed_error_or_incomplete(garbage: bytes) -> None:
    for attempt in (garbage, struct.pack("<I", MAGIC) + garbage, fragment(0, 1, len(garbage), body=garbage)):
        try:
            messages = DtxReceiver().receive_data(attempt)
        except DtxError:
            continue
        assert all(isinstance(message, DtxMessage) for message in messages)


@given(st.binary(max_size=120))
def test_garbage_arguments_are_a_typed_error_or_arguments(garbage: bytes) -> None:
    framed = struct.pack("<IIQ", 0x1F0, 0, len(garbage)) + garbage
    try:
        arguments = decode_arguments(framed)
    except DtxError:
        return
    assert isinstance(arguments, tuple)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bytes(32), "magic"),
        (fragment(1, 1, 0), "cannot be"),
        (fragment(0, 2, MAXIMUM_MESSAGE_BYTES + 1), "over the limit"),
        (fragment(0, 1, 128 * 1024 + 1), "over the limit"),
        (fragment(1, 2, 4, body=b"abcd"), "without its first"),
        (fragment(0, 2, 9) + fragment(0, 2, 9), "announced twice"),
        (fragment(0, 3, 9) + fragment(2, 3, 1, body=b"x"), "does not follow"),
        (fragment(0, 2, 1) + fragment(1, 2, 2, body=b"xy"), "longer than"),
        (fragment(0, 2, 9) + fragment(1, 2, 2, body=b"xy"), "announced 9 bytes"),
        (fragment(0, 1, 3, body=b"abc"), "shorter than its header"),
        (fragment(0, 1, 16, body=struct.pack("<BBBBIII", 7, 0, 0, 0, 0, 0, 0)), "type 7"),
        (fragment(0, 1, 16, body=struct.pack("<BBBBIII", 2, 0, 0, 0, 4, 0, 0)), "do not match"),
        (b"".join(fragment(0, 2, 9, identifier=i) for i in range(MAXIMUM_UNFINISHED_MESSAGES + 1)), "unfinished"),
    ],
)
def test_broken_fragments_are_named(data: bytes, says: str) -> None:
    with pytest.raises(DtxError, match=says):
        DtxReceiver().receive_data(data)


@pytest.mark.parametrize("argument", [7, True, object(), Int32(1 << 31), Int64(1 << 63), "\ud800"])
def test_what_cannot_be_an_argument_is_refused(argument: Primitive) -> None:
    with pytest.raises(DtxError):
        encode_arguments([argument])


@given(VALUES)
def test_archives_survive(value: object) -> None:
    assert unarchive(archive(value)) == value


def test_archives_of_errors_and_nothing() -> None:
    error = NSError("domain", 3, {"NSLocalizedDescription": "no"})
    assert unarchive(archive([error, NSNull()])) == [error, None]


@given(st.binary(max_size=100))
def test_garbage_is_no_archive(garbage: bytes) -> None:
    with pytest.raises(ArchiveError):
        unarchive(garbage)


def test_what_has_no_class_is_refused() -> None:
    with pytest.raises(ArchiveError, match="object"):
        archive([object()])
    foreign = archive([NSNull()]).replace(b"NSNull", b"NSHull")
    with pytest.raises(ArchiveError, match="NSHull"):
        unarchive(foreign)
