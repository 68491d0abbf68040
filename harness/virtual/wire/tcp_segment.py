"""One TCP segment in one IPv6 packet: parse and build. Knows no state (that is `tcp_connection`)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

IPV6_HEADER_BYTES = 40
TCP_HEADER_BYTES = 20
HEADERS_BYTES = IPV6_HEADER_BYTES + TCP_HEADER_BYTES
PROTOCOL_TCP = 6
HOP_LIMIT = 64

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

_OPTION_END, _OPTION_NOTHING, _OPTION_MSS, _OPTION_WINDOW_SCALE = 0, 1, 2, 3
MAXIMUM_WINDOW_SCALE = 14
"""RFC 7323 §2.3: a larger shift is to be read as 14."""

_TCP_HEADER = struct.Struct(">HHIIBBHHH")


class MalformedPacket(ValueError):
    """Not an IPv6 packet with a sound TCP segment; such packets are dropped, as a phone would."""


@dataclass(frozen=True)
class Segment:
    """Addresses are 16 packed bytes; `window` is as on the wire, unscaled; options only matter with SYN."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    payload: bytes = b""
    mss_bytes: int | None = None
    window_scale: int | None = None

    @property
    def length(self) -> int:
        """Sequence numbers this segment takes: payload, SYN and FIN."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)


def _sum16(source: bytes, destination: bytes, tcp: bytes) -> int:
    """The one's complement sum of RFC 1071 over pseudo header and segment, as a number modulo 0xFFFF.

    2¹⁶ ≡ 1 (mod 0xFFFF), so the sum of 16-bit words is the whole number's remainder: one division of a long
    integer instead of a loop over words.
    """
    padded = tcp + b"\0" if len(tcp) % 2 else tcp
    pseudo = source + destination + struct.pack(">II", len(tcp), PROTOCOL_TCP)
    return (int.from_bytes(pseudo, "big") + int.from_bytes(padded, "big")) % 0xFFFF


def build_packet(segment: Segment) -> bytes:
    """The IPv6 packet that carries `segment`, checksum filled in."""
    options = b""
    if segment.mss_bytes is not None:
        options += struct.pack(">BBH", _OPTION_MSS, 4, segment.mss_bytes)
    if segment.window_scale is not None:
        options += struct.pack(">BBBB", _OPTION_WINDOW_SCALE, 3, segment.window_scale, _OPTION_NOTHING)
    tcp = (
        _TCP_HEADER.pack(
            segment.source_port,
            segment.destination_port,
            segment.sequence,
            segment.acknowledgement,
            (TCP_HEADER_BYTES + len(options)) // 4 << 4,
            segment.flags,
            segment.window,
            0,
            0,
        )
        + options
        + segment.payload
    )
    checksum = 0xFFFF - _sum16(segment.source, segment.destination, tcp)
    ip = struct.pack(">IHBB", 6 << 28, len(tcp), PROTOCOL_TCP, HOP_LIMIT) + segment.source + segment.destination
    return ip + tcp[:16] + struct.pack(">H", checksum) + tcp[18:]


def parse_packet(packet: bytes) -> Segment | None:
    """The segment inside, or None for sound packets that are not TCP; raises MalformedPacket."""
    if len(packet) < IPV6_HEADER_BYTES or packet[0] >> 4 != 6:
        raise MalformedPacket("not an IPv6 packet")
    (payload_bytes,) = struct.unpack_from(">H", packet, 4)
    if len(packet) != IPV6_HEADER_BYTES + payload_bytes:
        raise MalformedPacket(f"the header says {payload_bytes} bytes follow, {len(packet) - IPV6_HEADER_BYTES} do")
    if packet[6] != PROTOCOL_TCP:
        return None
    source, destination, tcp = packet[8:24], packet[24:40], packet[40:]
    if len(tcp) < TCP_HEADER_BYTES:
        raise MalformedPacket("the TCP header is cut off")
    source_port, destination_port, sequence, acknowledgement, offset, flags, window, _, _ = _TCP_HEADER.unpack_from(tcp)
    header_bytes = (offset >> 4) * 4
    if not TCP_HEADER_BYTES <= header_bytes <= len(tcp):
        raise MalformedPacket(f"a TCP header of {header_bytes} bytes cannot be")
    if _sum16(source, destination, tcp) != 0:
        raise MalformedPacket("the TCP checksum is wrong")
    mss_bytes, window_scale = _parse_options(tcp[TCP_HEADER_BYTES:header_bytes]) if flags & SYN else (None, None)
    return Segment(
        source=source,
        destination=destination,
        source_port=source_port,
        destination_port=destination_port,
        sequence=sequence,
        acknowledgement=acknowledgement,
        flags=flags,
        window=window,
        payload=tcp[header_bytes:],
        mss_bytes=mss_bytes,
        window_scale=window_scale,
    )


def _parse_options(options: bytes) -> tuple[int | None, int | None]:
    mss_bytes: int | None = None
    window_scale: int | None = None
    position = 0
    while position < len(options) and options[position] != _OPTION_END:
        kind = options[position]
        if kind == _OPTION_NOTHING:
            position += 1
            continue
        size = options[position + 1] if position + 1 < len(options) else 0
        if size < 2 or position + size > len(options):
            raise MalformedPacket(f"TCP option {kind} has an impossible length")
        if kind == _OPTION_MSS and size == 4:
            (mss_bytes,) = struct.unpack_from(">H", options, position + 2)
        elif kind == _OPTION_WINDOW_SCALE and size == 3:
            window_scale = min(options[position + 2], MAXIMUM_WINDOW_SCALE)
        position += size
    return mss_bytes, window_scale
