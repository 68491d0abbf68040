"""Reads `.ips` files: an app's crash report (bug type 309) and a JetsamEvent (298).

A report is two JSON documents: a header in the first line, a body after it. It comes from a phone: bounded, every
field checked, nothing assumed; what is missing is None. Pure functions, no I/O.
"""

from __future__ import annotations

import json
from typing import Any

from harness.core.errors import DeviceError
from harness.core.outcome import CrashReport, JetsamVictim

MAX_REPORT_BYTES = 32 * 1024 * 1024
# Messages kept of a crash report: enough for libc++abi's line and the lines around it.
MAX_MESSAGES = 16
MAX_MESSAGE_CHARS = 2_000

_CRASH = "309"
_JETSAM = "298"


class ReportError(DeviceError):
    """A file among the phone's crash reports that cannot be read as one."""


def parse_report(data: bytes, file: str) -> CrashReport | JetsamVictim | None:
    """The report in `data`; None for reports of other kinds (and Jetsam events that name no victim).

    Raises ReportError when the file is no report at all or is cut off.
    """
    if len(data) > MAX_REPORT_BYTES:
        raise ReportError(f"{file}: {len(data)} bytes, more than a report has")
    first, _, rest = data.partition(b"\n")
    header = _object(first, file)
    if header.get("bug_type") not in (_CRASH, _JETSAM):
        return None
    body = _object(rest, file)
    return _crash(body, file) if header["bug_type"] == _CRASH else _jetsam(body, file)


def _object(data: bytes, file: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{file}: not a whole crash report: {error}") from error
    if not isinstance(value, dict):
        raise ReportError(f"{file}: a crash report's parts are JSON objects")
    return value


def _crash(body: dict[str, Any], file: str) -> CrashReport:
    exception = _dict(body.get("exception"))
    return CrashReport(
        pid=_pid(body.get("pid"), file),
        process=_text(body.get("procName")) or "",
        signal=_text(exception.get("signal")),
        exception=_text(exception.get("type")),
        messages=tuple(_messages(body)),
        captured_at=_text(body.get("captureTime")),
        file=file,
    )


def _messages(body: dict[str, Any]) -> list[str]:
    told: list[str] = []
    for lines in _dict(body.get("asi")).values():
        told.extend(text for text in map(_text, lines if isinstance(lines, list) else [lines]) if text)
    return told[:MAX_MESSAGES]


def _jetsam(body: dict[str, Any], file: str) -> JetsamVictim | None:
    """The victim is the entry that has a `reason`, which need not be the largest process."""
    processes = body.get("processes")
    entries = [entry for entry in processes if isinstance(entry, dict)] if isinstance(processes, list) else []
    victim = next((entry for entry in entries if entry.get("reason")), None)
    if victim is None:
        return None
    page_bytes = _count(_dict(body.get("memoryStatus")).get("pageSize"))
    pages = _count(victim.get("rpages"))
    if page_bytes is None or pages is None:
        raise ReportError(f"{file}: the victim's pages or the page size are missing")
    lifetime_pages = _count(victim.get("lifetimeMax"))
    return JetsamVictim(
        pid=_pid(victim.get("pid"), file),
        process=_text(victim.get("name")) or "",
        reason=_text(victim.get("reason")) or "",
        footprint_bytes=pages * page_bytes,
        lifetime_max_bytes=None if lifetime_pages is None else lifetime_pages * page_bytes,
        captured_at=_text(body.get("date")),
        file=file,
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    """JSON may carry halves of surrogate pairs, which no file or database takes."""
    if not isinstance(value, str):
        return None
    return value[:MAX_MESSAGE_CHARS].encode("utf-8", "replace").decode()


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48 else None


def _pid(value: object, file: str) -> int:
    pid = _count(value)
    if pid is None:
        raise ReportError(f"{file}: no pid")
    return pid
