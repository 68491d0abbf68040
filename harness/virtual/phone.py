"""One virtual iPhone: its state, its apps, its processes, and the ports services are offered on.

Knows no protocol: services get a `Phone` and a `Stream`. Made by `open_phone`, ended by `close`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from harness.virtual.apps import AppStore
from harness.virtual.process import ProcessTable
from harness.virtual.trust import PairedHosts

if TYPE_CHECKING:
    from harness.virtual.state import PhoneState
    from harness.virtual.stream import SocketStream, Stream

Handler = Callable[["Stream", "Phone"], Awaitable[None]]
"""Serves one client of one service; StreamClosed may escape."""

# a handler of a port reached over usbmux: it may turn the stream into TLS, which a service cannot
PortHandler = Callable[["SocketStream", "Phone"], Awaitable[None]]

FIRST_SERVICE_PORT = 49152
LAST_SERVICE_PORT = 65535
# Ports offered by StartService and not yet fetched; the oldest offer lapses beyond this.
OFFERS_LIMIT = 64


class Phone:
    """A phone that is switched on."""

    def __init__(self, state: PhoneState, services: Mapping[str, Handler]) -> None:
        self.state = state
        self.services = services
        self.apps = AppStore(state.home)
        self.processes = ProcessTable(state, self.apps)
        self.hosts = PairedHosts(state.home, state.udid)
        self._offers: dict[int, PortHandler] = {}
        self._next_port = FIRST_SERVICE_PORT

    def offer_port(self, handler: PortHandler) -> int:
        """A port at which exactly one connection will meet `handler`, as lockdownd's StartService gives it.

        The handler's first act is `stream.start_tls`: the client's bytes are held back until then.
        """
        port = self._next_port
        self._next_port = port + 1 if port < LAST_SERVICE_PORT else FIRST_SERVICE_PORT
        self._offers.pop(port, None)
        self._offers[port] = handler
        while len(self._offers) > OFFERS_LIMIT:
            del self._offers[next(iter(self._offers))]
        return port

    def take_port(self, port: int) -> PortHandler | None:
        """The handler offered at `port`; the offer is used up. None when there is none."""
        return self._offers.pop(port, None)

    async def close(self) -> None:
        """Kills every app and waits for their ends."""
        await self.processes.close()
