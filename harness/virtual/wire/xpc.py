"""XPC objects and the RemoteXPC message around them, as bytes. Sans-IO; bounded in size and depth.

Python's side of each XPC type: None, bool, `Int64`, `UInt64`, float, `XpcDate`, bytes, str, `uuid.UUID`, list,
dict with str keys. A plain int is refused when encoding: the wire has two kinds and receivers tell them apart.

Message: u32 magic · u32 flags · u64 payload size · u64 message id · payload; all little-endian.
Payload: u32 magic · u32 version · object. Object: u32 type · body; data, strings and keys are padded to four
bytes counted from where they start.
"""

from __future__ import annotations

import enum
import struct
import uuid
from dataclasses import dataclass

MESSAGE_MAGIC = 0x29B00B92
PAYLOAD_MAGIC = 0x42133742
PAYLOAD_VERSION = 5
MESSAGE_HEADER = struct.Struct("<IIQQ")
MAXIMUM_MESSAGE_BYTES = 16 * 1024 * 1024
"""Far above anything a phone's control services say; file contents travel on streams of their own."""
MAXIMUM_DEPTH = 64

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_I64 = struct.Struct("<q")
_F64 = struct.Struct("<d")
_PAYLOAD_HEADER = struct.Struct("<II")


class XpcError(ValueError):
    """Bytes that are no XPC object, or an object that XPC has no type for; the message names which."""


class Flags(enum.IntFlag):
    """Flags of a RemoteXPC message."""

    ALWAYS_SET = 0x1
    PING = 0x2
    DATA_PRESENT = 0x100
    ROOT_OPENED = 0x200
    """Ends the opening of the root stream, together with ALWAYS_SET."""
    WANTING_REPLY = 0x10000
    REPLY = 0x20000
    INIT_HANDSHAKE = 0x400000


class _Type(enum.IntEnum):
    NULL = 0x1000
    BOOL = 0x2000
    INT64 = 0x3000
    UINT64 = 0x4000
    DOUBLE = 0x5000
    DATE = 0x7000
    DATA = 0x8000
    STRING = 0x9000
    UUID = 0xA000
    ARRAY = 0xE000
    DICTIONARY = 0xF000


class Int64(int):
    """A signed 64-bit number."""


class UInt64(int):
    """An unsigned 64-bit number."""


@dataclass(frozen=True)
class XpcDate:
    """An instant, in nanoseconds since 1970-01-01 UTC; a datetime would lose three digits."""

    since_epoch_ns: int


XpcObject = (
    None
    | bool
    | Int64
    | UInt64
    | float
    | XpcDate
    | bytes
    | str
    | uuid.UUID
    | list["XpcObject"]
    | dict[str, "XpcObject"]
)


@dataclass(frozen=True)
class XpcMessage:
    """One RemoteXPC message; `has_body` is False for one that carries no object at all (which is not null)."""

    flags: int
    message_id: int = 0
    body: XpcObject = None
    has_body: bool = False


def encode_message(message: XpcMessage) -> bytes:
    """The bytes of `message`; raises XpcError."""
    payload = b""
    if message.has_body:
        payload = _PAYLOAD_HEADER.pack(PAYLOAD_MAGIC, PAYLOAD_VERSION) + encode_object(message.body)
    if len(payload) > MAXIMUM_MESSAGE_BYTES:
        raise XpcError(f"a message of {len(payload)} bytes is over the limit of {MAXIMUM_MESSAGE_BYTES}")
    return MESSAGE_HEADER.pack(MESSAGE_MAGIC, message.flags, len(payload), message.message_id) + payload


def message_size(buffer: bytes | bytearray) -> int | None:
    """The whole size of the message that starts `buffer`, None while its header is incomplete; raises XpcError."""
    if len(buffer) < MESSAGE_HEADER.size:
        return None
    magic, _, size, _ = MESSAGE_HEADER.unpack_from(buffer)
    if magic != MESSAGE_MAGIC:
        raise XpcError(f"expected the message magic {MESSAGE_MAGIC:#x}, got {magic:#x}")
    if size > MAXIMUM_MESSAGE_BYTES:
        raise XpcError(f"a message of {size} bytes is over the limit of {MAXIMUM_MESSAGE_BYTES}")
    return MESSAGE_HEADER.size + int(size)


def decode_message(data: bytes) -> XpcMessage:
    """One whole message, nothing after it; raises XpcError."""
    if message_size(data) != len(data):
        raise XpcError(f"the message does not fill its {len(data)} bytes")
    _, flags, size, message_id = MESSAGE_HEADER.unpack_from(data)
    if size == 0:
        return XpcMessage(flags, message_id)
    payload = data[MESSAGE_HEADER.size :]
    if len(payload) < _PAYLOAD_HEADER.size:
        raise XpcError("the payload's header is cut off")
    magic, version = _PAYLOAD_HEADER.unpack_from(payload)
    if (magic, version) != (PAYLOAD_MAGIC, PAYLOAD_VERSION):
        raise XpcError(f"expected payload magic {PAYLOAD_MAGIC:#x} version {PAYLOAD_VERSION}, got {magic:#x} {version}")
    return XpcMessage(flags, message_id, decode_object(payload[_PAYLOAD_HEADER.size :]), has_body=True)


def encode_object(value: XpcObject) -> bytes:
    """The bytes of one object; raises XpcError for types XPC has none for, and for cycles."""
    out = bytearray()
    _write(out, value, 0)
    return bytes(out)


def decode_object(data: bytes) -> XpcObject:
    """One object that fills `data`; raises XpcError."""
    reader = _Reader(data)
    value = _read(reader, 0)
    if reader.position != len(data):
        raise XpcError(f"{len(data) - reader.position} bytes follow the object")
    return value


def _write(out: bytearray, value: XpcObject, depth: int) -> None:
    if depth > MAXIMUM_DEPTH:
        raise XpcError(f"objects are nested deeper than {MAXIMUM_DEPTH}")
    if value is None:
        out += _U32.pack(_Type.NULL)
    elif isinstance(value, bool):
        out += _U32.pack(_Type.BOOL) + _U32.pack(value)
    elif isinstance(value, int):
        _write_integer(out, value)
    elif isinstance(value, float):
        out += _U32.pack(_Type.DOUBLE) + _F64.pack(value)
    elif isinstance(value, XpcDate):
        out += _U32.pack(_Type.DATE) + _pack(_I64, value.since_epoch_ns)
    elif isinstance(value, bytes):
        out += _U32.pack(_Type.DATA) + _padded(_U32.pack(len(value)) + value)
    elif isinstance(value, str):
        text = _c_string(value)
        out += _U32.pack(_Type.STRING) + _padded(_U32.pack(len(text)) + text)
    elif isinstance(value, uuid.UUID):
        out += _U32.pack(_Type.UUID) + value.bytes
    elif isinstance(value, (list, dict)):
        _write_container(out, value, depth)
    else:
        raise XpcError(f"XPC has no type for {type(value).__name__}")


def _write_integer(out: bytearray, value: int) -> None:
    if isinstance(value, Int64):
        out += _U32.pack(_Type.INT64) + _pack(_I64, value)
    elif isinstance(value, UInt64):
        out += _U32.pack(_Type.UINT64) + _pack(_U64, value)
    else:
        raise XpcError(f"say whether {value} is an Int64 or a UInt64: the wire has both")


def _write_container(out: bytearray, value: list[XpcObject] | dict[str, XpcObject], depth: int) -> None:
    body = bytearray(_U32.pack(len(value)))
    if isinstance(value, dict):
        kind = _Type.DICTIONARY
        for key, member in value.items():
            if not isinstance(key, str):
                raise XpcError(f"keys of a dictionary are strings, not {type(key).__name__}")
            body += _padded(_c_string(key))
            _write(body, member, depth + 1)
    else:
        kind = _Type.ARRAY
        for member in value:
            _write(body, member, depth + 1)
    out += _U32.pack(kind) + _U32.pack(len(body)) + body


def _pack(form: struct.Struct, value: int) -> bytes:
    try:
        return form.pack(value)
    except struct.error as error:
        raise XpcError(f"{value} does not fit in 64 bits") from error


def _c_string(text: str) -> bytes:
    if "\0" in text:
        raise XpcError("a string with a NUL inside cannot be sent")
    try:
        return text.encode() + b"\0"
    except UnicodeEncodeError as error:
        raise XpcError(f"a string that is not Unicode text cannot be sent: {error}") from error


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self.position:
            raise XpcError(f"{size} bytes wanted, {len(self._data) - self.position} are left")
        self.position += size
        return self._data[self.position - size : self.position]

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def skip_padding(self, size: int) -> None:
        self.take(-size % 4)

    def key(self) -> str:
        end = self._data.find(b"\0", self.position)
        if end < 0:
            raise XpcError("a key has no end")
        raw = self.take(end + 1 - self.position)
        self.skip_padding(len(raw))
        return _text(raw)


def _text(raw: bytes) -> str:
    if not raw.endswith(b"\0") or b"\0" in raw[:-1]:
        raise XpcError("a string must end with its only NUL")
    try:
        return raw[:-1].decode()
    except UnicodeDecodeError as error:
        raise XpcError(f"a string is not UTF-8: {error}") from error


def _read(reader: _Reader, depth: int) -> XpcObject:
    if depth > MAXIMUM_DEPTH:
        raise XpcError(f"objects are nested deeper than {MAXIMUM_DEPTH}")
    kind = reader.u32()
    if kind in (_Type.ARRAY, _Type.DICTIONARY):
        return _read_container(reader, kind, depth)
    if kind == _Type.NULL:
        return None
    if kind == _Type.BOOL:
        return reader.u32() != 0
    if kind in (_Type.DATA, _Type.STRING):
        size = reader.u32()
        raw = reader.take(size)
        reader.skip_padding(size)
        return raw if kind == _Type.DATA else _text(raw)
    if kind == _Type.UUID:
        return uuid.UUID(bytes=reader.take(16))
    return _read_number(reader, kind)


def _read_number(reader: _Reader, kind: int) -> XpcObject:
    if kind == _Type.INT64:
        return Int64(_I64.unpack(reader.take(8))[0])
    if kind == _Type.UINT64:
        return UInt64(_U64.unpack(reader.take(8))[0])
    if kind == _Type.DOUBLE:
        return float(_F64.unpack(reader.take(8))[0])
    if kind == _Type.DATE:
        return XpcDate(int(_I64.unpack(reader.take(8))[0]))
    raise XpcError(f"objects of type {kind:#x} are not supported here")


def _read_container(reader: _Reader, kind: int, depth: int) -> XpcObject:
    size = reader.u32()
    end = reader.position + size
    count = reader.u32()
    # every member takes at least its type's four bytes: a count beyond that is a lie, and would cost memory
    if count > size // 4:
        raise XpcError(f"a container of {size} bytes cannot have {count} members")
    value: list[XpcObject] | dict[str, XpcObject]
    if kind == _Type.ARRAY:
        value = [_read(reader, depth + 1) for _ in range(count)]
    else:
        value = {reader.key(): _read(reader, depth + 1) for _ in range(count)}
    if reader.position != end:
        raise XpcError(f"a container says {size} bytes and has {reader.position - end + size}")
    return value
