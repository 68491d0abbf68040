"""One virtual iPhone: its state, its apps, its processes, and the ports services are offered on.

Knows no protocol: services get a `Phone` and a `Stream`. Begun by `switch_on`, ended by `close`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.virtual.apps import AppStore
from harness.virtual.availability import is_offered
from harness.virtual.conditions import Conditions
from harness.virtual.events import AppLaunched, Events
from harness.virtual.link import Link
from harness.virtual.process import ProcessTable
from harness.virtual.stdio import StdioSockets
from harness.virtual.switches import Switches
from harness.virtual.trust import PairedHosts

if TYPE_CHECKING:
    from harness.virtual.state import PhoneState
    from harness.virtual.stream import SocketStream, Stream
    from harness.virtual.tunnel import Tunnel

Handler = Callable[["Stream", "Phone"], Awaitable[None]]
"""Serves one client of one service; StreamClosed may escape."""

# a handler of a port reached over usbmux: it may turn the stream into TLS, which a service cannot
PortHandler = Callable[["SocketStream", "Phone"], Awaitable[None]]

FIRST_SERVICE_PORT = 49152
LAST_SERVICE_PORT = 65535
# Ports offered by StartService and not yet fetched; the oldest offer lapses beyond this.
OFFERS_LIMIT = 64


@dataclass(frozen=True)
class OfferedPort:
    """What one connection to a port of StartService meets; `tls`: the first thing that happens there is a handshake."""

    serve: PortHandler
    tls: bool


class Phone:
    """A phone that is switched on."""

    def __init__(self, state: PhoneState, services: Mapping[str, Handler]) -> None:
        self.state = state
        self._services = services
        self.events = Events()
        self.switches = Switches()
        self.link = Link()
        self.apps = AppStore(state.home)
        self.processes = ProcessTable(state, self.apps, self.events)
        self.conditions = Conditions(state, self.processes.cpu_times)
        self.hosts = PairedHosts(state.home, state.udid)
        self.stdio = StdioSockets()
        self.tunnels: set[Tunnel] = set()
        self._offers: dict[int, OfferedPort] = {}
        self._next_port = FIRST_SERVICE_PORT

    @property
    def services(self) -> Mapping[str, Handler]:
        """The lockdown services this phone, as it is now, offers (see `availability`)."""
        return {name: serve for name, serve in self._services.items() if is_offered(name, self.state)}

    def switch_on(self) -> None:
        """Begins to keep the phone's conditions; needs a running event loop."""
        self.conditions.tell()
        self.conditions.start()
        self.events.subscribe(AppLaunched, lambda event: self.conditions.tell())

    async def restart(self) -> None:
        """What a reboot does inside: apps die without a report, services start anew. The cable is `usecases`' part."""
        self._offers.clear()
        await self.processes.restart()

    def offer_port(self, handler: PortHandler, *, tls: bool = True) -> int:
        """A port at which exactly one connection will meet `handler`, as lockdownd's StartService gives it.

        With `tls` the handler's first act is `stream.start_tls`: the client's bytes are held back until then.
        """
        port = self._next_port
        self._next_port = port + 1 if port < LAST_SERVICE_PORT else FIRST_SERVICE_PORT
        self._offers.pop(port, None)
        self._offers[port] = OfferedPort(handler, tls)
        while len(self._offers) > OFFERS_LIMIT:
            del self._offers[next(iter(self._offers))]
        return port

    def take_port(self, port: int) -> OfferedPort | None:
        """What is offered at `port`; the offer is used up. None when there is none."""
        return self._offers.pop(port, None)

    def drop_tunnels(self) -> int:
        """Ends every developer tunnel at once, as a phone does that tires of one; returns how many there were."""
        tunnels = list(self.tunnels)
        for tunnel in tunnels:
            tunnel.drop()
        return len(tunnels)

    async def close(self) -> None:
        """Kills every app and waits for their ends."""
        await self.conditions.close()
        await self.processes.close()
