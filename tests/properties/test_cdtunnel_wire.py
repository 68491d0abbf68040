"""CDTunnel from the phone's end: any split of the bytes, garbage, bounds."""

from __future__ import annotations

import itertools
import json
import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.wire.cdtunnel import (
    MAGIC,
    MAXIMUM_HANDSHAKE_BYTES,
    MAXIMUM_MTU_BYTES,
    CdTunnelError,
    CdTunnelServer,
    HandshakeRequested,
    Packet,
    build_frame,
)

SERVER, CLIENT = IPv6Address("fd12::1"), IPv6Address("fd12::2")


def request(mtu_bytes: object = 16_000) -> bytes:
    return build_frame({"type": "clientHandshakeRequest", "mtu": mtu_bytes})


def packet(payload: bytes) -> bytes:
    return struct.pack(">IHBB", 6 << 28, len(payload), 59, 64) + SERVER.packed + CLIENT.packed + payload


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(0, 5000), max_size=12))
def test_any_split_gives_the_same_packets(payloads: list[bytes], cuts: list[int]) -> None:
    wanted = [packet(payload) for payload in payloads]
    server = CdTunnelServer()
    seen: list[bytes] = []
    for chunk in chunks(request() + b"".join(wanted), cuts):
        events = server.receive_data(chunk)
        for event in events:
            if isinstance(event, HandshakeRequested):
                server.accept(server=SERVER, client=CLIENT, rsd_port=50_000, mtu_bytes=event.mtu_bytes)
                events += server.receive_data(b"")
            else:
                assert isinstance(event, Packet)
                seen.append(event.data)
    assert seen == wanted


def test_answer_names_both_ends() -> None:
    server = CdTunnelServer()
    assert server.receive_data(request()) == [HandshakeRequested(16_000)]
    answer = server.accept(server=SERVER, client=CLIENT, rsd_port=50_000, mtu_bytes=16_000)
    assert answer.startswith(MAGIC)
    assert struct.unpack_from(">H", answer, 8)[0] == len(answer) - 10
    assert json.loads(answer[10:]) == {
        "type": "serverHandshakeResponse",
        "serverAddress": "fd12::1",
        "serverRSDPort": 50_000,
        "clientParameters": {"address": "fd12::2", "netmask": "ffff:ffff:ffff:ffff::", "mtu": 16_000},
    }


def test_a_large_mtu_is_clamped() -> None:
    assert CdTunnelServer().receive_data(request(65_000)) == [HandshakeRequested(MAXIMUM_MTU_BYTES)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"CDTUNNEL\0\0", "starts with"),
        (b"X", "starts with"),
        (MAGIC + struct.pack(">H", MAXIMUM_HANDSHAKE_BYTES + 1), "over the limit"),
        (MAGIC + b"\0\x02[[", "not JSON"),
        (MAGIC + b"\0\x02[]", "clientHandshakeRequest"),
        (request("16000"), "whole number"),
        (request(True), "whole number"),
        (request(1279), "minimum"),
    ],
)
def test_bad_handshakes_are_named(data: bytes, says: str) -> None:
    with pytest.raises(CdTunnelError, match=says):
        CdTunnelServer().receive_data(data)


def test_packets_before_the_answer_are_bounded() -> None:
    server = CdTunnelServer()
    server.receive_data(request())
    with pytest.raises(CdTunnelError, match="before the handshake"):
        server.receive_data(bytes(MAXIMUM_HANDSHAKE_BYTES + 1))


@given(st.binary(max_size=200))
def test_garbage_after_the_handshake_is_a_typed_error_or_incomplete(garbage: bytes) -> None:
    server = CdTunnelServer()
    server.receive_data(request())
    server.accept(server=SERVER, client=CLIENT, rsd_port=1, mtu_bytes=16_000)
    try:
        events = server.receive_data(garbage)
    except CdTunnelError:
        return
    assert all(isinstance(event, Packet) for event in events)
