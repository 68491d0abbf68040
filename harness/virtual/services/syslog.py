"""com.apple.syslog_relay: the system log as text, one line after the other, until the client goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.virtual.log_tap import Level, LogLine, LogTap
from harness.virtual.services.conversation import read_to_the_end, until_first

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream

_LEVEL_NAMES = {
    Level.NOTICE: "Notice",
    Level.INFO: "Info",
    Level.DEBUG: "Debug",
    Level.ERROR: "Error",
    Level.FAULT: "Fault",
}
_LINE_END = b"\n\0"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


async def serve(stream: Stream, phone: Phone) -> None:
    """Sends lines; what the client says is not looked at."""
    tap = LogTap(phone)
    try:
        await until_first(_relay(stream, phone, tap), read_to_the_end(stream))
    finally:
        tap.close()


async def _relay(stream: Stream, phone: Phone, tap: LogTap) -> None:
    while True:
        await stream.send(format_line(await tap.next_line(), phone.state.device_name))


def format_line(line: LogLine, device_name: str) -> bytes:
    """`Mar  3 12:00:00 Device-name Process[pid] <Notice>: message`, with its end; the phone's clock is in UTC."""
    at = time.gmtime(line.unix_time_s)
    stamp = f"{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    # clients find the process behind the device's name by the spaces
    name = "-".join(device_name.split()) or "iPhone"
    head = f"{stamp} {name} {line.process}[{line.pid}] <{_LEVEL_NAMES[line.level]}>: "
    return (head + line.message).encode("utf-8", "replace") + _LINE_END
