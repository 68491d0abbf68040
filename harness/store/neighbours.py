"""Which databases name files in a results folder: its own `runs.db`, and servers that were opened with the folder.

Whoever removes what no record names must know of all of them.
"""

from __future__ import annotations

from pathlib import Path

from harness.store.address import DATABASE_NAME, ResultsAddress
from harness.store.owner import exclusive
from harness.store.telemetry import PART_SUFFIX, sync_file, sync_folder

NOTE = ".servers"
"""A line a server's database, without a password."""
LOCK_NAME = ".servers.lock"


def note_server(address: ResultsAddress) -> None:
    """Leaves a word in the folder that records of a server's database name files in it."""
    if address.url is None or address.text in servers(address.folder):
        return
    with exclusive(address.folder / LOCK_NAME):
        known = servers(address.folder)
        if address.text not in known:
            # by way of another name: one that is killed here must not make the others' files nobody's
            new = address.folder / f"{NOTE}{PART_SUFFIX}"
            new.write_text("".join(f"{one}\n" for one in [*known, address.text]), encoding="utf-8")
            sync_file(new)
            new.replace(address.folder / NOTE)
            sync_folder(address.folder)


def servers(folder: Path) -> list[str]:
    """The databases on servers that the folder was opened with."""
    note = folder / NOTE
    return note.read_text(encoding="utf-8").splitlines() if note.is_file() else []


def other_servers(address: ResultsAddress) -> list[str]:
    """Those but the one at hand."""
    return [one for one in servers(address.folder) if address.url is None or one != address.text]


def own_file(address: ResultsAddress) -> ResultsAddress | None:
    """Of a server's folder that holds a `runs.db`, too: the address of that."""
    is_there = address.url is not None and (address.folder / DATABASE_NAME).is_file()
    return ResultsAddress(address.folder) if is_there else None
