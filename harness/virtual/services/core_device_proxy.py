"""`com.apple.internal.devicecompute.CoreDeviceProxy`: turns one lockdown connection into the developer tunnel.

The tunnel is a private IPv6 network of two addresses; everything iOS 17 and later offers to developer tools is
reached through it, beginning with remote service discovery.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from harness.virtual.services import rsd
from harness.virtual.stream import Stream, StreamClosed
from harness.virtual.tunnel import Tunnel
from harness.virtual.wire.cdtunnel import CdTunnelError, CdTunnelServer, HandshakeRequested

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

logger = logging.getLogger(__name__)

HANDSHAKE_LIMIT_S = 30.0
LARGE_PACKET_BYTES = 8192
"""Some phones lose packets of the host above this size: the setting `drop_large_packets` makes this one do so."""
_PHONE_HOST, _CLIENT_HOST = 1, 2


async def serve(stream: Stream, phone: Phone) -> None:
    """Answers the handshake, then carries packets until the client goes."""
    server = CdTunnelServer()
    try:
        async with asyncio.timeout(HANDSHAKE_LIMIT_S):
            mtu_bytes = await _handshake(stream, server)
    except TimeoutError:
        return
    except CdTunnelError as error:
        logger.warning("a tunnel was refused: %s", error)
        return
    network = _private_network()
    phone_address, client_address = network + _PHONE_HOST, network + _CLIENT_HOST
    tunnel = Tunnel(
        stream,
        phone_address,
        mtu_bytes=mtu_bytes,
        takes=lambda size_bytes: size_bytes <= LARGE_PACKET_BYTES or not phone.state.drop_large_packets,
    )
    rsd_port = rsd.offer(phone, tunnel.listen)
    await stream.send(
        server.accept(server=phone_address, client=client_address, rsd_port=rsd_port, mtu_bytes=mtu_bytes)
    )
    phone.tunnels.add(tunnel)
    try:
        await tunnel.run(server)
    except CdTunnelError as error:
        logger.warning("a tunnel broke: %s", error)
    finally:
        phone.tunnels.discard(tunnel)


async def _handshake(stream: Stream, server: CdTunnelServer) -> int:
    while data := await stream.receive():
        for event in server.receive_data(data):
            if isinstance(event, HandshakeRequested):
                return event.mtu_bytes
    raise StreamClosed


def _private_network() -> IPv6Address:
    """A /64 of its own out of fd00::/8 (RFC 4193) for every tunnel."""
    return IPv6Address(bytes([0xFD]) + secrets.token_bytes(7) + bytes(8))
