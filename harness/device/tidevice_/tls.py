"""TLS over a blocking socket, for one thread that reads while others write.

Python's `SSLSocket` must not be read and written at the same time from two threads, and tidevice's instruments do just
that. Here the TLS state has a lock of its own, which nobody holds while waiting for the network.
"""

from __future__ import annotations

import socket
import ssl
import threading

_READ_BYTES = 256 * 1024


class TlsStream:
    """Does the handshake when made; time limits are those of `sock`, which stays the caller's to close."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._state = threading.Lock()
        self._sending = threading.Lock()
        """Held for as long as what was encrypted goes out, so that it does so in order."""
        while not self._handshake():
            self._receive()
        self._flush()

    def _handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        return True

    def recv(self, max_bytes: int) -> bytes:
        """At least one byte; none at the end of the stream."""
        while True:
            with self._state:
                try:
                    return self._tls.read(max_bytes)
                except ssl.SSLWantReadError:
                    pass
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
            # the other end may take nothing more before we have read: no waiting for a thread that is sending
            self._flush(wait=False)
            self._receive()

    def sendall(self, data: bytes | bytearray) -> None:
        left = memoryview(data)
        while left:
            with self._state:
                left = left[self._tls.write(left) :]
            self._flush()

    def _receive(self) -> None:
        data = self._sock.recv(_READ_BYTES)
        with self._state:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self, *, wait: bool = True) -> None:
        """Sends what was encrypted. Who must not `wait` leaves it to the thread that is sending.

        That one looks again after it has let go of the lock, so nothing is left behind.
        """
        while self._outgoing.pending:
            if not self._sending.acquire(blocking=wait):
                return
            try:
                with self._state:
                    data = self._outgoing.read()
                if data:
                    self._sock.sendall(data)
            finally:
                self._sending.release()


def phone_context(certificate_and_key: str) -> ssl.SSLContext:
    """For the services of a phone; `certificate_and_key` is a PEM file with this host's part of the pairing.

    A phone's certificate is made at pairing and has no name: it is not checked, nor is its strength, as in
    pymobiledevice3. What keeps others out is that the phone checks ours.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
    context.load_cert_chain(certificate_and_key)
    return context
