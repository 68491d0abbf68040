"""The phone's TCP/IP: answers IPv6 packets addressed to it, passive opens only. Sans-IO, no clock, no asyncio.

Packets in by `receive_packet`, packets out by `take_packets`, what happened by `take_events`. Time is whatever
the caller counts in seconds: `next_timeout` says when `on_timeout` is due. Packets are made only when they are
taken, so a caller that is slow to send holds the connections back instead of filling a queue.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address

from harness.virtual.wire.tcp_connection import (
    Connected,
    ConnectionId,
    Event,
    PeerClosed,
    Received,
    Reset,
    TcpConnection,
    Writable,
)
from harness.virtual.wire.tcp_segment import ACK, RST, SYN, MalformedPacket, Segment, build_packet, parse_packet

__all__ = ["Connected", "ConnectionId", "Event", "PeerClosed", "Received", "Reset", "TcpResponder", "Writable"]

MAXIMUM_CONNECTIONS = 256
MAXIMUM_WAITING_RESETS = 256
"""Answers to strays; more at once are dropped, as any packet may be."""
FIRST_EPHEMERAL_PORT = 49_152
LAST_PORT = 65_535


class TcpError(Exception):
    """The phone's side asked for something that cannot be."""


class TcpResponder:
    """All TCP of one address. `random_iss` is only for tests that want the same packets each time."""

    def __init__(
        self,
        address: IPv6Address,
        *,
        mtu_bytes: int,
        random_iss: Callable[[], int] = lambda: secrets.randbits(32),
    ) -> None:
        self._address = address.packed
        self._mtu_bytes = mtu_bytes
        self._random_iss = random_iss
        self._ports: set[int] = set()
        self._connections: dict[ConnectionId, TcpConnection] = {}
        self._resets: deque[Segment] = deque(maxlen=MAXIMUM_WAITING_RESETS)
        self._events: list[Event] = []
        self._turn: deque[ConnectionId] = deque()

    # --- what the phone's side asks for

    def listen(self, port: int = 0) -> int:
        """Accepts connections to `port`, or to a free one for 0; returns it. Raises TcpError when it is taken."""
        if port == 0:
            free = (p for p in range(FIRST_EPHEMERAL_PORT, LAST_PORT + 1) if p not in self._ports)
            port = next(free, 0)
        if not 0 < port <= LAST_PORT or port in self._ports:
            raise TcpError(f"port {port} cannot be listened on: not a port, or taken")
        self._ports.add(port)
        return port

    def write(self, connection: ConnectionId, data: bytes) -> int:
        """How many of the first bytes were taken; `Writable` follows a short write. 0 on a gone connection."""
        found = self._connections.get(connection)
        return 0 if found is None else found.write(data)

    def consumed(self, connection: ConnectionId, size: int) -> None:
        """The service has read `size` bytes of what `Received` gave."""
        if found := self._connections.get(connection):
            found.consumed(size)

    def close(self, connection: ConnectionId) -> None:
        """Ends the connection once everything written is delivered."""
        if found := self._connections.get(connection):
            found.close()

    def abort(self, connection: ConnectionId) -> None:
        """RST, at once."""
        if found := self._connections.pop(connection, None):
            self._resets.append(found.reset_segment())

    # --- packets and time

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Takes one IPv6 packet; malformed ones, other protocols and other addresses are dropped without a word."""
        try:
            segment = parse_packet(packet)
        except MalformedPacket:
            return
        if segment is None or segment.destination != self._address:
            return
        key = ConnectionId(segment.source, segment.source_port, segment.destination_port)
        is_opening = bool(segment.flags & SYN) and not segment.flags & (ACK | RST)
        connection = self._connections.get(key)
        if connection is not None and is_opening and connection.is_replaced_by(segment):
            del self._connections[key]
            connection = None
        if connection is None:
            if is_opening and key.local_port in self._ports and len(self._connections) < MAXIMUM_CONNECTIONS:
                self._connections[key] = TcpConnection(
                    key, self._address, segment, iss=self._random_iss(), mtu_bytes=self._mtu_bytes
                )
            elif not segment.flags & RST:
                self._refuse(segment)
            return
        connection.on_segment(segment, now)
        self._collect(connection)

    def take_packets(self, limit_bytes: int, now: float) -> list[bytes]:
        """The packets to send now, about `limit_bytes` of them; ask again once they are sent, until none come.

        Connections take turns, so that a large transfer does not starve a small one.
        """
        packets: list[bytes] = []
        size = 0
        while self._resets and size < limit_bytes:
            packets.append(build_packet(self._resets.popleft()))
            size += len(packets[-1])
        self._turn.extend(key for key in self._connections if key not in self._turn)
        for _ in range(len(self._turn)):
            key = self._turn.popleft()
            connection = self._connections.get(key)
            if connection is None:
                continue
            self._turn.append(key)
            for segment in connection.pump(now):
                packets.append(build_packet(segment))
                size += len(packets[-1])
                if size >= limit_bytes:
                    return packets
        return packets

    def take_events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def next_timeout(self) -> float | None:
        """When `on_timeout` must be called next; None while nothing waits."""
        deadlines = [c.deadline for c in self._connections.values() if c.deadline is not None]
        return min(deadlines, default=None)

    def on_timeout(self, now: float) -> None:
        """Everything that is due by `now`: retransmissions, window probes, farewells."""
        for connection in list(self._connections.values()):
            if connection.deadline is not None and connection.deadline <= now:
                connection.on_timeout(now)
                self._collect(connection)

    # --- helpers

    def _collect(self, connection: TcpConnection) -> None:
        self._events += connection.events
        connection.events.clear()
        if connection.finished:
            del self._connections[connection.id]
            if connection.reset_to_send:
                self._resets.append(connection.reset_segment())

    def _refuse(self, segment: Segment) -> None:
        """RFC 9293 §3.10.7.1: how a port that is closed answers."""
        has_ack = bool(segment.flags & ACK)
        self._resets.append(
            Segment(
                source=self._address,
                destination=segment.source,
                source_port=segment.destination_port,
                destination_port=segment.source_port,
                sequence=segment.acknowledgement if has_ack else 0,
                acknowledgement=0 if has_ack else (segment.sequence + segment.length) % (1 << 32),
                flags=RST if has_ack else RST | ACK,
                window=0,
            )
        )
