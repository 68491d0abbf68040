"""How a demo trial ends, what proves it, and the files in which that would be. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harness.core.outcome import Classification, CrashReport, JetsamVictim, Known, Outcome, classify

PROCESS = "Runner"
PAGE_BYTES = 16 * 1024
BAD_ALLOC = "libc++abi: terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc"
_STDERR = "demo: no engine has said this\n"
_LAST_PHASE = {Outcome.LOADED: "settle", Outcome.GPU_FAULT: "prefill", Outcome.LOST: "decode"}
_SIGNALS = {
    Outcome.BAD_ALLOC: ("SIGABRT", "signal 6", "EXC_CRASH"),
    Outcome.GPU_FAULT: ("SIGSEGV", "signal 11", "EXC_BAD_ACCESS"),
}


@dataclass(frozen=True)
class Ending:
    """An end with its evidence, and the files of it: name → text."""

    found: Classification
    files: Mapping[str, str] = field(default_factory=dict)


def last_phase(outcome: Outcome) -> str:
    """In which it ended."""
    return _LAST_PHASE.get(outcome, "create_engine")


def ending(outcome: Outcome, backend: str, pid: int, at: datetime, footprint_bytes: int, product_type: str) -> Ending:
    """The end `outcome` of the process `pid` at a time, with so large a footprint."""
    known: dict[str, Any] = {
        "pid": pid,
        "process_name": PROCESS,
        "requested_backend": backend,
        "process_running": False,
        "phone_present": True,
        "last_phase": last_phase(outcome),
        "stderr": _STDERR,
        "stderr_file": "stderr.txt",
    }
    files = {"stderr.txt": _STDERR}
    if outcome is Outcome.LOADED:
        known |= {"result_seen": True, "effective_backend": backend, "termination": "exit code 0"}
        known["backend_how"] = f"demo: {backend} was asked for"
    elif outcome is Outcome.LOST:
        cut = f"the phone left its cable at {at:%H:%M:%S} and did not come back within 10 s"
        known |= {"process_running": None, "phone_present": False, "cuts": (cut,), "cut_while_running": True}
    elif outcome is Outcome.JETSAM:
        name = f"JetsamEvent-{at:%Y-%m-%d-%H%M%S}.ips"
        victim = JetsamVictim(pid, PROCESS, "per-process-limit", footprint_bytes, None, None, name)
        known |= {"jetsam_victims": (victim,), "termination": "signal 9"}
        files[name] = _jetsam_event(victim, at, product_type)
    else:
        signal, termination, exception = _SIGNALS[outcome]
        if outcome is Outcome.BAD_ALLOC:
            known["stderr"] = files["stderr.txt"] = f"{_STDERR}{BAD_ALLOC}\n"
        messages = (BAD_ALLOC,) if outcome is Outcome.BAD_ALLOC else ()
        name = f"{PROCESS}-{at:%Y-%m-%d-%H%M%S}.ips"
        crash = CrashReport(pid, PROCESS, signal, exception, messages, None, name)
        known |= {"crash_reports": (crash,), "termination": termination, "effective_backend": backend}
        files[name] = _crash_report(crash, at, product_type)
    found = classify(Known(**known))
    assert found.outcome is outcome, f"{outcome} is not what its own evidence proves: {found}"
    return Ending(found, files)


def _crash_report(crash: CrashReport, at: datetime, product_type: str) -> str:
    body = {
        "demo": True,
        "captureTime": _stamp(at),
        "modelCode": product_type,
        "pid": crash.pid,
        "procName": crash.process,
        "exception": {"type": crash.exception, "signal": crash.signal},
        "asi": {"libc++abi": [message.removeprefix("libc++abi: ") for message in crash.messages]},
    }
    return _report({"bug_type": "309", "timestamp": _stamp(at), "name": crash.process}, body)


def _jetsam_event(victim: JetsamVictim, at: datetime, product_type: str) -> str:
    pages = victim.footprint_bytes // PAGE_BYTES
    row = {"pid": victim.pid, "name": victim.process, "reason": victim.reason, "rpages": pages, "lifetimeMax": pages}
    body = {
        "demo": True,
        "date": _stamp(at),
        "product": product_type,
        "memoryStatus": {"pageSize": PAGE_BYTES},
        "largestProcess": victim.process,
        "processes": [row],
    }
    return _report({"bug_type": "298", "timestamp": _stamp(at)}, body)


def _report(header: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    return f"{json.dumps(header)}\n{json.dumps(body, indent=2)}\n"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.00 +0000"
