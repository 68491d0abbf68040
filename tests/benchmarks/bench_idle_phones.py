"""What idle phones cost: the CPU time and the memory of one process that hosts many of them and is left alone.

Not part of the tests. Run it from the project's folder:

    python tests/benchmarks/bench_idle_phones.py [--phones 32] [--seconds 20] [--listeners 4]

It prints the share of one core, the goal being under 5 % for 32 phones, and the memory of each phone. `--listeners`
keeps so many clients connected that wait for hotplug events, as a desktop's tools do.
"""

from __future__ import annotations

import argparse
import os
import plistlib
import socket
import struct
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from harness.virtual.running import start_phone

GOAL_PERCENT = 5.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 1024 * 1024
SETTLE_S = 2.0


def main() -> int:
    """Measures and prints; 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--phones", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--listeners", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        began_s = time.monotonic()
        phones = stack.enter_context(start_phone(home=Path(folder), options=["--count", str(options.phones)]))
        started_s = time.monotonic() - began_s
        for _ in range(options.listeners):
            stack.enter_context(listen(phones.usbmux))
        time.sleep(SETTLE_S)
        cpu_s, resident_bytes, wall_s = cpu_time_s(phones.pid), resident(phones.pid), time.monotonic()
        time.sleep(options.seconds)
        spent_s, wall_s = cpu_time_s(phones.pid) - cpu_s, time.monotonic() - wall_s
    percent = 100 * spent_s / wall_s
    lines = [
        f"phones            {options.phones}, listeners {options.listeners}",
        f"ready after       {started_s:.1f} s",
        f"idle CPU          {percent:.2f} % of one core (goal: under {GOAL_PERCENT:g} %) over {wall_s:.0f} s",
        f"resident          {resident_bytes / MIB:.0f} MiB, {resident_bytes / MIB / options.phones:.1f} MiB a phone",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if percent < GOAL_PERCENT else 1


def listen(address: str) -> socket.socket:
    """A client of usbmuxd that waits for events."""
    host, _, port = address.rpartition(":")
    client = socket.create_connection((host, int(port)))
    body = plistlib.dumps({"MessageType": "Listen", "ProgName": "bench"})
    client.sendall(struct.pack("<IIII", 16 + len(body), 1, 8, 1) + body)
    return client


def cpu_time_s(pid: int) -> float:
    """User + system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * PAGE_BYTES


if __name__ == "__main__":
    sys.exit(main())
