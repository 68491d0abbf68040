"""tidevice's own view of a phone, with its dangerous corners taken off.

Every socket is known and closed with the `TidevicePhone` that opened it, from any thread: that ends whatever waits for
it. Nothing is paired, no pairing is forgotten, no developer image is fetched from the internet, no key is left on disk.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidevice import Device, MuxError, MuxServiceError, SocketError, Usbmux  # type: ignore[import-untyped]  # no types
from tidevice._safe_socket import PlistSocket, PlistSocketProxy  # type: ignore[import-untyped]  # tidevice ships no types
from tidevice._types import DeviceInfo  # type: ignore[import-untyped]  # tidevice ships no types

from harness.device.tidevice_.tls import TlsStream, phone_context

SOCKET_VARIABLE = "USBMUXD_SOCKET_ADDRESS"
DEFAULT_SOCKET = "/var/run/usbmuxd"
CONNECT_LIMIT_S = 5.0
# who lockdownd logs as having asked
LABEL = "iphone-load-harness"
# Of one message; the largest that a phone has reason to send is its process list, well below 1 MiB.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class UsbmuxdGone(Exception):
    """No usbmuxd answers."""


class PhoneAbsent(Exception):
    """usbmuxd does not list the phone."""


class NotPaired(Exception):
    """The phone no longer knows the pairing that pymobiledevice3 made or found."""


class ServiceRefused(Exception):
    """lockdownd does not start a service; `code` is its own word, as in InvalidService."""

    def __init__(self, service: str, code: str) -> None:
        super().__init__(f"the phone does not start {service}: {code}")
        self.code = code


class PhoneSocket(PlistSocket):  # type: ignore[misc]  # tidevice ships no types
    """A connection to usbmuxd, later to a service. Bounded messages; TLS that two threads may use."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._context = context
        self._tls: TlsStream | None = None
        super().__init__(sock)

    def switch_to_ssl(self, pemfile: str) -> None:
        self._tls = TlsStream(self._sock, self._context)

    def is_secure(self) -> bool:
        return self._tls is not None

    def recv(self, bufsize: int = 4096) -> bytes:
        try:
            return bytes(self._sock.recv(bufsize) if self._tls is None else self._tls.recv(bufsize))
        except OSError as error:
            raise SocketError(f"the connection broke: {error}") from error

    def recvall(self, size: int) -> bytearray:
        if size > MAX_MESSAGE_BYTES:
            raise SocketError(f"the phone announced a message of {size} bytes")
        return bytearray(super().recvall(size))

    def sendall(self, data: bytes | bytearray) -> None:
        try:
            if self._tls is None:
                self._sock.sendall(data)
            else:
                self._tls.sendall(data)
        except OSError as error:
            raise SocketError(f"the connection broke: {error}") from error

    def interrupt(self) -> None:
        """Ends whatever waits for this socket, in whichever thread; it is closed afterwards."""
        if not self.closed:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self.close()

    def take(self) -> socket.socket:
        """The bare socket, no longer closed with the phone."""
        assert self._tls is None, "encrypted bytes are of no use without their key"
        self._finalizer.detach()
        taken: socket.socket = self._sock
        return taken


class _Usbmux(Usbmux):  # type: ignore[misc]  # tidevice ships no types
    def __init__(self, address: str | None, context: ssl.SSLContext) -> None:
        self._where = address or os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET
        super().__init__(self._where)
        self._context = context
        self._lock = threading.Lock()
        self._sockets: list[PhoneSocket] = []
        self._closed = False

    def create_connection(self) -> PlistSocketProxy:
        connected = PhoneSocket(self._connect(), self._context)
        with self._lock:
            if not self._closed:
                self._sockets.append(connected)
                return PlistSocketProxy(connected)
        connected.close()
        raise SocketError("given up")

    def _connect(self) -> socket.socket:
        host, colon, port = self._where.rpartition(":")
        try:
            if colon and port.isdigit():
                sock = socket.create_connection((host, int(port)), timeout=CONNECT_LIMIT_S)
            else:
                sock = socket.socket(socket.AF_UNIX)
                try:
                    sock.settimeout(CONNECT_LIMIT_S)
                    sock.connect(self._where)
                except OSError:
                    sock.close()
                    raise
        except OSError as error:
            raise UsbmuxdGone(f"no usbmuxd answers at {self._where}: {error}") from error
        sock.settimeout(None)
        return sock

    def close(self) -> None:
        with self._lock:
            self._closed = True
            sockets, self._sockets = self._sockets, []
        for sock in sockets:
            sock.interrupt()


class TidevicePhone(Device):  # type: ignore[misc]  # tidevice ships no types
    """One phone for the length of one piece of work; blocking, so for a thread. Close it from wherever you like."""

    def __init__(self, udid: str, address: str | None, pair_record: Mapping[str, Any], context: ssl.SSLContext) -> None:
        self._mux = _Usbmux(address, context)
        super().__init__(udid, self._mux)
        self._listed: DeviceInfo | None = None
        self.pair_record = dict(pair_record)

    @property
    def info(self) -> DeviceInfo:
        if self._listed is None:
            self._listed = next((listed for listed in self._mux.device_list() if listed.udid == self.udid), None)
        if self._listed is None:
            raise PhoneAbsent("the phone is not attached")
        return self._listed

    @property
    def ssl_pemfile_path(self) -> str:
        """Not used: `PhoneSocket` has its context, so that no key lies in the user's home."""
        return ""

    def pair(self) -> dict[str, Any]:
        raise NotPaired("the phone does not know this host")

    def delete_pair_record(self) -> None:
        raise NotPaired("the phone no longer knows this host")

    def start_service(self, name: str) -> PlistSocketProxy:
        """A connection to the service, encrypted where the phone asks for it.

        tidevice's own would fetch and mount a developer image after any error.
        """
        port, encrypted = self.locate_service(name)
        return self.create_inner_connection(port, _ssl=encrypted)

    def locate_service(self, name: str) -> tuple[int, bool]:
        """Has lockdownd start the service: the port on which it waits, and whether it expects TLS."""
        with self.create_session() as session:
            told = session.send_recv_packet({"Request": "StartService", "Service": name, "Label": LABEL})
        if "Error" in told:
            raise ServiceRefused(name, str(told["Error"]))
        port = told.get("Port")
        if not isinstance(port, int) or not 0 < port < 1 << 16:
            raise MuxServiceError(f"the phone told no port of {name}")
        return port, told.get("EnableServiceSSL") is True

    def connect_port(self, port: int) -> PlistSocketProxy:
        """A connection to a port of the phone. Raises MuxReplyError (ConnectionRefused) when nobody listens there.

        It closes when the object is no longer held, unless its socket has been taken (`psock.take`).
        """
        return self._mux.connect_device_port(self.devid, port)

    def close(self) -> None:
        """Ends and closes every connection; work that waits for one fails at once."""
        self._mux.close()


def context_of(pair_record: Mapping[str, Any]) -> ssl.SSLContext:
    """For the TLS of a phone's services; the key is on disk for no longer than OpenSSL needs to read it."""
    missing = [key for key in ("HostPrivateKey", "HostCertificate") if not isinstance(pair_record.get(key), bytes)]
    if missing:
        raise MuxError(f"the pair record has no {' and no '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "host.pem"
        file.touch(mode=0o600)
        file.write_bytes(pair_record["HostPrivateKey"] + b"\n" + pair_record["HostCertificate"])
        return phone_context(str(file))
