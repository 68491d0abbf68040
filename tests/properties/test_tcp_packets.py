"""The phone's TCP packet by packet, without a network: resets, windows, probes, and what is no packet."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.wire.tcp import (
    Connected,
    ConnectionId,
    Event,
    Received,
    Reset,
    TcpError,
    TcpResponder,
)
from harness.virtual.wire.tcp_connection import (
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
