"""XPC objects: encode∘decode is the identity, types included; garbage and depth give typed errors."""

from __future__ import annotations

import math
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.wire.xpc import (
    MAXIMUM_DEPTH,
    MAXIMUM_MESSAGE_BYTES,
    MESSAGE_HEADER,
    MESSAGE_MAGIC,
    Int64,
    UInt64,
    XpcDate,
    XpcError,
    XpcMessage,
    XpcObject,
    decode_message,
    decode_object,
    encode_message,
    encode_object,
    message_size,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
SCALARS: st.SearchStrategy[XpcObject] = st.one_of(
    st.none(),
    st.booleans(),
    INT64.map(Int64),
    st.integers(0, (1 << 64) - 1).map(UInt64),
    st.floats(allow_nan=False),
    INT64.map(XpcDate),
    st.binary(max_size=40),
    TEXT,
    st.uuids(),
)
OBJECTS: st.SearchStrategy[XpcObject] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=20
)


def same(left: XpcObject, right: XpcObject) -> bool:
    """Equal with equal types, all the way down: Int64(1), UInt64(1) and True are equal in Python."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return left == right


@given(OBJECTS)
def test_objects_survive(value: XpcObject) -> None:
    data = encode_object(value)
    assert len(data) % 4 == 0
    assert same(decode_object(data), value)


@given(OBJECTS, st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1))
def test_messages_survive_and_know_their_size(body: XpcObject, flags: int, message_id: int) -> None:
    message = XpcMessage(flags, message_id, body, has_body=True)
    data = encode_message(message)
    assert message_size(data + b"more") == len(data)
    assert message_size(data[: MESSAGE_HEADER.size - 1]) is None
    assert same(decode_message(data).body, body)
    assert decode_message(data).has_body


def test_no_body_is_not_null() -> None:
    assert decode_message(encode_message(XpcMessage(1))) == XpcMessage(1)
    assert decode_message(encode_message(XpcMessage(1, 0, None, has_body=True))) == XpcMessage(1, 0, None, True)


@given(OBJECTS, st.data())
def test_cut_bytes_are_a_typed_error(value: XpcObject, data: st.DataObject) -> None:
    encoded = encode_object(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(XpcError):
        decode_object(encoded[:cut])


@given(st.binary(max_size=120))
def test_garbage_is_a_typed_error_or_an_object(garbage: bytes) -> None:
    try:
        value = decode_object(garbage)
    except XpcError:
        return
    assert same(decode_object(encode_object(value)), value) or "nan" in repr(value)


def test_not_a_number_survives() -> None:
    value = decode_object(encode_object(math.nan))
    assert isinstance(value, float)
    assert math.isnan(value)


def test_depth_is_bounded_both_ways() -> None:
    value: XpcObject = []
    for _ in range(MAXIMUM_DEPTH + 1):
        value = [value]
    with pytest.raises(XpcError, match="deeper"):
        encode_object(value)
    nested = b"\0\xe0\0\0" + (4).to_bytes(4, "little") + bytes(4)
    for _ in range(MAXIMUM_DEPTH + 1):
        nested = b"\0\xe0\0\0" + (len(nested) + 4).to_bytes(4, "little") + (1).to_bytes(4, "little") + nested
    with pytest.raises(XpcError, match="deeper"):
        decode_object(nested)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7, "Int64 or a UInt64"),
        (UInt64(-1), "64 bits"),
        (Int64(1 << 63), "64 bits"),
        ("a\0b", "NUL"),
        ("\ud800", "not Unicode"),
        ({1: None}, "keys"),
        (object(), "no type for object"),
    ],
)
def test_what_xpc_cannot_say_is_refused(value: XpcObject, says: str) -> None:
    with pytest.raises(XpcError, match=says):
        encode_object(value)


def test_counts_that_lie_are_refused() -> None:
    lie = b"\0\xe0\0\0" + (4).to_bytes(4, "little") + (1 << 31).to_bytes(4, "little")
    with pytest.raises(XpcError, match="cannot have"):
        decode_object(lie)


def test_over_long_messages_are_refused_by_their_header() -> None:
    header = MESSAGE_HEADER.pack(MESSAGE_MAGIC, 1, MAXIMUM_MESSAGE_BYTES + 1, 0)
    with pytest.raises(XpcError, match="over the limit"):
        message_size(header)
    with pytest.raises(XpcError, match="magic"):
        message_size(bytes(MESSAGE_HEADER.size))


def test_a_uuid_is_sixteen_bytes() -> None:
    value = uuid.UUID(int=5)
    assert encode_object(value) == b"\0\xa0\0\0" + value.bytes
