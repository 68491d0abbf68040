"""The listener on the phone's loopback, and the one connection to the host. Knows lines, not what they mean.

Reading happens on the server's thread, sending on one thread a connection: that thread follows the journal like
``tail -f``, so a host that reads slowly or is gone holds up nothing but its own sender.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

from .journal import Journal
from .lines import LineSplitter

LOOPBACK = "127.0.0.1"
READ_BYTES = 64 * 1024
WAIT_S = 0.5
DRAIN_S = 2.0
"""After ``bye`` the sender may take this long to get rid of what is written."""
MAX_REFUSALS = 100
"""A peer that sends nothing but nonsense is cut off: each refusal is an event on disk."""


class Connection:
    """One accepted connection: its socket, its line splitter and its sender."""

    def __init__(self, sock: socket.socket, journal: Journal) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self.splitter = LineSplitter()
        self.refusals = 0
        self._journal = journal
        self._lock = threading.Lock()
        self._offset = journal.end
        self._last: int | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._send, name="sender", daemon=True)
        self._thread.start()

    def send_from(self, offset: int) -> None:
        """Go on sending from another place in the journal, the beginning of a line."""
        with self._lock:
            self._offset = offset
        self._journal.wake()

    def finish(self) -> None:
        """Send what the journal has by now, then close. Takes at most DRAIN_S seconds."""
        with self._lock:
            self._last = self._journal.end
        self._journal.wake()
        self._thread.join(DRAIN_S)
        self.close()

    def close(self) -> None:
        """Close at once; a send in progress fails. Allowed twice."""
        self._closed = True
        with contextlib.suppress(OSError):  # the peer may have been faster
            self.socket.shutdown(socket.SHUT_RDWR)
        self._journal.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(DRAIN_S)
        self.socket.close()

    def _send(self) -> None:
        while not self._closed:
            with self._lock:
                offset, last = self._offset, self._last
            if last is not None and offset >= last:
                return
            try:
                data = self._journal.read(offset)
                if not data:
                    self._journal.wait(offset, WAIT_S)
                    continue
                self.socket.sendall(data)
            except MemoryError:
                time.sleep(WAIT_S)  # nothing is lost: the journal has it
                continue
            except OSError:
                return  # the host is gone; the reading side sees it too
            with self._lock:
                if self._offset == offset:
                    self._offset = offset + len(data)
            self._journal.note_sent(offset + len(data))


LineHandler = Callable[[Connection, bytes | None], None]
"""Takes a line, or None for a line that was too long."""


class Server:
    """Accepts connections (the newest replaces the old), reads lines, and ticks."""

    def __init__(self, port: int, journal: Journal) -> None:
        """Bind. Raises OSError."""
        self._journal = journal
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # The port is taken over from a process that has just ended, whose connections still linger.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((LOOPBACK, port))
            self._listener.listen(4)
        except OSError:
            self._listener.close()
            raise
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connection: Connection | None = None

    def serve(self, handle: LineHandler, tick: Callable[[], None], tick_s: float) -> None:
        """Serve for ever; ``tick`` is called every ``tick_s`` seconds."""
        next_tick = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_tick:
                tick()
                next_tick = max(next_tick + tick_s, now)
            for key, _ in self._selector.select(max(0.0, next_tick - time.monotonic())):
                if key.fileobj is self._listener:
                    self._accept()
                elif self._connection is not None and key.fileobj is self._connection.socket:
                    self._read(self._connection, handle)

    def drop(self, connection: Connection, *, politely: bool) -> None:
        """Close a connection; politely means that everything written so far is sent first."""
        if connection is not self._connection:
            return
        self._selector.unregister(connection.socket)
        self._connection = None
        if politely:
            connection.finish()
        else:
            connection.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # it was gone before we came
        if self._connection is not None:
            self.drop(self._connection, politely=False)
        self._connection = Connection(sock, self._journal)
        self._selector.register(sock, selectors.EVENT_READ)

    def _read(self, connection: Connection, handle: LineHandler) -> None:
        try:
            data = connection.socket.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(connection, politely=False)
            return
        for line in connection.splitter.feed(data):
            if connection is not self._connection:
                return
            handle(connection, line)
            if connection.refusals >= MAX_REFUSALS:
                self.drop(connection, politely=True)
