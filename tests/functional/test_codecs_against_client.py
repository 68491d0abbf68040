"""Our DTX and XPC bytes read by pymobiledevice3's codec, and its bytes by ours: two readings of the same formats."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from bpylist2 import archiver  # type: ignore[import-untyped]  # ships no types
from hypothesis import given, settings
from hypothesis import strategies as st
from pymobiledevice3.dtx.fragment import DTXFragment
from pymobiledevice3.dtx.fragmenter import DTXFragmenter
from pymobiledevice3.dtx.message import DTXMessage
from pymobiledevice3.dtx.ns_types import NSError as ClientNSError
from pymobiledevice3.dtx.primitives import PBuf, PDouble, PInt32, PInt64, PStr
from pymobiledevice3.dtx.structs import DTXMessageType, DTXTransportFlags
from pymobiledevice3.remote.xpc_message import (
    XpcInt64Type,
    XpcUInt64Type,
    XpcWrapper,
    create_xpc_wrapper,
    decode_xpc_object,
)
from pymobiledevice3.remote.xpc_message import (
    XpcObject as ClientXpcObject,
)

from harness.virtual.wire.dtx import (
    DtxMessage,
    DtxReceiver,
    Int32,
    Int64,
    MessageType,
)
from harness.virtual.wire.dtx import (
    encode_message as encode_dtx,
)
from harness.virtual.wire.keyed_archive import NSError, NSNull, archive, date, unarchive
from harness.virtual.wire.xpc import (
    Flags,
    UInt64,
    XpcMessage,
    XpcObject,
    decode_message,
    encode_message,
)
from harness.virtual.wire.xpc import Int64 as XpcInt64

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
XPC_VALUES: st.SearchStrategy[XpcObject] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(1 << 63), (1 << 63) - 1).map(XpcInt64),
        st.integers(0, (1 << 64) - 1).map(UInt64),
        st.floats(allow_nan=False),
        st.binary(max_size=20),
        TEXT,
        st.uuids(),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def as_client(value: Any) -> Any:
    """The same object in the client's types."""
    if isinstance(value, XpcInt64):
        return XpcInt64Type(value)
    if isinstance(value, UInt64):
        return XpcUInt64Type(value)
    if isinstance(value, list):
        return [as_client(member) for member in value]
    if isinstance(value, dict):
        return {key: as_client(member) for key, member in value.items()}
    return value


def types_of(value: Any) -> Any:
    """Type names all the way down, ours and the client's under one name."""
    if isinstance(value, list):
        return [types_of(member) for member in value]
    if isinstance(value, dict):
        return {key: types_of(member) for key, member in value.items()}
    name = type(value).__name__
    return {"XpcInt64Type": "Int64", "XpcUInt64Type": "UInt64"}.get(name, name)


@settings(max_examples=60)
@given(st.dictionaries(TEXT, XPC_VALUES, min_size=1, max_size=4), st.integers(0, (1 << 64) - 1))
def test_the_client_reads_our_xpc_messages(body: dict[str, XpcObject], message_id: int) -> None:
    ours = encode_message(XpcMessage(Flags.ALWAYS_SET | Flags.DATA_PRESENT, message_id, body, has_body=True))
    wrapper = XpcWrapper.parse(ours)
    assert isinstance(wrapper.payload, ClientXpcObject)
    assert (wrapper.flags, wrapper.message_id) == (0x101, message_id)
    decoded = decode_xpc_object(wrapper.payload)
    assert decoded == as_client(body)
    assert types_of(decoded) == types_of(body)
    assert wrapper.build() == ours


@settings(max_examples=60)
@given(st.dictionaries(TEXT, XPC_VALUES, min_size=1, max_size=4), st.integers(0, (1 << 64) - 1))
def test_we_read_the_clients_xpc_messages(body: dict[str, XpcObject], message_id: int) -> None:
    message = decode_message(create_xpc_wrapper(as_client(body), message_id, wanting_reply=True))
    assert message.flags == Flags.ALWAYS_SET | Flags.DATA_PRESENT | Flags.WANTING_REPLY
    assert message.message_id == message_id
    assert message.body == body
    assert types_of(message.body) == types_of(body)


async def client_reads(data: bytes) -> DTXMessage:
    """One message by the client's own fragment reader and assembler."""
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    first = await DTXFragment.read(stream)
    if first.count == 1:
        return DTXMessage.parse(first, first.payload)
    fragmenter = DTXFragmenter(first, 0, 1 << 30)
    while not fragmenter.add(await DTXFragment.read(stream)):
        pass
    raw, meta = fragmenter.assemble()
    return DTXMessage.parse(meta, raw)


async def client_writes(message: DTXMessage) -> bytes:
    out = bytearray()
    async for fragment in DTXFragmenter.fragment(*message.chunks()):
        fragment.identifier = message.identifier
        fragment.conversation_index = message.conversation_index
        fragment.channel_code = message.channel_code
        fragment.flags = message.transport_flags
        for chunk in fragment.chunks():
            out += chunk
    return bytes(out)


@pytest.mark.parametrize("size", [0, 10, 65_536, 400_000])
def test_the_client_reads_our_dtx_messages(size: int) -> None:
    ours = DtxMessage(
        MessageType.DISPATCH,
        identifier=9,
        channel=-3,
        expects_reply=True,
        arguments=(Int32(-1), Int64(1 << 40), 2.5, "text", archive(["a", 1]), b""),
        payload=archive("call:" + "x" * size),
    )
    theirs = asyncio.run(client_reads(encode_dtx(ours)))
    assert theirs.type is DTXMessageType.DISPATCH
    assert (theirs.identifier, theirs.channel_code, theirs.conversation_index) == (9, -3, 0)
    assert theirs.transport_flags == DTXTransportFlags.EXPECTS_REPLY
    assert theirs.payload == "call:" + "x" * size
    assert list(theirs.aux) == [-1, 1 << 40, 2.5, "text", ["a", 1], None]
    assert [type(argument) for argument in theirs.aux[:4]] == [PInt32, PInt64, PDouble, PStr]


@pytest.mark.parametrize("size", [0, 10, 131_072, 400_000])
def test_we_read_the_clients_dtx_messages(size: int) -> None:
    theirs = DTXMessage(
        type=DTXMessageType.DISPATCH,
        identifier=5,
        channel_code=2,
        transport_flags=DTXTransportFlags.EXPECTS_REPLY,
    )
    theirs.payload = "call:"
    theirs.aux = [PInt32(7), PInt64(-8), PDouble(0.5), PStr("s"), PBuf(bytes(size)), {"k": [True, "v"]}, None]
    data = asyncio.run(client_writes(theirs))
    (ours,) = DtxReceiver().receive_data(data)
    assert (ours.kind, ours.identifier, ours.channel, ours.conversation) == (MessageType.DISPATCH, 5, 2, 0)
    assert ours.expects_reply
    assert unarchive(ours.payload) == "call:"
    assert ours.arguments[:5] == (Int32(7), Int64(-8), 0.5, "s", bytes(size))
    archived = ours.arguments[5]
    assert isinstance(archived, bytes)
    assert unarchive(archived) == {"k": [True, "v"]}
    assert ours.arguments[6] == b""


def test_the_client_reads_our_errors_nulls_and_dates() -> None:
    error, nothing, instant = archiver.unarchive(archive([NSError("domain", 3, {"k": "v"}), NSNull(), date(1e9)]))
    assert isinstance(error, ClientNSError)
    assert (error.domain, error.code, error.user_info) == ("domain", 3, {"k": "v"})
    assert nothing is None
    assert instant.utc.timestamp() == 1e9


def test_we_read_the_clients_errors() -> None:
    assert unarchive(archiver.archive(ClientNSError(3, "domain", {"k": "v"}))) == NSError("domain", 3, {"k": "v"})


def test_a_uuid_is_the_same_on_both_sides() -> None:
    value = uuid.uuid5(uuid.NAMESPACE_DNS, "phone")
    ours = encode_message(XpcMessage(1, 0, {"UUID": value}, has_body=True))
    payload = XpcWrapper.parse(ours).payload
    assert payload is not None
    assert decode_xpc_object(payload) == {"UUID": value}
