"""usbmuxd's socket protocol, version 1 (property lists), from the server's end. Sans-IO.

A packet is four little-endian words (size with header, version, message, tag) and a property list.
"""

from __future__ import annotations

import plistlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from harness.virtual.wire.plist import Plist, PlistFrameError, parse_dictionary

_HEADER = struct.Struct("<IIII")
PLIST_VERSION = 1
PLIST_MESSAGE = 8
RESULT_MESSAGE = 1
# SavePairRecord is the largest request; a pair record is some 10 KB
PACKET_LIMIT_BYTES = 1024 * 1024


class Result(IntEnum):
    """usbmuxd's result numbers."""

    OK = 0
    BAD_COMMAND = 1
    BAD_DEVICE = 2
    REFUSED = 3
    BAD_VERSION = 6


class UsbmuxError(ValueError):
    """The bytes are no usbmux packet; the client that sent them is dropped."""


@dataclass(frozen=True)
class Request:
    """One property-list request and the tag its answer must carry."""

    tag: int
    message: Plist


@dataclass(frozen=True)
class UnsupportedVersion:
    """A packet of the old binary protocol: answer `encode_bad_version` and hang up."""

    tag: int
    version: int


def encode(tag: int, message: Mapping[str, Any]) -> bytes:
    """A packet holding `message`."""
    body = plistlib.dumps(dict(message))
    return _HEADER.pack(_HEADER.size + len(body), PLIST_VERSION, PLIST_MESSAGE, tag) + body


def encode_result(tag: int, number: Result) -> bytes:
    """The plain answer: a number and nothing else."""
    return encode(tag, {"MessageType": "Result", "Number": int(number)})


def encode_bad_version(tag: int) -> bytes:
    """The answer to the old binary protocol, in that protocol's own form."""
    return _HEADER.pack(_HEADER.size + 4, 0, RESULT_MESSAGE, tag) + struct.pack("<I", Result.BAD_VERSION)


def port_from_wire(number: object) -> int | None:
    """The TCP port a Connect names: it travels in network order inside a host-order number. None for nonsense."""
    if not isinstance(number, int) or not 0 <= number <= 0xFFFF:
        return None
    return (number & 0xFF) << 8 | number >> 8


class UsbmuxDecoder:
    """Bytes in, requests out. Read exactly `wants` bytes: after a Connect the stream belongs to the phone's port."""

    def __init__(self, limit_bytes: int = PACKET_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    @property
    def wants(self) -> int:
        """How many more bytes there must be before anything can happen; 0 when `next_event` has something to do."""
        return max(0, self._packet_bytes() - len(self._buffer))

    @property
    def at_boundary(self) -> bool:
        """Whether the stream may end here without cutting a packet."""
        return not self._buffer

    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the wire."""
        self._buffer += data

    def next_event(self) -> Request | UnsupportedVersion | None:
        """The next request, or None while it is incomplete; raises UsbmuxError."""
        size = self._packet_bytes()
        if len(self._buffer) < _HEADER.size or len(self._buffer) < size:
            return None
        _, version, kind, tag = _HEADER.unpack_from(self._buffer)
        body = bytes(self._buffer[_HEADER.size : size])
        del self._buffer[:size]
        if version != PLIST_VERSION or kind != PLIST_MESSAGE:
            return UnsupportedVersion(tag, version)
        try:
            return Request(tag, parse_dictionary(body))
        except PlistFrameError as error:
            raise UsbmuxError(str(error)) from error

    def _packet_bytes(self) -> int:
        """The size of the packet at hand; that of a header while even this is not there."""
        if len(self._buffer) < _HEADER.size:
            return _HEADER.size
        size: int = _HEADER.unpack_from(self._buffer)[0]
        if not _HEADER.size <= size <= self._limit_bytes:
            raise UsbmuxError(f"a packet of {size} bytes is outside {_HEADER.size}…{self._limit_bytes}")
        return size
