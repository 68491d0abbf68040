"""Property lists behind a 4-byte big-endian length: what lockdownd and most of its services speak. Sans-IO."""

from __future__ import annotations

import plistlib
import struct
from collections.abc import Mapping
from typing import Any

_LENGTH = struct.Struct(">I")
# pair records and lists of a hundred apps stay far below; an IPA never travels here
FRAME_LIMIT_BYTES = 16 * 1024 * 1024

Plist = dict[str, Any]


class PlistFrameError(ValueError):
    """The bytes are no property-list frame; the conversation cannot go on."""


def encode(message: Mapping[str, Any], *, binary: bool = False) -> bytes:
    """One frame holding `message`."""
    body = plistlib.dumps(dict(message), fmt=plistlib.FMT_BINARY if binary else plistlib.FMT_XML)
    return _LENGTH.pack(len(body)) + body


def parse_dictionary(body: bytes) -> Plist:
    """The dictionary a property list holds; PlistFrameError for anything else."""
    try:
        message = plistlib.loads(body)
    except Exception as error:  # hostile plists make plistlib raise nearly anything
        raise PlistFrameError(f"{len(body)} bytes are no property list: {error!r}") from error
    if not isinstance(message, dict):
        raise PlistFrameError(f"expected a dictionary at the top of the property list, got {type(message).__name__}")
    return message


class PlistDecoder:
    """Bytes in, dictionaries out. `wants` says how many bytes finish the current element, so nothing is over-read."""

    def __init__(self, limit_bytes: int = FRAME_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    @property
    def wants(self) -> int:
        """How many more bytes there must be before anything can happen; 0 when `next_event` has something to do."""
        size = self._body_bytes()
        needed = _LENGTH.size if size is None else _LENGTH.size + size
        return max(0, needed - len(self._buffer))

    @property
    def at_boundary(self) -> bool:
        """Whether the stream may end here without cutting a frame."""
        return not self._buffer

    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the wire."""
        self._buffer += data

    def next_event(self) -> Plist | None:
        """The next dictionary, or None while it is incomplete; raises PlistFrameError."""
        size = self._body_bytes()
        if size is None or len(self._buffer) < _LENGTH.size + size:
            return None
        body = bytes(self._buffer[_LENGTH.size : _LENGTH.size + size])
        del self._buffer[: _LENGTH.size + size]
        return parse_dictionary(body)

    def _body_bytes(self) -> int | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        size: int = _LENGTH.unpack_from(self._buffer)[0]
        if size > self._limit_bytes:
            raise PlistFrameError(f"a frame of {size} bytes exceeds the limit of {self._limit_bytes}")
        return size
