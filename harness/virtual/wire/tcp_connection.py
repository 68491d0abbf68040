"""One passively opened TCP connection as a state machine without I/O or clock. `tcp` owns many of these.

What is simple here, and why it may be: the tunnel beneath is a reliable, ordered byte stream with back-pressure
of its own, so loss is rare. Go-back-N on one timer repairs it, there is no congestion control, and segments
that come ahead of their turn are dropped and asked for again. What must hold even so: both windows are
honoured, buffers are bounded, both directions close by themselves.

Positions are counted without wrapping, relative to the initial sequence number (SYN is position 0, the first
byte 1); only the wire sees them modulo 2³².
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from harness.virtual.wire.tcp_segment import ACK, FIN, HEADERS_BYTES, PSH, RST, SYN, Segment

SEND_BUFFER_BYTES = 1024 * 1024
RECEIVE_BUFFER_BYTES = 1024 * 1024
WINDOW_SCALE = 7
"""Our shift: 65,535 << 7 reaches 8 MiB, above RECEIVE_BUFFER_BYTES."""
DEFAULT_MSS_BYTES = 1220
"""RFC 9293 §3.7.1, IPv6, when the other end names none."""
MINIMUM_MSS_BYTES = 64
"""A smaller wish would turn each megabyte into a storm of packets."""
INITIAL_RTO_S = 1.0
MAXIMUM_RTO_S = 8.0
MAXIMUM_RETRIES = 8
LINGER_S = 2.0
"""How long a closed connection answers late segments (TIME_WAIT), and how long it waits for the other end's FIN."""

_MODULUS = 1 << 32
_HALF = 1 << 31


class ConnectionId(NamedTuple):
    """The other end (16 packed bytes and port) and the phone's port."""

    address: bytes
    port: int
    local_port: int


@dataclass(frozen=True)
class Connected:
    """The handshake is complete."""

    connection: ConnectionId


@dataclass(frozen=True)
class Received:
    """Bytes in order; report them by `consumed` once they are read, or the window closes."""

    connection: ConnectionId
    data: bytes


@dataclass(frozen=True)
class PeerClosed:
    """The other end sent FIN: nothing more will be received, sending may go on."""

    connection: ConnectionId


@dataclass(frozen=True)
class Writable:
    """There is room to write again after a write that was cut short."""

    connection: ConnectionId


@dataclass(frozen=True)
class Reset:
    """The connection broke: RST came, the other end fell silent, or `abort`."""

    connection: ConnectionId


Event = Connected | Received | PeerClosed | Writable | Reset


class TcpConnection:
    """Segments in by `on_segment`, segments out by `pump`; never does anything by itself."""

    def __init__(
        self, connection: ConnectionId, local_address: bytes, syn: Segment, *, iss: int, mtu_bytes: int
    ) -> None:
        self.id = connection
        self.events: list[Event] = []
        self.finished = False
        self.reset_to_send = False
        self._local_address = local_address
        self._own_mss = mtu_bytes - HEADERS_BYTES
        peer_mss = DEFAULT_MSS_BYTES if syn.mss_bytes is None else max(syn.mss_bytes, MINIMUM_MSS_BYTES)
        self._mss = min(peer_mss, self._own_mss)
        self._scaled = syn.window_scale is not None
        self._peer_shift = syn.window_scale or 0
        self._iss = iss
        self._peer_iss = syn.sequence
        # sending
        self._buffer = bytearray()
        self._buffer_start = 1
        self._acked = 0
        self._next = 0
        self._highest = 0
        self._peer_window = syn.window
        self._window_from = (0, 0)
        self._fin_wanted = False
        self._write_was_cut = False
        # receiving
        self._expected = 1
        self._unread_bytes = 0
        self._advertised_edge = 0
        self._peer_fin = False
        self._discard = False
        self._ack_due = False
        # states and time
        self._established = False
        self._retries = 0
        self._rto_s = INITIAL_RTO_S
        self._probe = False
        self.deadline: float | None = None
        self._lingering = False

    # --- what the phone's side asks for

    def write(self, data: bytes) -> int:
        """Takes as many of the first bytes as there is room for and says how many; 0 after close."""
        if self._fin_wanted or self.finished:
            return 0
        taken = min(len(data), SEND_BUFFER_BYTES - len(self._buffer))
        self._buffer += data[:taken]
        self._write_was_cut = taken < len(data)
        return taken

    def consumed(self, size: int) -> None:
        """`size` received bytes were read: opens the window, and says so when that matters to a sender."""
        if self._discard:
            return
        self._unread_bytes -= size
        edge = self._expected + RECEIVE_BUFFER_BYTES - self._unread_bytes
        if edge - self._advertised_edge >= RECEIVE_BUFFER_BYTES // 2:
            self._ack_due = True

    def close(self) -> None:
        """FIN after what is buffered; what still comes is acknowledged and thrown away."""
        self._fin_wanted = True
        self._discard = True
        self._unread_bytes = 0

    # --- what comes

    def on_segment(self, segment: Segment, now: float) -> None:
        """Takes one segment in; results stand in `events`, `finished` and the next `pump`."""
        sequence = self._unwrap(segment.sequence, self._peer_iss, self._expected)
        if segment.flags & RST:
            # RFC 5961 §3.2: only the exact next number resets; others are guesses or leftovers
            if sequence == self._expected:
                self._finish(reset=not self._lingering)
            return
        if segment.flags & SYN:
            if self._established:
                self._ack_due = True
            else:
                self._next = 0  # the answer got lost: pump it again
            return
        if not segment.flags & ACK or not self._take_ack(segment, sequence, now):
            return
        if not self._established:
            self._established = True
            self.events.append(Connected(self.id))
        self._take_data(segment, sequence)
        if self._peer_fin and self._fin_acked and not self.finished and not self._lingering:
            self._linger(now)
        elif self._fin_acked and not self._lingering and self.deadline is None:
            self.deadline = now + LINGER_S

    def _take_ack(self, segment: Segment, sequence: int, now: float) -> bool:
        ack = self._unwrap(segment.acknowledgement, self._iss, self._acked)
        if ack > self._highest:
            self._ack_due = True
            return False
        if ack < 1 and not self._established:
            return False
        if ack > self._acked:
            self._advance(ack, now)
        if ack >= self._acked and (sequence, ack) >= self._window_from:
            self._window_from = (sequence, ack)
            self._peer_window = segment.window << self._peer_shift
            if self._peer_window == 0:
                self._retries = 0  # the other end lives, it is only slow
        return True

    def _advance(self, ack: int, now: float) -> None:
        drop = min(ack - self._buffer_start, len(self._buffer))
        if drop > 0:
            del self._buffer[:drop]
            self._buffer_start += drop
        self._acked = ack
        self._next = max(self._next, ack)
        self._retries = 0
        self._rto_s = INITIAL_RTO_S
        self.deadline = None if self._next == ack else now + self._rto_s
        if self._write_was_cut and len(self._buffer) <= SEND_BUFFER_BYTES // 2:
            self._write_was_cut = False
            self.events.append(Writable(self.id))

    def _take_data(self, segment: Segment, sequence: int) -> None:
        if sequence != self._expected or segment.length:
            self._ack_due = True
        if sequence > self._expected:
            return  # a gap: the acknowledgement asks for what is missing
        data = segment.payload[self._expected - sequence :]
        room = RECEIVE_BUFFER_BYTES - self._unread_bytes
        data = data[:room]
        if data and not self._peer_fin:
            self._expected += len(data)
            if not self._discard:
                self._unread_bytes += len(data)
                self.events.append(Received(self.id, data))
        fin_at = sequence + len(segment.payload)
        if segment.flags & FIN and fin_at == self._expected and not self._peer_fin:
            self._peer_fin = True
            self._expected += 1
            self.events.append(PeerClosed(self.id))

    # --- what goes

    def pump(self, now: float) -> Iterator[Segment]:
        """The segments that may go now; ask again after every event. A consumer may stop at any segment."""
        if self.finished:
            return
        if not self._established:
            if self._next == 0:
                self._next = self._highest = 1
                self._arm(now)
                yield self._syn_ack()
            return
        while (segment := self._next_data()) is not None:
            self._arm(now)
            yield segment
        if self._fin_wanted and self._next == self._end:
            self._next += 1
            self._highest = max(self._highest, self._next)
            self._arm(now)
            yield self._segment(FIN | ACK, position=self._end)
        if self._next == self._acked < self._end:
            self._arm(now)  # the window is shut: the timer probes it
        if self._ack_due:
            yield self._segment(ACK, position=self._highest)

    def _next_data(self) -> Segment | None:
        edge = self._acked + max(self._peer_window, 1 if self._probe else 0)
        size = min(self._mss, self._end - self._next, edge - self._next)
        if size <= 0:
            return None
        self._probe = False
        start = self._next - self._buffer_start
        position = self._next
        self._next += size
        self._highest = max(self._highest, self._next)
        return self._segment(ACK | PSH, position=position, payload=bytes(self._buffer[start : start + size]))

    def on_timeout(self, now: float) -> None:
        """To be called when `deadline` has come."""
        if self._fin_acked:
            # all is done, or the other end never closes: forgotten without RST, which could cost it unread bytes
            self._finish(reset=False)
        elif self._retries >= MAXIMUM_RETRIES:
            self.reset_to_send = True
            self._finish(reset=True)
        else:
            self._retries += 1
            self._rto_s = min(self._rto_s * 2, MAXIMUM_RTO_S)
            self.deadline = None
            self._next = self._acked
            self._probe = self._peer_window == 0

    def reset_segment(self) -> Segment:
        """The RST that tells the other end; the owner forgets the connection afterwards."""
        return self._segment(RST | ACK, position=self._highest)

    def is_replaced_by(self, syn: Segment) -> bool:
        """Whether `syn` starts a new connection of the same id rather than repeating this one's start."""
        if self._lingering:
            # RFC 1122 §4.2.2.13: only with a number beyond all that were seen; else it is this one's SYN, come late
            return self._unwrap(syn.sequence, self._peer_iss, self._expected) >= self._expected
        return not self._established and syn.sequence != self._peer_iss

    # --- helpers

    @property
    def _end(self) -> int:
        return self._buffer_start + len(self._buffer)

    @property
    def _fin_acked(self) -> bool:
        return self._fin_wanted and self._acked == self._end + 1

    def _arm(self, now: float) -> None:
        if self.deadline is None:
            self.deadline = now + self._rto_s

    def _linger(self, now: float) -> None:
        self._lingering = True
        self.deadline = now + LINGER_S

    def _finish(self, *, reset: bool) -> None:
        self.finished = True
        self.deadline = None
        if reset:
            self.events.append(Reset(self.id))

    @staticmethod
    def _unwrap(wire: int, initial: int, near: int) -> int:
        """The position with this wire number that lies closest to `near`."""
        return near + (wire - initial - near + _HALF) % _MODULUS - _HALF

    def _syn_ack(self) -> Segment:
        scale = WINDOW_SCALE if self._scaled else None
        return self._segment(SYN | ACK, position=0, mss_bytes=self._own_mss, window_scale=scale)

    def _segment(
        self,
        flags: int,
        *,
        position: int,
        payload: bytes = b"",
        mss_bytes: int | None = None,
        window_scale: int | None = None,
    ) -> Segment:
        shift = WINDOW_SCALE if self._scaled and not flags & SYN else 0
        room = RECEIVE_BUFFER_BYTES - self._unread_bytes
        window = min(room >> shift, 0xFFFF)
        self._advertised_edge = self._expected + (window << shift)
        self._ack_due = False
        return Segment(
            source=self._local_address,
            destination=self.id.address,
            source_port=self.id.local_port,
            destination_port=self.id.port,
            sequence=(self._iss + position) % _MODULUS,
            acknowledgement=(self._peer_iss + self._expected) % _MODULUS,
            flags=flags,
            window=window,
            payload=payload,
            mss_bytes=mss_bytes,
            window_scale=window_scale,
        )
