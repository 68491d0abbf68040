"""Between a host and a port of an app: copies both ways, hears which phase the app says it is in, and can be deaf.

An app speaks lines of JSON (docs/runner-protocol.md); only `phase` lines are looked at, and only while somebody
waits for one. An app that speaks anything else is copied all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from harness.virtual.events import AppPhase
from harness.virtual.stream import StreamClosed

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream

# the runner's protocol allows lines of 64 KiB; what is longer is no line of it
LINE_LIMIT_BYTES = 64 * 1024
_MARK = b'"phase"'


class PhaseScanner:
    """Finds the beginnings of phases in a stream of lines; sans-IO. What is no such line is passed over."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._too_long = False

    @property
    def buffered_bytes(self) -> int:
        """How much of an unfinished line is held."""
        return len(self._line)

    def receive_data(self, data: bytes) -> list[str]:
        """The names of the phases that the lines completed by `data` say have begun, in order."""
        found: list[str] = []
        for piece in data.splitlines(keepends=True):
            if len(self._line) + len(piece) > LINE_LIMIT_BYTES:
                self._line.clear()
                self._too_long = True
            if not self._too_long:
                self._line += piece
            if piece.endswith(b"\n"):
                if not self._too_long and (name := _begun_phase(self._line)) is not None:
                    found.append(name)
                self._line.clear()
                self._too_long = False
        return found


def _begun_phase(line: bytearray) -> str | None:
    if _MARK not in line:
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("ev") != "phase" or event.get("edge") != "begin":
        return None
    name = event.get("name")
    return name if isinstance(name, str) else None


async def splice(host: Stream, app: Stream, phone: Phone) -> None:
    """Copies both ways until either side has nothing more to say; a half-closed side ends the whole connection."""

    async def upward() -> None:
        with contextlib.suppress(StreamClosed):
            while data := await host.receive():
                await app.send(data)

    tasks = [asyncio.create_task(upward()), asyncio.create_task(_to_host(app, host, phone))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await app.close()


async def _to_host(app: Stream, host: Stream, phone: Phone) -> None:
    scanner: PhaseScanner | None = None
    swallowed = False
    with contextlib.suppress(StreamClosed):
        while data := await app.receive():
            if phone.switches.app_silent:
                swallowed = True
                continue
            if swallowed:
                return  # a stream with a hole in it is none: the host has to connect again
            if garbage := phone.switches.app_garbage:
                phone.switches.app_garbage = b""
                await host.send(garbage)
            await host.send(data)
            if not phone.events.wanted(AppPhase):
                scanner = None
                continue
            if scanner is None:
                # the first line may be cut, as the connection is older than the wish to know; then it is passed over
                scanner = PhaseScanner()
            for name in scanner.receive_data(data):
                phone.events.emit(AppPhase(name))
