"""The reports a phone leaves about a death: JetsamEvent (bug type 298) and crash (309) `.ips` files.

An `.ips` is two JSON documents: one header line, then the body. Fields as in reports published by Apple and by
developers; what nobody here reads (threads, images) is left out rather than invented.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.virtual.app_process import ProcessInfo
    from harness.virtual.apps import InstalledApp
    from harness.virtual.memory import JetsamDecision, MemoryReading
    from harness.virtual.state import PhoneState

JETSAM_BUG_TYPE = "298"
CRASH_BUG_TYPE = "309"
# what a daemon that is killed had: plausible, chosen, nothing depends on it
OTHER_VICTIM_PAGES = 3000
ASI_LINES_LIMIT = 20
ASI_LINE_CHARS = 1000
# exception type and the words of strsignal() on Darwin, by signal
_EXCEPTIONS = {
    signal.SIGABRT: ("EXC_CRASH", "Abort trap: 6", 6),
    signal.SIGSEGV: ("EXC_BAD_ACCESS", "Segmentation fault: 11", 11),
    signal.SIGBUS: ("EXC_BAD_ACCESS", "Bus error: 10", 10),
    signal.SIGILL: ("EXC_BAD_INSTRUCTION", "Illegal instruction: 4", 4),
    signal.SIGTRAP: ("EXC_BREAKPOINT", "Trace/BPT trap: 5", 5),
    signal.SIGFPE: ("EXC_ARITHMETIC", "Floating point exception: 8", 8),
}
# what libstdc++ says where libc++abi says "terminating due to uncaught exception of type …"
_UNCAUGHT = re.compile(r"terminate called after throwing an instance of '(?P<type>[^'\n]{1,200})'")
_WHAT = re.compile(r"^\s*what\(\):\s*(?P<what>.{1,500})$", re.MULTILINE)
# sizes in pages of the daemons a JetsamEvent lists beside its victim: plausible, chosen, nothing depends on them
_BYSTANDERS = (("SpringBoard", 34, 9200), ("backboardd", 52, 2100), ("lockdownd", 61, 410), ("remoted", 95, 260))


def write_jetsam_event(state: PhoneState, victim: ProcessInfo, decision: JetsamDecision) -> Path:
    """Writes the report about an app that passed its footprint limit; the victim is the process with a `reason`."""
    now = state.now()
    page = state.page_size_bytes
    pages = -(-decision.footprint_bytes // page)
    row = {
        "uuid": str(uuid.uuid4()),
        "states": ["frontmost"],
        "killDelta": 0,
        "genCount": 0,
        "age": int((now - victim.started_at).total_seconds() * 1e9),
        "purgeable": 0,
        "fds": 50,
        "coalition": victim.pid,
        "rpages": pages,
        "reason": "per-process-limit",
        "physicalPages": {"internal": [pages, 0]},
        "pid": victim.pid,
        "cpuTime": round(decision.cpu_ns / 1e9, 6),
        "name": victim.name,
        "lifetimeMax": -(-decision.peak_footprint_bytes // page),
    }
    daemons = [_bystander(name, pid, size, "daemon") for name, pid, size in _BYSTANDERS]
    return _write_jetsam(state, now, pages, [row, *daemons])


def write_jetsam_of_other(
    state: PhoneState, victim: ProcessInfo, apps: Sequence[tuple[ProcessInfo, MemoryReading | None]]
) -> Path:
    """Writes the report about a daemon that was killed to free memory, while `apps` were running and lived on."""
    page = state.page_size_bytes
    row = _bystander(victim.name, victim.pid, OTHER_VICTIM_PAGES, "daemon") | {
        "reason": "vm-pageshortage",
        "killDelta": 0,
    }
    daemons = [_bystander(name, pid, size, "daemon") for name, pid, size in _BYSTANDERS if pid != victim.pid]
    alive = [
        _bystander(info.name, info.pid, -(-reading.footprint_bytes // page), "frontmost")
        for info, reading in apps
        if reading is not None
    ]
    return _write_jetsam(state, state.now(), OTHER_VICTIM_PAGES, [row, *daemons, *alive])


def _bystander(name: str, pid: int, pages: int, role: str) -> dict[str, Any]:
    """The row of a process; without `reason` it is one that lives on."""
    return {
        "uuid": str(uuid.uuid4()),
        "states": [role],
        "purgeable": 0,
        "coalition": pid,
        "rpages": pages,
        "physicalPages": {"internal": [pages, 0]},
        "pid": pid,
        "cpuTime": 1.0,
        "name": name,
        "lifetimeMax": pages,
    }


def _write_jetsam(state: PhoneState, now: datetime, pages: int, processes: list[dict[str, Any]]) -> Path:
    """Header and body around the rows; `pages` is what the victim had."""
    page = state.page_size_bytes
    largest = max(processes, key=lambda process: int(process["rpages"]))
    total_pages = state.ram_bytes // page
    incident = str(uuid.uuid4()).upper()
    header = {
        "bug_type": JETSAM_BUG_TYPE,
        "timestamp": _stamp(now),
        "os_version": state.os_label,
        "roots_installed": 0,
        "incident_id": incident,
    }
    body = {
        "crashReporterKey": state.udid.replace("-", "").lower(),
        "kernel": state.kernel,
        "product": state.product_type,
        "incident": incident,
        "date": _stamp(now),
        "build": state.os_label,
        "timeDelta": 3,
        "memoryStatus": {
            "compressorSize": 0,
            "compressions": 0,
            "decompressions": 0,
            "zoneMapCap": 0,
            "largestZone": "APFS_4K_OBJS",
            "largestZoneSize": 0,
            "pageSize": page,
            "uncompressed": 0,
            "zoneMapSize": 0,
            "memoryPages": {
                "active": pages,
                "throttled": 0,
                "fileBacked": total_pages // 5,
                "wired": total_pages // 6,
                "anonymous": pages,
                "purgeable": 0,
                "inactive": total_pages // 10,
                "free": max(0, total_pages // 3 - pages),
                "speculative": total_pages // 50,
            },
        },
        "largestProcess": largest["name"],
        "genCounter": 0,
        "processes": processes,
    }
    return _write(state, f"JetsamEvent-{now:%Y-%m-%d-%H%M%S}", header, body)


def write_crash_report(state: PhoneState, victim: ProcessInfo, app: InstalledApp, number: int, tail: str) -> Path:
    """Writes the report about an app a signal has ended; `tail` is the end of its standard error."""
    now = state.now()
    kind, indicator, apple_number = _EXCEPTIONS[signal.Signals(number)]
    incident = str(uuid.uuid4()).upper()
    version = str(app.info.get("CFBundleShortVersionString", ""))
    build = str(app.info.get("CFBundleVersion", ""))
    header = {
        "app_name": victim.name,
        "timestamp": _stamp(now),
        "app_version": version,
        "slice_uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{app.bundle_id}/{build}")),
        "build_version": build,
        "platform": 2,
        "bundleID": app.bundle_id,
        "share_with_app_devs": 0,
        "is_first_party": 0,
        "bug_type": CRASH_BUG_TYPE,
        "os_version": state.os_label,
        "roots_installed": 0,
        "name": victim.name,
        "incident_id": incident,
    }
    body = {
        "procRole": "Foreground",
        "version": 2,
        "userID": 501,
        "modelCode": state.product_type,
        "osVersion": {
            "isEmbedded": True,
            "train": f"iPhone OS {state.os_version}",
            "releaseType": "User",
            "build": state.os_build,
        },
        "captureTime": _stamp(now),
        "incident": incident,
        "pid": victim.pid,
        "cpuType": "ARM-64",
        "procLaunch": _stamp(victim.started_at),
        "procName": victim.name,
        "procPath": victim.device_path,
        "bundleID": app.bundle_id,
        "bundleInfo": {
            "CFBundleShortVersionString": version,
            "CFBundleVersion": build,
            "CFBundleIdentifier": app.bundle_id,
        },
        "parentProc": "launchd",
        "parentPid": 1,
        "exception": {
            "codes": "0x0000000000000000, 0x0000000000000000",
            "rawCodes": [0, 0],
            "type": kind,
            "signal": signal.Signals(number).name,
        },
        "termination": {
            "flags": 0,
            "code": apple_number,
            "namespace": "SIGNAL",
            "indicator": indicator,
            "byProc": victim.name,
            "byPid": victim.pid,
        },
        "asi": application_specific(number, victim.name, tail),
    }
    return _write(state, f"{victim.name}-{now:%Y-%m-%d-%H%M%S}", header, body)


def application_specific(number: int, process_name: str, tail: str) -> dict[str, list[str]]:
    """The `asi` dictionary: what libraries left to say, and the last lines of the process itself.

    An uncaught C++ exception is put the way libc++abi puts it, also when libstdc++ wrote it.
    """
    asi: dict[str, list[str]] = {}
    lines = [line[:ASI_LINE_CHARS] for line in tail.splitlines() if line.strip()][-ASI_LINES_LIMIT:]
    said_by_runtime = [line for line in lines if line.removeprefix("libc++abi: ").startswith("terminating ")]
    if said_by_runtime:
        asi["libc++abi"] = [line.removeprefix("libc++abi: ") for line in said_by_runtime]
    elif number == signal.SIGABRT and (uncaught := _UNCAUGHT.search(tail)) is not None:
        text = f"terminating due to uncaught exception of type {uncaught['type']}"
        what = _WHAT.search(tail, uncaught.end())
        asi["libc++abi"] = [f"{text}: {what['what']}" if what else text]
    if number == signal.SIGABRT:
        asi["libsystem_c.dylib"] = ["abort() called"]
    if lines:
        asi[process_name] = lines
    return asi


def _stamp(moment: datetime) -> str:
    """Apple's way to write a time: hundredths of a second and the zone."""
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 10_000:02d} {moment:%z}"


def _write(state: PhoneState, stem: str, header: Mapping[str, Any], body: Mapping[str, Any]) -> Path:
    """Puts a report where clients find it: complete or not at all, never over another of the same second."""
    state.crash_reports.mkdir(parents=True, exist_ok=True)
    draft = state.home / f".{uuid.uuid4().hex}.ips"
    draft.write_text(f"{json.dumps(header)}\n{json.dumps(body, indent=2)}\n", encoding="utf-8")
    try:
        for count in itertools.count():
            target = state.crash_reports / (f"{stem}.ips" if count == 0 else f"{stem}-{count}.ips")
            try:
                os.link(draft, target)
            except FileExistsError:
                continue
            return target
    finally:
        draft.unlink()
    raise AssertionError("unreachable: the loop ends by returning")
