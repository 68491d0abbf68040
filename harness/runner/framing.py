"""Lines out of bytes: newline-delimited, bounded. No I/O."""

from __future__ import annotations

from harness.core.errors import DeviceError

MAX_LINE_BYTES = 64 * 1024


class FramingError(DeviceError):
    """The peer sent something that is no line of the wire language."""


class LineSplitter:
    """Feed it bytes in any pieces, get whole lines without their newline; holds at most one unfinished line."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._pending = bytearray()

    def receive_data(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. Raises FramingError once a line is longer than allowed."""
        self._pending += data
        *lines, rest = self._pending.split(b"\n")
        too_long = next((line for line in (*lines, rest) if len(line) > self._max_line_bytes), None)
        if too_long is not None:
            raise FramingError(
                f"the runner sent a line of more than {self._max_line_bytes} bytes, beginning {bytes(too_long[:60])!r}"
            )
        self._pending = rest
        return [bytes(line) for line in lines if line]

    @property
    def unfinished(self) -> bytes:
        """The line that has begun and not ended: what a death in mid-write leaves."""
        return bytes(self._pending)
