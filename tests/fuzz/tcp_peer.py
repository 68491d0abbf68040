"""The TCP targets: single packets, and a host that plays with the phone's connections."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from harness.virtual.wire.tcp import Connected, ConnectionId, PeerClosed, Received, Reset, TcpResponder, Writable
from harness.virtual.wire.tcp_connection import RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES
from harness.virtual.wire.tcp_segment import ACK, SYN, MalformedPacket, Segment, build_packet, parse_packet
from tests.fuzz.measure import check_held

PHONE, HOST = IPv6Address("fd00::1"), IPv6Address("fd00::2")
_PORTS = (80, 81)
STEP = struct.Struct("<BBhhHBB")
_MAXIMUM_PACKETS = 8192
"""Both send buffers in segments of the smallest size allowed are no more than this."""


def run_packet(data: bytes) -> None:
    """One packet as it comes from the wire, and again with its length and checksum put right."""
    for packet in (data, _put_right(data)):
        try:
            segment = parse_packet(packet)
        except MalformedPacket:
            continue
        if segment is not None:
            # options that are not understood are not repeated
            assert parse_packet(build_packet(segment)) == segment


def _put_right(packet: bytes) -> bytes:
    """The packet with a true length and a true TCP checksum (RFC 1071), which no fuzzer guesses."""
    if len(packet) < 60:
        return packet
    tcp = packet[40:56] + bytes(2) + packet[58:]
    pseudo = packet[8:40] + struct.pack(">II", len(tcp), 6)
    words = pseudo + tcp + bytes(len(tcp) % 2)
    total = sum(struct.unpack(f">{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head = packet[:4] + struct.pack(">H", len(tcp)) + packet[6:40]
    return head + tcp[:16] + struct.pack(">H", 0xFFFF - total) + tcp[18:]


class _Peer:
    """The host's end as the fuzzer plays it: numbers near the right ones, with offsets of its choice."""

    def __init__(self) -> None:
        self.tcp = TcpResponder(PHONE, mtu_bytes=1500, random_iss=lambda: 0xFFFFFF00)
        for port in _PORTS:
            self.tcp.listen(port)
        self.now = 0.0
        self.sequence = dict.fromkeys(_PORTS, 0xFFFFFFF0)
        self.seen = dict.fromkeys(_PORTS, 0)
        self.open: set[ConnectionId] = set()
        self.unread: dict[ConnectionId, int] = {}

    def step(
        self, what: int, flags: int, sequence: int, acknowledgement: int, window: int, size: int, port: int
    ) -> None:
        own_port = _PORTS[port % len(_PORTS)]
        key = ConnectionId(HOST.packed, 7, own_port)
        action = what % 8
        if action == 1:
            assert 0 <= self.tcp.write(key, bytes(size * 256)) <= size * 256
        elif action == 2:
            amount = min(self.unread.get(key, 0), size * 64)
            self.unread[key] = self.unread.get(key, 0) - amount
            self.tcp.consumed(key, amount)
        elif action == 3:
            self.tcp.close(key)
            self.unread[key] = 0
        elif action == 4:
            self.tcp.abort(key)
        elif action == 5:
            self.now += size / 8
            self.tcp.on_timeout(self.now)
        else:
            self._segment(own_port, flags, sequence, acknowledgement, window, bytes(size * (what >> 3)))
        self._look()

    def _segment(self, port: int, flags: int, sequence: int, ack: int, window: int, payload: bytes) -> None:
        segment = Segment(
            source=HOST.packed,
            destination=PHONE.packed,
            source_port=7,
            destination_port=port,
            sequence=(self.sequence[port] + sequence) % (1 << 32),
            acknowledgement=(self.seen[port] + ack) % (1 << 32),
            flags=flags,
            window=window,
            payload=payload,
            mss_bytes=window if flags & SYN else None,
            window_scale=payload[0] if flags & SYN and payload else None,
        )
        if sequence == 0:
            self.sequence[port] = (self.sequence[port] + segment.length) % (1 << 32)
        self.tcp.receive_packet(build_packet(segment), self.now)

    def _look(self) -> None:
        for event in self.tcp.take_events():
            if isinstance(event, Connected):
                # perhaps again: after a farewell from both sides the same numbers may meet anew
                self.open.add(event.connection)
                self.unread[event.connection] = 0
            elif isinstance(event, Received):
                assert event.connection in self.open, "bytes on a connection that is not open"
                self.unread[event.connection] += len(event.data)
                assert self.unread[event.connection] <= RECEIVE_BUFFER_BYTES, "the window was overrun"
            elif isinstance(event, Reset):
                self.open.discard(event.connection)
            else:
                assert isinstance(event, (PeerClosed, Writable))
        count = 0
        while packets := self.tcp.take_packets(1 << 18, self.now):
            count += len(packets)
            assert count <= _MAXIMUM_PACKETS * len(_PORTS) * 4, "packets without end"
            for packet in packets:
                segment = parse_packet(packet)
                assert segment is not None
                if segment.source_port in self.seen and segment.flags & (SYN | ACK):
                    self.seen[segment.source_port] = (segment.sequence + segment.length) % (1 << 32)
        check_held(self.tcp, (SEND_BUFFER_BYTES + RECEIVE_BUFFER_BYTES) * len(_PORTS))


def run_tcp(data: bytes) -> None:
    """Steps of ten bytes: segments near the right numbers, reads, writes, closes, time."""
    peer = _Peer()
    for start in range(0, len(data) - STEP.size + 1, STEP.size):
        peer.step(*STEP.unpack_from(data, start))
