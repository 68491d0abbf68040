"""CDTunnel, from the phone's end: one JSON handshake, then bare IPv6 packets back to back. Sans-IO.

Frame of the handshake: ``CDTunnel`` · u16be length · JSON. A packet's length is its own IPv6 header's.
Nothing may be sent before the handshake is answered, and packets are only handed out after `accept`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

MAGIC = b"CDTunnel"
FRAME_HEADER_BYTES = len(MAGIC) + 2
IPV6_HEADER_BYTES = 40
IPV6_MINIMUM_MTU_BYTES = 1280
"""RFC 8200 §5: every IPv6 link carries at least this; a client that asks for less is refused."""
MAXIMUM_MTU_BYTES = 16_000
"""What client tools ask for; a larger wish is answered with this."""
MAXIMUM_HANDSHAKE_BYTES = 4096
"""A client's request is under 100 bytes; the length field would allow 65,535."""


class CdTunnelError(ValueError):
    """The other end does not speak CDTunnel as it should; the message names the part."""


@dataclass(frozen=True)
class HandshakeRequested:
    """The client asked for a tunnel; `mtu_bytes` is already clamped to what this end carries."""

    mtu_bytes: int


@dataclass(frozen=True)
class Packet:
    """One whole IPv6 packet, header included."""

    data: bytes


class CdTunnelServer:
    """Bytes in by `receive_data`, events out; `accept` gives the answer and opens the packet phase."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._requested = False
        self._accepted = False

    def receive_data(self, data: bytes) -> list[HandshakeRequested | Packet]:
        """Whatever became whole with `data`; raises CdTunnelError, after which the tunnel is of no use."""
        self._buffer += data
        if not self._requested:
            return self._handshake()
        if not self._accepted:
            if len(self._buffer) > MAXIMUM_HANDSHAKE_BYTES:
                raise CdTunnelError("packets came before the handshake was answered")
            return []
        return list(self._packets())

    def accept(self, *, server: IPv6Address, client: IPv6Address, rsd_port: int, mtu_bytes: int) -> bytes:
        """The answer to send: where the phone and the host stand, and the port of remote service discovery."""
        if not self._requested or self._accepted:
            raise CdTunnelError("there is no unanswered handshake to accept")
        self._accepted = True
        answer = {
            "type": "serverHandshakeResponse",
            "serverAddress": str(server),
            "serverRSDPort": rsd_port,
            "clientParameters": {"address": str(client), "netmask": "ffff:ffff:ffff:ffff::", "mtu": mtu_bytes},
        }
        return build_frame(answer)

    def _handshake(self) -> list[HandshakeRequested | Packet]:
        seen = bytes(self._buffer[: len(MAGIC)])
        if not MAGIC.startswith(seen):
            raise CdTunnelError(f"expected a frame that starts with {MAGIC!r}, got {seen!r}")
        if len(self._buffer) < FRAME_HEADER_BYTES:
            return []
        (size,) = struct.unpack_from(">H", self._buffer, len(MAGIC))
        if size > MAXIMUM_HANDSHAKE_BYTES:
            raise CdTunnelError(f"a handshake of {size} bytes is over the limit of {MAXIMUM_HANDSHAKE_BYTES}")
        if len(self._buffer) < FRAME_HEADER_BYTES + size:
            return []
        body = bytes(self._buffer[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + size])
        del self._buffer[: FRAME_HEADER_BYTES + size]
        self._requested = True
        return [HandshakeRequested(min(_requested_mtu(body), MAXIMUM_MTU_BYTES))]

    def _packets(self) -> list[Packet]:
        packets: list[Packet] = []
        start = 0
        while len(self._buffer) - start >= IPV6_HEADER_BYTES:
            if self._buffer[start] >> 4 != 6:
                raise CdTunnelError(f"expected an IPv6 packet, got version {self._buffer[start] >> 4}")
            (payload_bytes,) = struct.unpack_from(">H", self._buffer, start + 4)
            end = start + IPV6_HEADER_BYTES + payload_bytes
            if len(self._buffer) < end:
                break
            packets.append(Packet(bytes(self._buffer[start:end])))
            start = end
        del self._buffer[:start]
        return packets


def build_frame(message: dict[str, object]) -> bytes:
    """`message` as a handshake frame; raises CdTunnelError when it is too long for the length field."""
    body = json.dumps(message).encode()
    if len(body) > MAXIMUM_HANDSHAKE_BYTES:
        raise CdTunnelError(f"a handshake of {len(body)} bytes is over the limit of {MAXIMUM_HANDSHAKE_BYTES}")
    return MAGIC + struct.pack(">H", len(body)) + body


def _requested_mtu(body: bytes) -> int:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CdTunnelError(f"the handshake is not JSON: {error}") from error
    if not isinstance(request, dict) or request.get("type") != "clientHandshakeRequest":
        raise CdTunnelError("expected a handshake of type clientHandshakeRequest")
    mtu_bytes = request.get("mtu")
    if not isinstance(mtu_bytes, int) or isinstance(mtu_bytes, bool):
        raise CdTunnelError(f"the handshake's mtu must be a whole number, got {type(mtu_bytes).__name__}")
    if mtu_bytes < IPV6_MINIMUM_MTU_BYTES:
        raise CdTunnelError(f"an mtu of {mtu_bytes} is under IPv6's minimum of {IPV6_MINIMUM_MTU_BYTES}")
    return mtu_bytes
