"""The phone's TCP against a small client, both in memory, over a network that loses, repeats and reorders."""

from __future__ import annotations

import heapq
import itertools
from ipaddress import IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.virtual.wire.tcp import (
    Connected,
    ConnectionId,
    Event,
    PeerClosed,
    Received,
    Reset,
    TcpResponder,
    Writable,
)
from harness.virtual.wire.tcp_connection import (
    INITIAL_RTO_S,
)
from harness.virtual.wire.tcp_segment import (
    ACK,
    FIN,
    RST,
    SYN,
    Segment,
    build_packet,
    parse_packet,
)

PHONE, HOST = IPv6Address("fd00::1"), IPv6Address("fd00::2")
PORT, CLIENT_PORT = 50_000, 1234
MTU_BYTES = 1500
M = 1 << 32


class Client:
    """An active opener: go-back-N like its peer, accepts only what comes in order. `window` is what it grants."""

    def __init__(self, data: bytes, *, iss: int, window: int = 60_000, scale: int | None = 0) -> None:
        self.data, self.iss, self.window, self.scale = data, iss, window, scale
        self.peer_iss: int | None = None
        self.acked = self.next = 0
        self.peer_window = 0
        self.peer_shift = 0
        self.received = bytearray()
        self.expected = 0
        self.peer_closed = self.reset = False
        self.close_when_sent = True
        self.deadline: float | None = None
        self.ack_due = False

    @property
    def all_acked(self) -> bool:
        return self.acked == len(self.data) + 2

    def packet(self, flags: int, position: int, payload: bytes = b"") -> bytes:
        opening = bool(flags & SYN)
        return build_packet(
            Segment(
                source=HOST.packed,
                destination=PHONE.packed,
                source_port=CLIENT_PORT,
                destination_port=PORT,
                sequence=(self.iss + position) % M,
                acknowledgement=0 if self.peer_iss is None else (self.peer_iss + self.expected) % M,
                flags=flags,
                window=self.window,
                payload=payload,
                mss_bytes=1400 if opening else None,
                window_scale=self.scale if opening else None,
            )
        )

    def pump(self, now: float) -> list[bytes]:
        out: list[bytes] = []
        if self.reset:
            return out
        if self.next == 0:
            out.append(self.packet(SYN, 0))
            self.next = 1
        elif self.peer_iss is not None:
            edge = self.acked + self.peer_window
            while self.next <= len(self.data) and self.next < edge:
                payload = self.data[self.next - 1 :][: min(1400, edge - self.next)]
                out.append(self.packet(ACK, self.next, payload))
                self.next += len(payload)
            if self.next == len(self.data) + 1 and self.close_when_sent:
                out.append(self.packet(FIN | ACK, self.next))
                self.next += 1
            if self.ack_due and not out:
                out.append(self.packet(ACK, self.next))
        self.ack_due = False
        if self.deadline is None and (self.next > self.acked or self.next <= len(self.data)):
            self.deadline = now + INITIAL_RTO_S
        return out

    def on_timeout(self) -> None:
        self.deadline = None
        self.next = self.acked

    def receive(self, packet: bytes) -> None:
        segment = parse_packet(packet)
        assert segment is not None
        if segment.flags & RST:
            self.reset, self.deadline = True, None
            return
        if segment.flags & SYN:
            if self.peer_iss is None:
                self.peer_iss, self.expected = segment.sequence, 1
                self.peer_shift = segment.window_scale or 0
            self.ack_due = True
        if self.peer_iss is None:
            return
        ack = (segment.acknowledgement - self.iss) % M
        if self.acked < ack <= len(self.data) + 2:
            self.acked, self.next, self.deadline = ack, max(self.next, ack), None
        if ack >= self.acked:
            self.peer_window = segment.window << (0 if segment.flags & SYN else self.peer_shift)
        if segment.flags & SYN:
            return
        position = (segment.sequence - self.peer_iss) % M
        if segment.length:
            self.ack_due = True
        if position <= self.expected and not self.peer_closed:
            fresh = segment.payload[self.expected - position :]
            self.received += fresh
            self.expected += len(fresh)
            if segment.flags & FIN and position + len(segment.payload) == self.expected:
                self.peer_closed = True
                self.expected += 1


class World:
    """Client, phone, and what happens to each packet between them; time jumps from event to event."""

    def __init__(self, client: Client, fates: list[int], *, iss: int, read_slowly: bool = False) -> None:
        self.client = client
        self.phone = TcpResponder(PHONE, mtu_bytes=MTU_BYTES, random_iss=lambda: iss)
        self.phone.listen(PORT)
        self.fates = iter(fates)
        self.now = 0.0
        self.order = itertools.count()
        self.flying: list[tuple[float, int, bool, bytes]] = []
        self.events: list[Event] = []
        self.received = bytearray()
        self.to_send = b""
        self.close_after: bool = True
        self.read_slowly = read_slowly
        self.id = ConnectionId(HOST.packed, CLIENT_PORT, PORT)

    def fly(self, to_phone: bool, packet: bytes) -> None:
        fate = next(self.fates, 0)  # 0 arrives · 1 lost · 2 twice · 3 late
        delays = {0: [0.001], 1: [], 2: [0.001, 0.004], 3: [0.02]}[fate]
        for delay in delays:
            heapq.heappush(self.flying, (self.now + delay, next(self.order), to_phone, packet))

    def exchange(self) -> None:
        for packet in self.client.pump(self.now):
            self.fly(True, packet)
        while packets := self.phone.take_packets(20_000, self.now):
            for packet in packets:
                self.fly(False, packet)
        for event in self.phone.take_events():
            self.events.append(event)
            if isinstance(event, Received):
                self.received += event.data
                self.phone.consumed(self.id, len(event.data))
            if isinstance(event, Connected | Writable):
                self.offer()

    def offer(self) -> None:
        taken = self.phone.write(self.id, self.to_send)
        self.to_send = self.to_send[taken:]
        if not self.to_send and self.close_after:
            self.phone.close(self.id)

    def step(self) -> bool:
        """One event; False when nothing will ever happen again."""
        self.exchange()
        times = [t for t in (self.client.deadline, self.phone.next_timeout()) if t is not None]
        if self.flying:
            times.append(self.flying[0][0])
        if not times:
            return False
        self.now = max(self.now, min(times))
        if self.client.deadline is not None and self.client.deadline <= self.now:
            self.client.on_timeout()
        self.phone.on_timeout(self.now)
        while self.flying and self.flying[0][0] <= self.now:
            _, _, to_phone, packet = heapq.heappop(self.flying)
            if to_phone:
                self.phone.receive_packet(packet, self.now)
            else:
                self.client.receive(packet)
        self.exchange()
        return True

    def run(self, steps: int = 5_000) -> None:
        for _ in range(steps):
            if not self.step():
                return
        raise AssertionError("the two ends never come to rest")


FATES = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), max_size=40)


@settings(max_examples=60)
@given(
    st.integers(0, 20_000),
    st.integers(0, 20_000),
    FATES,
    st.integers(0, M - 1) | st.integers(M - 5000, M - 1),
    st.integers(0, M - 1) | st.integers(M - 5000, M - 1),
    st.sampled_from([None, 0, 3]),
)
def test_both_directions_arrive_whole_whatever_the_network_does(
    up: int, down: int, fates: list[int], iss: int, peer_iss: int, scale: int | None
) -> None:
    sent_up, sent_down = bytes(i % 251 for i in range(up)), bytes(i % 241 for i in range(down))
    client = Client(sent_up, iss=peer_iss, window=5000, scale=scale)
    world = World(client, fates, iss=iss)
    world.to_send = sent_down
    # closing throws away what still comes, so the phone closes last here
    world.close_after = False
    for _ in range(5_000):
        if PeerClosed(world.id) in world.events:
            break
        assert world.step()
    assert world.received == sent_up
    world.close_after = True
    world.offer()
    world.run()
    assert client.received == sent_down
    assert client.peer_closed
    assert client.all_acked
    assert not client.reset
    assert Reset(world.id) not in world.events
    assert world.events.count(Connected(world.id)) == 1
    assert world.phone.next_timeout() is None


@settings(max_examples=40)
@given(st.integers(0, 20_000), FATES)
def test_the_phone_may_close_first(down: int, fates: list[int]) -> None:
    sent = bytes(i % 241 for i in range(down))
    client = Client(b"", iss=1)
    client.close_when_sent = False
    world = World(client, fates, iss=7)
    world.to_send = sent
    while not client.peer_closed:
        assert world.step()
    client.close_when_sent = True
    world.run()
    assert client.received == sent
    # a host that closes long after the phone may meet a phone that has forgotten it: nothing is lost by that
    assert client.all_acked or client.reset
    assert Reset(world.id) not in world.events
    assert world.phone.next_timeout() is None
