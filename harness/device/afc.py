"""AFC, the file protocol of a phone, from the host's end. Sans-IO: requests become bytes, bytes become replies.

A packet is a 40-byte header (magic, whole length, length without the payload, number, operation), parameters, payload.
A reply bears the number of its request. What a phone sends is untrusted: lengths are checked before anything is kept,
and what makes no sense raises AfcGarbage, after which the connection is of no more use.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"CFA6LPAA"
_HEADER = struct.Struct("<8sQQQQ")
_NUMBER = struct.Struct("<Q")
# As much as one READ asks for; a directory of 20,000 names has a quarter of it.
READ_BYTES = 1024 * 1024
REPLY_LIMIT_BYTES = 4 * 1024 * 1024
MAX_NAMES = 100_000


class Operation(IntEnum):
    """What a packet asks for or answers, those that a client of ours uses."""

    STATUS = 0x01
    DATA = 0x02
    READ_DIR = 0x03
    REMOVE = 0x08
    MAKE_DIR = 0x09
    FILE_INFO = 0x0A
    DEVICE_INFO = 0x0B
    OPEN = 0x0D
    OPEN_RESULT = 0x0E
    READ = 0x0F
    WRITE = 0x10
    SEEK = 0x11
    CLOSE = 0x14
    SET_SIZE = 0x15
    RENAME = 0x18


class Status(IntEnum):
    """AFC's error numbers, by the names that libimobiledevice gave them."""

    SUCCESS = 0
    UNKNOWN_ERROR = 1
    HEADER_INVALID = 2
    NO_RESOURCES = 3
    READ_ERROR = 4
    WRITE_ERROR = 5
    UNKNOWN_PACKET_TYPE = 6
    INVALID_ARGUMENT = 7
    NOT_FOUND = 8
    IS_DIRECTORY = 9
    PERMISSION_DENIED = 10
    NOT_CONNECTED = 11
    TIMED_OUT = 12
    TOO_MUCH_DATA = 13
    END_OF_DATA = 14
    NOT_SUPPORTED = 15
    EXISTS = 16
    BUSY = 17
    NO_SPACE = 18
    WOULD_BLOCK = 19
    IO_ERROR = 20
    INTERRUPTED = 21
    IN_PROGRESS = 22
    INTERNAL_ERROR = 23
    MUX_ERROR = 30
    NO_MEMORY = 31
    NOT_ENOUGH_DATA = 32
    DIRECTORY_NOT_EMPTY = 33


# Asked about a file that is not there, some versions answer READ_ERROR.
ABSENT = frozenset({Status.NOT_FOUND, Status.READ_ERROR})


class OpenMode(IntEnum):
    """How a file is opened, as fopen's modes."""

    READ = 1
    UPDATE = 2
    """`r+`, and the file is made when there is none."""
    REPLACE = 3
    """`w`: emptied first."""


class Whence(IntEnum):
    """From where a seek counts."""

    BEGIN = 0


class AfcError(Exception):
    """A conversation over AFC did not go as asked."""


class AfcGarbage(AfcError):
    """What the phone sent is no AFC, or no answer to what was asked."""


class AfcRefused(AfcError):
    """The phone answered with an error; `status` is its number, which may be none of `Status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the phone answered {status_words(status)}")
        self.status = status


def status_words(status: int) -> str:
    """An error number for people: `no space (AFC status 18)`."""
    known = status in Status._value2member_map_
    name = Status(status).name.lower().replace("_", " ") if known else "an unknown error"
    return f"{name} (AFC status {status})"


@dataclass(frozen=True)
class Reply:
    """A whole answer. `body` is parameters and payload in one: versions differ in where they cut."""

    number: int
    operation: int
    body: bytes

    @property
    def status(self) -> int:
        """The status that it carries; SUCCESS for an answer that brings something. Raises AfcGarbage."""
        if self.operation != Operation.STATUS:
            return Status.SUCCESS
        if len(self.body) != _NUMBER.size:
            raise AfcGarbage(f"a status of {len(self.body)} bytes instead of {_NUMBER.size}")
        (status,) = _NUMBER.unpack(self.body)
        return int(status)


class ReplyDecoder:
    """Bytes in, replies out; holds at most one unfinished reply and what was fed last."""

    def __init__(self, limit_bytes: int = REPLY_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    @property
    def at_boundary(self) -> bool:
        """Whether the stream may end here without cutting a reply."""
        return not self._buffer

    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the wire. Take every reply before the next ones are fed, and the buffer stays small."""
        self._buffer += data

    def next_reply(self) -> Reply | None:
        """The next reply, or None when more bytes are needed; raises AfcGarbage."""
        begin = bytes(self._buffer[: len(MAGIC)])
        if not MAGIC.startswith(begin):
            raise AfcGarbage(f"a packet begins with {begin!r} instead of {MAGIC!r}")
        if len(self._buffer) < _HEADER.size:
            return None
        _, whole, own, number, operation = _HEADER.unpack_from(self._buffer)
        if not _HEADER.size <= own <= whole:
            raise AfcGarbage(f"a packet of {whole} bytes cannot have {own} bytes of header and parameters")
        if whole > _HEADER.size + self._limit_bytes:
            raise AfcGarbage(f"an answer of {whole} bytes (operation {operation}) exceeds {self._limit_bytes}")
        if len(self._buffer) < whole:
            return None
        body = bytes(self._buffer[_HEADER.size : whole])
        del self._buffer[:whole]
        return Reply(number, operation, body)


# -- requests


def request(number: int, operation: Operation, parameters: bytes = b"") -> bytes:
    """A request without a payload."""
    whole = _HEADER.size + len(parameters)
    return _HEADER.pack(MAGIC, whole, whole, number, operation) + parameters


def write_header(number: int, handle: int, size_bytes: int) -> bytes:
    """What precedes the `size_bytes` that are to be written where `handle` stands."""
    own = _HEADER.size + _NUMBER.size
    return _HEADER.pack(MAGIC, own + size_bytes, own, number, Operation.WRITE) + _NUMBER.pack(handle)


def path_parameters(*paths: str) -> bytes:
    """Paths, each with its end. Raises ValueError for one that cannot be said."""
    if any("\0" in path for path in paths):
        raise ValueError(f"a path with a NUL in it: {paths!r:.200}")
    return b"".join(path.encode() + b"\0" for path in paths)


def open_parameters(mode: OpenMode, path: str) -> bytes:
    """Of OPEN."""
    return _NUMBER.pack(mode) + path_parameters(path)


def handle_parameters(handle: int, *numbers: int) -> bytes:
    """Of CLOSE, READ (size) and SET_SIZE (size)."""
    return b"".join(_NUMBER.pack(number) for number in (handle, *numbers))


def seek_parameters(handle: int, offset_bytes: int) -> bytes:
    """Of SEEK, from the file's begin."""
    return struct.pack("<QQq", handle, Whence.BEGIN, offset_bytes)


# -- what replies bring


def read_handle(reply: Reply) -> int:
    """The handle that OPEN has answered with. Raises AfcGarbage."""
    if reply.operation != Operation.OPEN_RESULT or len(reply.body) != _NUMBER.size:
        raise AfcGarbage(f"opening a file was answered by operation {reply.operation} with {len(reply.body)} bytes")
    (handle,) = _NUMBER.unpack(reply.body)
    return int(handle)


def read_names(body: bytes) -> list[str]:
    """The names in a directory, without itself and its parent. Raises AfcGarbage."""
    names = _strings(body)
    if len(names) > MAX_NAMES:
        raise AfcGarbage(f"a directory of {len(names)} names exceeds {MAX_NAMES}")
    # a name is a part of a path that we put together: one with a slash in it would lead elsewhere
    return [name for name in names if name not in ("", ".", "..") and "/" not in name]


def read_dictionary(body: bytes) -> dict[str, str]:
    """Keys and values in turn, as a file's or the device's facts come. Raises AfcGarbage."""
    words = _strings(body)
    if len(words) % 2:
        raise AfcGarbage("a dictionary has a key without a value")
    return dict(zip(words[::2], words[1::2], strict=True))


def read_count(facts: dict[str, str], key: str) -> int | None:
    """A number of bytes among such facts; None when there is none. Raises AfcGarbage for one that is no number."""
    text = facts.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise AfcGarbage(f"{key} is {text!r:.40} instead of a number")
    return int(text)


def _strings(body: bytes) -> list[str]:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise AfcGarbage(f"names that are no UTF-8: {error.reason}") from error
    if not text:
        return []
    if not text.endswith("\0"):
        raise AfcGarbage("a list of names that breaks off")
    return text[:-1].split("\0")
