"""DTX, the message format of Apple's instruments: fragments, messages, argument lists. Sans-IO.

Fragment: 32-byte header · body; the first fragment of several has no body, its size field is the whole
message's. Message: u8 type · 3 flag bytes · u32 size of the arguments · u32 size of arguments + payload · u32
flags · arguments · payload. All little-endian. Payloads are keyed archives (`keyed_archive`), except in DATA.

Channel codes stand in `DtxMessage` as on the wire: who requested channel N is sent to with −N and answered on N.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass

MAGIC = 0x1F3D5B79
FRAGMENT_HEADER = struct.Struct("<IIHHIIIiI")
MESSAGE_HEADER = struct.Struct("<BBBBIII")
MAXIMUM_FRAGMENT_BYTES = 64 * 1024
"""Bodies sent; client tools read up to 128 KiB."""
MAXIMUM_RECEIVED_FRAGMENT_BYTES = 128 * 1024
MAXIMUM_MESSAGE_BYTES = 16 * 1024 * 1024
"""Nothing a client asks of the instruments here comes near it."""
MAXIMUM_UNFINISHED_MESSAGES = 16
MAXIMUM_UNFINISHED_BYTES = 32 * 1024 * 1024
MAXIMUM_HEADER_BYTES = 256
"""The header says its own size; beyond 32 the rest is skipped."""

_EXPECTS_REPLY = 1
_ARGUMENTS_HEADER = struct.Struct("<IIQ")
_ARGUMENTS_KIND = 0x1F0
_KIND_MASK = 0xFF
"""Upper bits of a primitive's type are flags whose meaning is not known."""
_STRING, _BUFFER, _INT32, _INT64, _DOUBLE, _NULL, _DICTIONARY = 1, 2, 3, 6, 9, 10, 0xF0


class DtxError(ValueError):
    """The other end broke the protocol, or a value cannot be sent."""


class MessageType(enum.IntEnum):
    """What a message is."""

    OK = 0
    DATA = 1
    DISPATCH = 2
    OBJECT = 3
    ERROR = 4
    BARRIER = 5


class Int32(int):
    """An argument of 32 bits."""


class Int64(int):
    """An argument of 64 bits."""


Primitive = None | str | bytes | Int32 | Int64 | float
"""One argument as on the wire; bytes are most often a keyed archive, and empty for nil."""


@dataclass(frozen=True)
class DtxMessage:
    """One message. `conversation` is 0 for what starts one, 1 for its reply (with the same identifier)."""

    kind: MessageType
    identifier: int
    channel: int
    conversation: int = 0
    expects_reply: bool = False
    arguments: tuple[Primitive, ...] = ()
    payload: bytes = b""


# --- sending


def encode_message(message: DtxMessage) -> bytes:
    """All fragments of `message` in a row; raises DtxError."""
    arguments = encode_arguments(message.arguments)
    total = len(arguments) + len(message.payload)
    if total > MAXIMUM_MESSAGE_BYTES:
        raise DtxError(f"a message of {total} bytes is over the limit of {MAXIMUM_MESSAGE_BYTES}")
    body = MESSAGE_HEADER.pack(message.kind, 0, 0, 0, len(arguments), total, 0) + arguments + message.payload
    if len(body) <= MAXIMUM_FRAGMENT_BYTES:
        return _fragment_header(message, 0, 1, len(body)) + body
    count = -(-len(body) // MAXIMUM_FRAGMENT_BYTES) + 1
    out = bytearray(_fragment_header(message, 0, count, len(body)))
    for index in range(1, count):
        part = body[(index - 1) * MAXIMUM_FRAGMENT_BYTES : index * MAXIMUM_FRAGMENT_BYTES]
        out += _fragment_header(message, index, count, len(part)) + part
    return bytes(out)


def _fragment_header(message: DtxMessage, index: int, count: int, size: int) -> bytes:
    try:
        return FRAGMENT_HEADER.pack(
            MAGIC,
            FRAGMENT_HEADER.size,
            index,
            count,
            size,
            message.identifier,
            message.conversation,
            message.channel,
            _EXPECTS_REPLY if message.expects_reply else 0,
        )
    except struct.error as error:
        raise DtxError(f"a field of the message's header does not fit: {error}") from error


def encode_arguments(arguments: Sequence[Primitive]) -> bytes:
    """A positional argument list: a dictionary whose keys are all null; nothing at all when empty."""
    if not arguments:
        return b""
    body = b"".join(struct.pack("<I", _NULL) + _encode_primitive(argument) for argument in arguments)
    return _ARGUMENTS_HEADER.pack(_ARGUMENTS_KIND, 0, len(body)) + body


def _encode_primitive(value: Primitive) -> bytes:
    try:
        if value is None:
            return struct.pack("<I", _NULL)
        if isinstance(value, Int32):
            return struct.pack("<Ii", _INT32, value)
        if isinstance(value, Int64):
            return struct.pack("<Iq", _INT64, value)
        if isinstance(value, float):
            return struct.pack("<Id", _DOUBLE, value)
        if isinstance(value, (str, bytes)):
            kind, raw = (_STRING, value.encode()) if isinstance(value, str) else (_BUFFER, value)
            return struct.pack("<II", kind, len(raw)) + raw
    except (struct.error, UnicodeEncodeError) as error:
        raise DtxError(f"{value!r} cannot be an argument: {error}") from error
    raise DtxError(f"{type(value).__name__} cannot be an argument: say Int32, Int64, or archive it")


# --- receiving


@dataclass
class _Unfinished:
    """A message of which fragments are still to come."""

    header: tuple[int, int, int, int]
    count: int
    size: int
    parts: list[bytes]
    received_bytes: int = 0


class DtxReceiver:
    """Bytes in by `receive_data`, whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._unfinished: dict[tuple[int, int], _Unfinished] = {}

    def receive_data(self, data: bytes) -> list[DtxMessage]:
        """Messages that became whole with `data`; raises DtxError, after which the connection is of no use."""
        self._buffer += data
        messages: list[DtxMessage] = []
        while len(self._buffer) >= FRAGMENT_HEADER.size:
            magic, header_bytes, index, count, size, *rest = FRAGMENT_HEADER.unpack_from(self._buffer)
            if magic != MAGIC:
                raise DtxError(f"expected the fragment magic {MAGIC:#x}, got {magic:#x}")
            if not FRAGMENT_HEADER.size <= header_bytes <= MAXIMUM_HEADER_BYTES:
                raise DtxError(f"a fragment header of {header_bytes} bytes cannot be")
            if index >= count:
                raise DtxError(f"fragment {index} of {count} cannot be")
            is_announcement = index == 0 and count > 1
            limit = MAXIMUM_MESSAGE_BYTES if is_announcement else MAXIMUM_RECEIVED_FRAGMENT_BYTES
            if size > limit:
                raise DtxError(f"fragment {index} of {count}: {size} bytes are over the limit of {limit}")
            end = header_bytes + (0 if is_announcement else size)
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[header_bytes:end])
            del self._buffer[:end]
            identifier, conversation, channel, flags = rest
            header = (identifier, conversation, channel, flags)
            if count == 1:
                messages.append(_parse_message(header, body))
            elif is_announcement:
                self._announce(header, count, size)
            elif (whole := self._add(header, index, count, body)) is not None:
                messages.append(_parse_message(header, whole))
        return messages

    def _announce(self, header: tuple[int, int, int, int], count: int, size: int) -> None:
        key = header[:2]
        if key in self._unfinished:
            raise DtxError(f"message {key[0]} is announced twice")
        if len(self._unfinished) >= MAXIMUM_UNFINISHED_MESSAGES:
            raise DtxError(f"more than {MAXIMUM_UNFINISHED_MESSAGES} messages are unfinished")
        if sum(m.size for m in self._unfinished.values()) + size > MAXIMUM_UNFINISHED_BYTES:
            raise DtxError(f"unfinished messages are over the limit of {MAXIMUM_UNFINISHED_BYTES} bytes")
        self._unfinished[key] = _Unfinished(header, count, size, [])

    def _add(self, header: tuple[int, int, int, int], index: int, count: int, body: bytes) -> bytes | None:
        message = self._unfinished.get(header[:2])
        if message is None:
            raise DtxError(f"fragment {index} of message {header[0]} comes without its first")
        if count != message.count or header != message.header or index != len(message.parts) + 1:
            raise DtxError(f"fragment {index} of message {header[0]} does not follow the one before")
        message.parts.append(body)
        message.received_bytes += len(body)
        if message.received_bytes > message.size:
            raise DtxError(f"message {header[0]} is longer than the {message.size} bytes it announced")
        if index + 1 < count:
            return None
        del self._unfinished[header[:2]]
        if message.received_bytes != message.size:
            raise DtxError(f"message {header[0]} announced {message.size} bytes and has {message.received_bytes}")
        return b"".join(message.parts)


def _parse_message(header: tuple[int, int, int, int], body: bytes) -> DtxMessage:
    identifier, conversation, channel, flags = header
    if len(body) < MESSAGE_HEADER.size:
        raise DtxError(f"message {identifier} is shorter than its header")
    kind, _, _, _, arguments_bytes, total, _ = MESSAGE_HEADER.unpack_from(body)
    rest = body[MESSAGE_HEADER.size :]
    if total != len(rest) or arguments_bytes > total:
        raise DtxError(f"message {identifier}: {arguments_bytes} of {total} bytes do not match {len(rest)}")
    try:
        known = MessageType(kind)
    except ValueError as error:
        raise DtxError(f"messages of type {kind} are not supported (compression is not offered)") from error
    return DtxMessage(
        kind=known,
        identifier=identifier,
        channel=channel,
        conversation=conversation,
        expects_reply=bool(flags & _EXPECTS_REPLY),
        arguments=decode_arguments(rest[:arguments_bytes]),
        payload=rest[arguments_bytes:],
    )


def decode_arguments(data: bytes) -> tuple[Primitive, ...]:
    """The positional arguments; raises DtxError. Inverse of `encode_arguments`."""
    if not data:
        return ()
    if len(data) < _ARGUMENTS_HEADER.size:
        raise DtxError("the argument list's header is cut off")
    kind, _, size = _ARGUMENTS_HEADER.unpack_from(data)
    if kind & _KIND_MASK != _DICTIONARY or size != len(data) - _ARGUMENTS_HEADER.size:
        raise DtxError(f"an argument list of kind {kind:#x} with {size} bytes cannot be")
    arguments: list[Primitive] = []
    position = _ARGUMENTS_HEADER.size
    while position < len(data):
        key, position = _decode_primitive(data, position)
        if key is not None:
            raise DtxError("arguments with names are not supported")
        value, position = _decode_primitive(data, position)
        arguments.append(value)
    return tuple(arguments)


def _decode_primitive(data: bytes, position: int) -> tuple[Primitive, int]:
    try:
        (raw_kind,) = struct.unpack_from("<I", data, position)
        kind = raw_kind & _KIND_MASK
        position += 4
        if kind == _NULL:
            return None, position
        if kind == _INT32:
            return Int32(struct.unpack_from("<i", data, position)[0]), position + 4
        if kind == _INT64:
            return Int64(struct.unpack_from("<q", data, position)[0]), position + 8
        if kind == _DOUBLE:
            return float(struct.unpack_from("<d", data, position)[0]), position + 8
        if kind in (_STRING, _BUFFER):
            (size,) = struct.unpack_from("<I", data, position)
            end = position + 4 + size
            if end > len(data):
                raise DtxError(f"an argument of {size} bytes is cut off")
            raw = data[position + 4 : end]
            return (raw.decode() if kind == _STRING else raw), end
    except (struct.error, UnicodeDecodeError) as error:
        raise DtxError(f"an argument cannot be read: {error}") from error
    raise DtxError(f"an argument of kind {raw_kind:#x} is not known")
