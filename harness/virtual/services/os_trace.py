"""com.apple.os_trace_relay: the process list with names, and the system log as binary records.

CreateArchive is refused: a virtual phone keeps no log, and says so instead of sending an empty one.
"""

from __future__ import annotations

import plistlib
from typing import TYPE_CHECKING

from harness.virtual.log_tap import LogLine, LogTap
from harness.virtual.mach_time import mach_absolute_time
from harness.virtual.services.conversation import read_to_the_end, receive_plist, until_first
from harness.virtual.wire.os_trace import TraceRecord, encode_activity_reply, encode_record, encode_reply
from harness.virtual.wire.plist import Plist, PlistFrameError

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream

ALL_PROCESSES = -1
_SUCCESS = "RequestSuccessful"
_FAILED = "RequestFailed"
_MICROSECONDS = 1_000_000


async def serve(stream: Stream, phone: Phone) -> None:
    """Answers one request; an activity stream goes on until the client goes."""
    try:
        request = await receive_plist(stream)
    except PlistFrameError:
        return
    if request is None:
        return
    kind = request.get("Request")
    if kind == "PidList":
        names = {str(info.pid): {"ProcessName": info.name} for info in phone.processes.listing()}
        await stream.send(encode_reply(_plist({"Status": _SUCCESS, "Payload": names})))
    elif kind == "StartActivity":
        await _stream_activity(stream, phone, request)
    elif kind == "CreateArchive":
        await stream.send(encode_reply(_plist({"Status": _FAILED, "Reason": "a virtual phone keeps no log"})))
    else:
        await stream.send(encode_reply(_plist({"Status": _FAILED, "Reason": f"no request {str(kind)[:100]!r}"})))


async def _stream_activity(stream: Stream, phone: Phone, request: Plist) -> None:
    pid = request.get("Pid", ALL_PROCESSES)
    if type(pid) is not int:
        await stream.send(encode_activity_reply(_plist({"Status": _FAILED, "Reason": "Pid must be an integer"})))
        return
    tap = LogTap(phone)
    try:
        # the tap is there before the client is told: nothing printed after the answer is missed
        await stream.send(encode_activity_reply(_plist({"Status": _SUCCESS})))
        await until_first(_relay(stream, tap, pid), read_to_the_end(stream))
    finally:
        tap.close()


async def _relay(stream: Stream, tap: LogTap, pid: int) -> None:
    while True:
        line = await tap.next_line()
        if pid in (ALL_PROCESSES, line.pid):
            await stream.send(encode_record(_record(line)))


def _record(line: LogLine) -> TraceRecord:
    seconds, microseconds = divmod(int(line.unix_time_s * _MICROSECONDS), _MICROSECONDS)
    return TraceRecord(
        pid=line.pid,
        seconds=seconds,
        microseconds=microseconds,
        level=line.level,
        process_path=line.path,
        image_path=line.path,
        message=line.message,
        mach_ticks=mach_absolute_time(),
    )


def _plist(answer: Plist) -> bytes:
    return plistlib.dumps(answer, fmt=plistlib.FMT_BINARY)
