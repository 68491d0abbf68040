"""`control.sock` in a phone's home: lets other processes put their hands on the phone, one JSON object a line.

The requests and their words are those of `usecases`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.virtual import unix_socket
from harness.virtual.usecases import CannotDo

if TYPE_CHECKING:
    from harness.virtual.usecases import Usecases

LINE_LIMIT_BYTES = 1024 * 1024


class ControlSocket:
    """Serves `control.sock`."""

    def __init__(self, usecases: Usecases, path: Path) -> None:
        self._usecases = usecases
        self._path = path
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Begins to listen; replaces the socket of an earlier run (the home is locked, so nobody uses it)."""
        self._path.unlink(missing_ok=True)
        bound = unix_socket.bind(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=bound, limit=LINE_LIMIT_BYTES)
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stops listening and hangs up."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, ValueError):  # ValueError: a line beyond the limit
                while line := await reader.readline():
                    writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except ValueError:
            return {"ok": False, "error": "the line is no JSON"}
        if not isinstance(request, dict):
            return {"ok": False, "error": "the line is no JSON object"}
        try:
            return {"ok": True, **await self._usecases.perform(request)}
        except CannotDo as error:
            return {"ok": False, "error": str(error)}
