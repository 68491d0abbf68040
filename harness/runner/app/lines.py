"""Bytes in, lines out: the newline framing of the wire language. Does no I/O."""

from __future__ import annotations

MAX_LINE_BYTES = 64 * 1024
"""The longest line with its newline (the protocol's bound)."""


class LineSplitter:
    """Cuts a byte stream into lines and never holds more than one line's worth of it."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._held = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that ``data`` completes, newline excluded; None stands for a line that was too long.

        A too long line is reported once, when its bound is passed; the rest of it, up to its newline, is dropped.
        """
        out: list[bytes | None] = []
        pieces = data.split(b"\n")
        for piece in pieces[:-1]:
            self._take(piece, out)
            if not self._skipping:
                out.append(bytes(self._held))
            self._held.clear()
            self._skipping = False
        self._take(pieces[-1], out)
        return out

    def _take(self, piece: bytes, out: list[bytes | None]) -> None:
        if self._skipping:
            return
        if len(self._held) + len(piece) >= self._max_line_bytes:
            self._held.clear()
            self._skipping = True
            out.append(None)
        else:
            self._held += piece
