"""The binary records of os_trace_relay's activity stream. Sans-IO; this end only writes them.

Form as libimobiledevice's `ostrace.h` and pymobiledevice3 read it: a packed little-endian header of 129 bytes, then
five strings, each with its NUL. A record travels behind a marker and its length.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

_HEADER = struct.Struct("<BIIIQ16sHQQQIBB6sQII16sHIIHHHHI")
_FRAME = struct.Struct("<BI")
_RECORD_MARKER = 2
_LOG_MESSAGE = 8
STRING_LIMIT_BYTES = 8192
"""The label and the paths have 16-bit lengths; whatever is longer is cut at a character's edge."""


@dataclass(frozen=True)
class TraceRecord:
    """One log message. `level`: 0 notice, 1 info, 2 debug, 0x10 error, 0x11 fault; `mach_ticks`: of 24 MHz."""

    pid: int
    seconds: int
    microseconds: int
    level: int
    process_path: str
    image_path: str
    message: str
    mach_ticks: int = 0
    thread_id: int = 1
    subsystem: str = ""
    category: str = ""


def encode_record(record: TraceRecord) -> bytes:
    """The record with its marker and length, ready to be sent."""
    process, image, message = map(_string, (record.process_path, record.image_path, record.message))
    labelled = bool(record.subsystem and record.category)
    subsystem, category = (_string(record.subsystem), _string(record.category)) if labelled else (b"", b"")
    header = _HEADER.pack(
        _RECORD_MARKER,
        _LOG_MESSAGE,
        _HEADER.size,
        record.pid,
        record.pid,
        _image_uuid(record.process_path),
        len(process),
        0,  # activity
        0,  # parent activity
        record.seconds,
        record.microseconds,
        0,
        record.level,
        bytes(6),
        record.mach_ticks,
        record.thread_id,
        0,
        _image_uuid(record.image_path),
        len(image),
        len(message),
        0,  # offset in the image
        len(subsystem),
        0,
        len(category),
        0,
        0,
    )
    body = header + process + image + message + subsystem + category
    return _FRAME.pack(_RECORD_MARKER, len(body)) + body


def encode_activity_reply(plist: bytes) -> bytes:
    """The answer to StartActivity: the length of the length, the length, both little-endian, the property list."""
    return struct.pack("<II", 4, len(plist)) + plist


def encode_reply(plist: bytes) -> bytes:
    """The answer to any other request: a byte 1, the length, big-endian, the property list."""
    return struct.pack(">BI", 1, len(plist)) + plist


def _string(text: str) -> bytes:
    data = text.replace("\0", "").encode("utf-8", "replace")
    if len(data) > STRING_LIMIT_BYTES:
        data = data[:STRING_LIMIT_BYTES].decode("utf-8", "ignore").encode()
    return data + b"\0"


def _image_uuid(path: str) -> bytes:
    """An image's UUID comes from its linker; here from its path, so that it is the same every time."""
    return uuid.uuid5(uuid.NAMESPACE_URL, path).bytes
