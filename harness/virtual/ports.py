"""Finds out whether an app of the phone listens on a port of the loopback interface, from /proc alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

LISTEN_STATE = "0A"  # TCP_LISTEN in <net/tcp_states.h>
# /proc/net/tcp writes addresses as the machine's own 32-bit words
_ANY = "00000000"
_LOOPBACK = f"{int.from_bytes(bytes([127, 0, 0, 1]), 'little'):08X}"


def app_listens(pids: Iterable[int], port: int) -> bool:
    """Whether one of `pids` holds a socket that listens on 127.0.0.1 (or every address) at `port`."""
    inodes = _listening_inodes(port)
    return bool(inodes) and any(inodes & _socket_inodes(pid) for pid in pids)


def _listening_inodes(port: int) -> set[str]:
    wanted = {f"{_LOOPBACK}:{port:04X}", f"{_ANY}:{port:04X}"}
    rows = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return {row[9] for row in rows if row[1] in wanted and row[3] == LISTEN_STATE}


def _socket_inodes(pid: int) -> set[str]:
    found = set()
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            target = _link(entry.path)
            if target.startswith("socket:["):
                found.add(target.removeprefix("socket:[").removesuffix("]"))
    except OSError:
        return set()  # the process has gone meanwhile
    return found


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""  # the descriptor was closed between the listing and now
