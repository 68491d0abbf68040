"""An https server on 127.0.0.1 that offers one file, and does so as badly as a test wants."""

from __future__ import annotations

import datetime
import ipaddress
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Shelf:
    """The file and how it is served; a test may change either between two requests."""

    content: bytes
    etag: str | None = '"one"'
    cuts: list[int] = field(default_factory=list)
    """Each takes one request: so many bytes of its body are sent, then the connection is closed."""
    obeys_range: bool = True
    obeys_if_range: bool = True
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Each takes one request: this status with these headers, and no body."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every answer with a body, in place of what it would say itself."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of every request so far."""
    sent_bytes: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/models/model.task"


@contextmanager
def served(shelf: Shelf, folder: Path) -> Iterator[Path]:
    """Serves the shelf; yields the file of the authority that vouches for the server."""
    certificate = _certificate(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server = _QuietServer(("127.0.0.1", 0), _handler(shelf))
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    shelf.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield certificate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up; that is no news."""


def _handler(shelf: Shelf) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            shelf.asked.append((self.path, asked))
            if shelf.answers:
                self._answer(*shelf.answers.pop(0))
                return
            begin = self._begin(asked)
            body = shelf.content[begin:]
            headers = {"Content-Length": str(len(body))}
            if shelf.etag is not None:
                headers["ETag"] = shelf.etag
            status = 200
            if begin:
                if not body:
                    self._answer(416, {"Content-Range": f"bytes */{len(shelf.content)}"})
                    return
                status = 206
                headers["Content-Range"] = f"bytes {begin}-{len(shelf.content) - 1}/{len(shelf.content)}"
            self._head(status, headers | shelf.headers)
            cut = shelf.cuts.pop(0) if shelf.cuts else None
            self.wfile.write(body[:cut])
            shelf.sent_bytes += len(body[:cut])
            if cut is not None:
                self.close_connection = True

        def _begin(self, asked: str | None) -> int:
            wanted = re.fullmatch(r"bytes=([0-9]+)-", asked or "")
            if wanted is None or not shelf.obeys_range:
                return 0
            condition = self.headers.get("If-Range")
            if condition is not None and condition != shelf.etag and shelf.obeys_if_range:
                return 0
            return int(wanted[1])

        def _answer(self, status: int, headers: dict[str, str]) -> None:
            self._head(status, {"Content-Length": "0", **headers})

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # the base class calls it so
            """Standard error is the test's."""

    return Handler


def _certificate(folder: Path) -> Path:
    """Key and certificate of 127.0.0.1, which vouches for itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
