"""AFC, the file protocol of a phone, from the device's end. Sans-IO.

A packet is a 40-byte header (magic, whole length, length without the payload, number, operation), parameters, payload.
What a write brings is passed on in chunks as it comes and never held whole; everything else is small and bounded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"CFA6LPAA"
_HEADER = struct.Struct("<8sQQQQ")
_HANDLE = struct.Struct("<Q")
# two paths of 1 KiB and some numbers are the largest parameters there are
REQUEST_LIMIT_BYTES = 64 * 1024
# clients write 4 MiB (pymobiledevice3) or less at once; a length beyond this is no length
WRITE_LIMIT_BYTES = 1 << 40


class Operation(IntEnum):
    """What a packet asks for or answers."""

    STATUS = 0x01
    DATA = 0x02
    READ_DIR = 0x03
    TRUNCATE = 0x07
    REMOVE = 0x08
    MAKE_DIR = 0x09
    FILE_INFO = 0x0A
    DEVICE_INFO = 0x0B
    OPEN = 0x0D
    OPEN_RESULT = 0x0E
    READ = 0x0F
    WRITE = 0x10
    SEEK = 0x11
    TELL = 0x12
    TELL_RESULT = 0x13
    CLOSE = 0x14
    SET_SIZE = 0x15
    CONNECTION_INFO = 0x16
    SET_CONNECTION_OPTIONS = 0x17
    RENAME = 0x18
    SET_BLOCK_SIZE = 0x19
    SET_SOCKET_BLOCK_SIZE = 0x1A
    LOCK = 0x1B
    MAKE_LINK = 0x1C
    HASH = 0x1D
    SET_MTIME = 0x1E
    HASH_RANGE = 0x1F
    REMOVE_ALL = 0x22


class Status(IntEnum):
    """AFC's error numbers, those this phone gives."""

    SUCCESS = 0
    UNKNOWN = 1
    NO_RESOURCES = 3
    INVALID_ARGUMENT = 7
    NOT_FOUND = 8
    IS_DIRECTORY = 9
    PERMISSION = 10
    NOT_SUPPORTED = 15
    EXISTS = 16
    NO_SPACE = 18
    WOULD_BLOCK = 19
    IO_ERROR = 20
    DIRECTORY_NOT_EMPTY = 33


class AfcError(ValueError):
    """The bytes are no AFC packet; the conversation cannot go on."""


@dataclass(frozen=True)
class Request:
    """A whole request other than a write. `body` is parameters and payload in one: clients differ in where they cut."""

    number: int
    operation: int
    body: bytes


@dataclass(frozen=True)
class WriteBegin:
    """A write to `handle` of `size_bytes` begins; WriteChunk events and one WriteEnd follow."""

    number: int
    handle: int
    size_bytes: int


@dataclass(frozen=True)
class WriteChunk:
    """Some of the bytes to write, never empty; a part of what was fed last, so good only until the next is fed."""

    data: memoryview


@dataclass(frozen=True)
class WriteEnd:
    """The write that began with `number` is complete."""

    number: int


Event = Request | WriteBegin | WriteChunk | WriteEnd


def encode(number: int, operation: int, parameters: bytes = b"", payload: bytes = b"") -> bytes:
    """One packet; an answer echoes the request's number."""
    own = _HEADER.size + len(parameters)
    return _HEADER.pack(MAGIC, own + len(payload), own, number, operation) + parameters + payload


def encode_status(number: int, status: Status) -> bytes:
    """The plain answer."""
    return encode(number, Operation.STATUS, _HANDLE.pack(status))


class AfcDecoder:
    """Bytes in, events out; holds at most one small request, and the piece fed last.

    Feed, take events until None, feed again: what a write brings is given as views of the piece, never copied.
    """

    def __init__(self) -> None:
        # the beginning of a request that is not whole yet; else empty
        self._buffer = bytearray()
        self._piece = memoryview(b"")
        self._write: WriteBegin | None = None
        self._write_left = 0

    @property
    def at_boundary(self) -> bool:
        """Whether the stream may end here without cutting a packet."""
        return not self._buffer and not self._piece and self._write is None

    def receive_data(self, data: bytes | memoryview) -> None:
        """Takes bytes from the wire."""
        # a caller that takes every event before it feeds again never pays for this copy
        self._piece = memoryview(b"".join((self._piece, data)) if self._piece else data)

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed; raises AfcError."""
        if self._write is not None:
            return self._next_of_write(self._write)
        if not self._gather(_HEADER.size):
            return None
        magic, whole, own, number, operation = _HEADER.unpack_from(self._buffer)
        if magic != MAGIC:
            raise AfcError(f"a packet begins with {magic!r} instead of {MAGIC!r}")
        if not _HEADER.size <= own <= whole:
            raise AfcError(f"a packet of {whole} bytes cannot have {own} bytes of header and parameters")
        if operation == Operation.WRITE:
            return self._begin_write(whole, number)
        if whole > _HEADER.size + REQUEST_LIMIT_BYTES:
            raise AfcError(f"a request of {whole} bytes (operation {operation}) exceeds {REQUEST_LIMIT_BYTES}")
        if not self._gather(whole):
            return None
        body = bytes(self._buffer[_HEADER.size :])
        self._buffer.clear()
        return Request(number, operation, body)

    def _gather(self, size: int) -> bool:
        """Moves bytes of the piece until the buffer holds `size`; False when there are not enough."""
        missing = max(0, size - len(self._buffer))
        self._buffer += self._piece[:missing]
        self._piece = self._piece[missing:]
        return len(self._buffer) >= size

    def _begin_write(self, whole: int, number: int) -> Event | None:
        size = whole - _HEADER.size - _HANDLE.size
        if not 0 <= size <= WRITE_LIMIT_BYTES:
            raise AfcError(f"a write packet of {whole} bytes has no handle or exceeds {WRITE_LIMIT_BYTES} bytes")
        if not self._gather(_HEADER.size + _HANDLE.size):
            return None
        (handle,) = _HANDLE.unpack_from(self._buffer, _HEADER.size)
        self._buffer.clear()
        self._write = WriteBegin(number, handle, size)
        self._write_left = size
        return self._write

    def _next_of_write(self, write: WriteBegin) -> Event | None:
        if self._write_left == 0:
            self._write = None
            return WriteEnd(write.number)
        if not self._piece:
            return None
        chunk = self._piece[: self._write_left]
        self._piece = self._piece[len(chunk) :]
        self._write_left -= len(chunk)
        return WriteChunk(chunk)
