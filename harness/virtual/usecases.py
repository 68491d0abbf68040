"""The hands a test puts on a phone: pull the cable, lock it, heat it up, launch or kill an app.

Reachable from outside through `control.sock` in the phone's home, one JSON object a line, answered by one:
``{"do": "unplug"}`` → ``{"ok": true}``, ``{"do": "launch", "bundle_id": "…"}`` → ``{"ok": true, "pid": 4711}``, and
``{"ok": false, "error": "…"}`` for what cannot be done. No service of the phone leads here. What there is:

========================  =====================================================================
``unplug`` / ``plug``     the cable
``trust``                 ``state``: trusted, pending, denied or locked
``forget_hosts``          every paired host is forgotten
``battery``               any of ``percent``, ``charging``, ``temperature_celsius``
``developer_mode``        ``on``: true or false
``disk``                  ``free_bytes``: what services may still write; null for no such limit
``launch``                ``bundle_id``, ``arguments`` (list), ``environment`` (dictionary)
``kill``                  ``pid``, ``signal`` (number, 9 when absent)
``processes``             answers ``processes``: pid, name and bundle id of each app process
``memory``                ``pid``; answers ``memory``: a reading, null when it is gone
========================  =====================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.virtual import unix_socket
from harness.virtual.process import LaunchRefused, NoSuchProcess
from harness.virtual.state import Trust

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.server import Usbmuxd

LINE_LIMIT_BYTES = 1024 * 1024


class CannotDo(Exception):
    """A request nobody could fulfil; the message says why."""


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Trust(_Words):
    state: Trust = Field(strict=False)


class _Battery(_Words):
    percent: int | None = Field(default=None, ge=0, le=100)
    charging: bool | None = None
    temperature_celsius: float | None = Field(default=None, ge=-40, le=100)


class _DeveloperMode(_Words):
    on: bool


class _Disk(_Words):
    free_bytes: int | None = Field(ge=0)


class _Launch(_Words):
    bundle_id: str
    arguments: list[str] = []
    environment: dict[str, str] = {}
    kill_existing: bool = True


class _Kill(_Words):
    pid: int
    signal: int = Field(default=int(signal.SIGKILL), ge=1, le=64)


class _Pid(_Words):
    pid: int


class Usecases:
    """What can be done to one phone; the methods are for tests in the same process, `control.sock` for all others."""

    def __init__(self, phone: Phone, usbmuxd: Usbmuxd) -> None:
        self._phone = phone
        self._usbmuxd = usbmuxd

    def unplug(self) -> None:
        """Pulls the cable."""
        self._usbmuxd.unplug()

    def plug(self) -> None:
        """Puts the cable back."""
        self._usbmuxd.plug()

    def set_trust(self, trust: Trust) -> None:
        """What a host meets from now on; hosts that are paired stay so."""
        self._phone.state.trust = trust

    def forget_hosts(self) -> None:
        """Unpairs everybody."""
        self._phone.hosts.unpair_all()

    def set_battery(
        self, *, percent: int | None = None, charging: bool | None = None, temperature_celsius: float | None = None
    ) -> None:
        """Changes the readings that are given."""
        battery = self._phone.state.battery
        if percent is not None:
            battery.percent = percent
        if charging is not None:
            battery.charging = charging
        if temperature_celsius is not None:
            battery.temperature_celsius = temperature_celsius

    def set_developer_mode(self, on: bool) -> None:
        """Switches Developer Mode."""
        self._phone.state.developer_mode = on

    def set_disk(self, free_bytes: int | None) -> None:
        """Leaves `free_bytes` for services to write; None lifts that."""
        self._phone.state.disk_budget_bytes = free_bytes

    async def perform(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request of the control socket; CannotDo says what is wrong with it."""
        words = {name: value for name, value in request.items() if name != "do"}
        try:
            return await self._perform(request.get("do"), words)
        except ValidationError as error:
            details = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise CannotDo(f"{request.get('do')}: {details}") from error
        except (LaunchRefused, NoSuchProcess) as error:
            raise CannotDo(str(error)) from error

    async def _perform(self, what: object, words: dict[str, Any]) -> dict[str, Any]:
        processes = self._phone.processes
        match what:
            case "unplug":
                _Words.model_validate(words)
                self.unplug()
            case "plug":
                _Words.model_validate(words)
                self.plug()
            case "trust":
                self.set_trust(_Trust.model_validate(words).state)
            case "forget_hosts":
                _Words.model_validate(words)
                self.forget_hosts()
            case "battery":
                self.set_battery(**_Battery.model_validate(words).model_dump())
            case "developer_mode":
                self.set_developer_mode(_DeveloperMode.model_validate(words).on)
            case "disk":
                self.set_disk(_Disk.model_validate(words).free_bytes)
            case "launch":
                launch = _Launch.model_validate(words)
                pid = await processes.launch(
                    launch.bundle_id, launch.arguments, launch.environment, kill_existing=launch.kill_existing
                )
                return {"pid": pid}
            case "kill":
                kill = _Kill.model_validate(words)
                processes.kill(kill.pid, kill.signal)
            case "processes":
                _Words.model_validate(words)
                rows = [row for row in processes.listing() if row.bundle_id is not None]
                return {"processes": [{"pid": r.pid, "name": r.name, "bundle_id": r.bundle_id} for r in rows]}
            case "memory":
                reading = processes.reading(_Pid.model_validate(words).pid)
                return {"memory": None if reading is None else dataclasses.asdict(reading)}
            case _:
                raise CannotDo(f"nothing is known as {what!r}")
        return {}


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
