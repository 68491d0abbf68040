"""The phone's TCP against a small client, both in memory, over a network that loses, repeats and reorders."""

from __future__ import annotations

import heapq
import itertools
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.virtual.wire.tcp import (
    Connected,
    ConnectionId,
    Event,
    PeerClosed,
    Received,
    Reset,
    TcpError,
    TcpResponder,
    Writable,
)
from harness.virtual.wire.tcp_connection import (
    INITIAL_RTO_S,
    LINGER_S,
    RECEIVE_BUFFER_BYTES,
    SEND_BUFFER_BYTES,
)
from harness.virtual.wire.tcp_segment import (
    ACK,
    FIN,
    RST,
    SYN,
    MalformedPacket,
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


def connect(phone: TcpResponder, *, window: int = 60_000, mss_bytes: int | None = 1400) -> tuple[ConnectionId, int]:
    """A finished handshake without a network; the client's next sequence number is 101."""
    phone.receive_packet(segment(SYN, 100, 0, window=window, mss_bytes=mss_bytes), 0.0)
    answer = only(phone.take_packets(10_000, 0.0))
    phone.receive_packet(segment(ACK, 101, answer.sequence + 1, window=window), 0.0)
    assert phone.take_events() == [Connected(ConnectionId(HOST.packed, CLIENT_PORT, PORT))]
    return ConnectionId(HOST.packed, CLIENT_PORT, PORT), answer.sequence + 1


def segment(
    flags: int,
    sequence: int,
    acknowledgement: int,
    payload: bytes = b"",
    *,
    window: int = 60_000,
    port: int = PORT,
    mss_bytes: int | None = None,
    window_scale: int | None = None,
) -> bytes:
    return build_packet(
        Segment(
            source=HOST.packed,
            destination=PHONE.packed,
            source_port=CLIENT_PORT,
            destination_port=port,
            sequence=sequence,
            acknowledgement=acknowledgement,
            flags=flags,
            window=window,
            payload=payload,
            mss_bytes=mss_bytes,
            window_scale=window_scale,
        )
    )


def only(packets: list[bytes]) -> Segment:
    (packet,) = packets
    parsed = parse_packet(packet)
    assert parsed is not None
    return parsed


@pytest.fixture
def phone() -> TcpResponder:
    responder = TcpResponder(PHONE, mtu_bytes=MTU_BYTES, random_iss=lambda: 5000)
    responder.listen(PORT)
    return responder


def test_a_closed_port_answers_reset(phone: TcpResponder) -> None:
    phone.receive_packet(segment(SYN, 100, 0, port=PORT + 1), 0.0)
    answer = only(phone.take_packets(10_000, 0.0))
    assert (answer.flags, answer.acknowledgement, answer.source_port) == (RST | ACK, 101, PORT + 1)
    phone.receive_packet(segment(ACK, 100, 777, port=PORT + 1), 0.0)
    stray = only(phone.take_packets(10_000, 0.0))
    assert (stray.flags, stray.sequence) == (RST, 777)


def test_resets_are_never_answered(phone: TcpResponder) -> None:
    phone.receive_packet(segment(RST, 100, 0, port=PORT + 1), 0.0)
    assert phone.take_packets(10_000, 0.0) == []


def test_a_reset_in_sequence_breaks_the_connection_and_a_guess_does_not(phone: TcpResponder) -> None:
    connection, _ = connect(phone)
    phone.receive_packet(segment(RST, 150, 0), 0.0)
    assert phone.take_events() == []
    phone.receive_packet(segment(RST, 101, 0), 0.0)
    assert phone.take_events() == [Reset(connection)]
    assert phone.write(connection, b"x") == 0


def test_the_receive_window_closes_and_opens(phone: TcpResponder) -> None:
    connection, ack = connect(phone)
    sent = 0
    chunk = bytes(30_000)
    while sent < RECEIVE_BUFFER_BYTES + 100_000:
        phone.receive_packet(segment(ACK, 101 + sent, ack, chunk), 0.0)
        sent += len(chunk)
    taken = sum(len(event.data) for event in phone.take_events() if isinstance(event, Received))
    assert taken == RECEIVE_BUFFER_BYTES
    assert only(phone.take_packets(10_000, 0.0)).window == 0
    phone.consumed(connection, RECEIVE_BUFFER_BYTES)
    assert only(phone.take_packets(10_000, 0.0)).window == 0xFFFF


def test_the_send_buffer_is_bounded_and_says_when_there_is_room(phone: TcpResponder) -> None:
    connection, ack = connect(phone)
    assert phone.write(connection, bytes(SEND_BUFFER_BYTES + 1)) == SEND_BUFFER_BYTES
    position = ack
    while phone.take_events() == []:
        packets = phone.take_packets(1 << 20, 0.0)
        assert packets, "the window is open, so something must come"
        assert sum(len(packet) - 60 for packet in packets) <= 60_000
        position += sum(len(packet) - 60 for packet in packets)
        phone.receive_packet(segment(ACK, 101, position), 0.0)
    assert phone.write(connection, b"more") == 4


def test_a_shut_window_is_probed_until_it_opens(phone: TcpResponder) -> None:
    connection, ack = connect(phone, window=0)
    phone.write(connection, b"hello")
    assert phone.take_packets(10_000, 0.0) == []
    for _ in range(20):  # more often than a silent peer would be forgiven
        due = phone.next_timeout()
        assert due is not None
        phone.on_timeout(due)
        assert only(phone.take_packets(10_000, due)).payload == b"h"
        phone.receive_packet(segment(ACK, 101, ack, window=0), due)
    phone.receive_packet(segment(ACK, 101, ack, window=100), 99.0)
    due = phone.next_timeout()
    assert due is not None
    phone.on_timeout(due)
    assert b"".join(only([p]).payload for p in phone.take_packets(10_000, 99.0)) == b"hello"


def test_a_silent_peer_is_given_up(phone: TcpResponder) -> None:
    connection, _ = connect(phone)
    phone.write(connection, b"hello")
    events: list[Event] = []
    packets = phone.take_packets(10_000, 0.0)
    while (due := phone.next_timeout()) is not None:
        phone.on_timeout(due)
        packets += phone.take_packets(10_000, due)
        events += phone.take_events()
    assert events == [Reset(connection)]
    assert only(packets[-1:]).flags & RST


def test_a_peer_that_never_closes_is_forgotten(phone: TcpResponder) -> None:
    connection, ack = connect(phone)
    phone.close(connection)
    assert only(phone.take_packets(10_000, 0.0)).flags & FIN
    phone.receive_packet(segment(ACK, 101, ack + 1), 0.0)
    assert phone.next_timeout() == LINGER_S
    phone.on_timeout(LINGER_S)
    assert phone.next_timeout() is None
    assert phone.take_events() == []


def test_a_late_syn_of_a_closed_connection_opens_no_new_one(phone: TcpResponder) -> None:
    connection, ack = connect(phone)
    phone.close(connection)
    phone.take_packets(10_000, 0.0)
    phone.receive_packet(segment(FIN | ACK, 101, ack + 1), 0.0)
    phone.take_packets(10_000, 0.0)
    phone.receive_packet(segment(SYN, 100, 0), 0.0)
    assert only(phone.take_packets(10_000, 0.0)).flags == ACK
    phone.receive_packet(segment(SYN, 9000, 0), 0.0)
    fresh = only(phone.take_packets(10_000, 0.0))
    assert (fresh.flags, fresh.acknowledgement) == (SYN | ACK, 9001)


def test_abort_sends_reset(phone: TcpResponder) -> None:
    connection, ack = connect(phone)
    phone.abort(connection)
    answer = only(phone.take_packets(10_000, 0.0))
    assert answer.flags & RST
    assert answer.sequence == ack


def test_the_smaller_mss_wins() -> None:
    for peer, wanted in ((500, 500), (9000, MTU_BYTES - 60), (None, 1220)):
        phone = TcpResponder(PHONE, mtu_bytes=MTU_BYTES, random_iss=lambda: 5000)
        phone.listen(PORT)
        connection, _ = connect(phone, mss_bytes=peer)
        phone.write(connection, bytes(20_000))
        assert max(len(only([p]).payload) for p in phone.take_packets(1 << 20, 0.0)) == wanted


def test_windows_are_scaled_in_both_directions_but_never_with_syn(phone: TcpResponder) -> None:
    phone.receive_packet(segment(SYN, 100, 0, window=700, window_scale=3), 0.0)
    answer = only(phone.take_packets(10_000, 0.0))
    assert (answer.window_scale, answer.window) == (7, 0xFFFF)
    phone.receive_packet(segment(ACK, 101, answer.sequence + 1, window=100), 0.0)
    connection = ConnectionId(HOST.packed, CLIENT_PORT, PORT)
    phone.write(connection, bytes(5000))
    packets = phone.take_packets(1 << 20, 0.0)
    assert sum(len(packet) - 60 for packet in packets) == 800
    assert only(packets[:1]).window == RECEIVE_BUFFER_BYTES >> 7


def test_connections_take_turns() -> None:
    phone = TcpResponder(PHONE, mtu_bytes=MTU_BYTES)
    ports = [phone.listen(), phone.listen()]
    assert ports[0] != ports[1]
    with pytest.raises(TcpError, match="taken"):
        phone.listen(ports[0])
    ids = [ConnectionId(HOST.packed, CLIENT_PORT, port) for port in ports]
    for port in ports:
        phone.receive_packet(segment(SYN, 100, 0, port=port), 0.0)
    for packet in phone.take_packets(10_000, 0.0):
        answer = only([packet])
        phone.receive_packet(segment(ACK, 101, answer.sequence + 1, port=answer.source_port), 0.0)
    for connection in ids:
        phone.write(connection, bytes(50_000))
    seen = {only([packet]).source_port for _ in range(2) for packet in phone.take_packets(1, 0.0)}
    assert seen == set(ports)


@given(st.binary(max_size=120))
def test_garbage_packets_are_dropped(garbage: bytes) -> None:
    phone = TcpResponder(PHONE, mtu_bytes=MTU_BYTES)
    phone.receive_packet(garbage, 0.0)
    phone.receive_packet(b"\x60" + garbage, 0.0)
    assert phone.take_events() == []
    assert phone.take_packets(10_000, 0.0) == []


@given(st.binary(max_size=100), st.integers(0, (1 << 32) - 1), st.integers(0, 31), st.data())
def test_packets_survive_and_a_flipped_bit_is_seen(
    payload: bytes, sequence: int, flags: int, data: st.DataObject
) -> None:
    opening = bool(flags & SYN)
    wanted = Segment(
        source=HOST.packed,
        destination=PHONE.packed,
        source_port=1,
        destination_port=2,
        sequence=sequence,
        acknowledgement=9,
        flags=flags,
        window=77,
        payload=payload,
        mss_bytes=1400 if opening else None,
        window_scale=7 if opening else None,
    )
    packet = build_packet(wanted)
    assert parse_packet(packet) == wanted
    bit = data.draw(st.integers(40 * 8, len(packet) * 8 - 1))
    flipped = bytearray(packet)
    flipped[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(MalformedPacket):
        parse_packet(bytes(flipped))


def test_the_checksum_is_the_one_of_rfc_1071() -> None:
    packet = segment(SYN, 100, 0, b"odd")
    tcp = packet[40:] + b"\0"
    pseudo = packet[8:40] + len(packet[40:]).to_bytes(4, "big") + (6).to_bytes(4, "big")
    words = pseudo + tcp
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
