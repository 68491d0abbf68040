"""`harness report --serve`: the site, every trial's page, its files, and what is under way, for this machine alone.

Reads, and gives nothing out but to a browser on this machine that asked this server by its name. Addresses are as the
folders of results are, so that a page's links to files work here as they do from a file:

    /report/…   the site      /telemetry/…, /artifacts/…   files of trials      /live, /live/events   what is under way
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import ExitStack, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any, cast

from harness.core.errors import HarnessError, UsageError
from harness.report.live_page import ADDRESS, LIVE_POLICY, SITE
from harness.report.serve_answer import Answer, Stream, file, head_of, page, words
from harness.report.serve_files import ARTIFACTS, PLAIN, TELEMETRY, claimed, media_type, open_below
from harness.report.serve_live import Lookout
from harness.report.serve_site import ServedSite
from harness.report.serve_target import HOST, Refused, check_asker, parts_of
from harness.report.site.layout import policy
from harness.report.site.pages import ENTRY
from harness.store.address import Results, address_of
from harness.store.database import ResultStore

MAX_REQUESTS = 32
"""At a time; more are told to come again."""
MAX_STREAMS = 8
"""Live pages that are open at a time; further ones show the state at their load."""
MAX_REQUEST_BYTES = 16 * 1024
"""Request line and headers together."""
SILENCE_LIMIT_S = 10.0
"""A client that neither asks nor reads for so long is let go."""
REQUEST_LIMIT_S = 10.0
"""A request is here as a whole after so long, however slowly it comes: a few that drip would keep all others away."""
_CHUNK_BYTES = 256 * 1024

log = logging.getLogger(__name__)


class SiteServer(ThreadingHTTPServer):
    """Make one with the results to serve, call `serve_forever`, then `close`."""

    daemon_threads = True
    block_on_close = False
    # a port that nobody listens on any more can be had at once
    allow_reuse_address = True

    def __init__(self, results: Results, port: int = 0, host: str = HOST) -> None:
        """Builds the site first. Raises UsageError for another host or a port that is taken, StoreError, NoResults."""
        if host != HOST:
            raise UsageError(
                f"host {host[:80]!r}: only {HOST} is served. Whoever reaches the server reads all results, and it asks "
                "nobody who they are; for others, copy the report's folder to a web server, or forward the port by ssh"
            )
        address = address_of(results)
        address.must_exist()
        self._exit = ExitStack()
        try:
            self.site = self._exit.enter_context(ServedSite(address))
            self.store = self._exit.enter_context(ResultStore.open_existing(address))
            self.site.build()
            self.lookout = Lookout(address)
            self._exit.callback(self.lookout.close)
            self._requests = threading.BoundedSemaphore(MAX_REQUESTS)
            self.streams = threading.BoundedSemaphore(MAX_STREAMS)
            super().__init__((host, port), _Handler)
        except OSError as error:
            self._exit.close()
            raise UsageError(f"port {port} cannot be had ({error.strerror}); give another --port, or none") from error
        except OverflowError:
            self._exit.close()
            raise UsageError(f"port {port}: a port is a number from 0 to 65535") from None
        except BaseException:
            self._exit.close()
            raise

    @property
    def url(self) -> str:
        """Where to open it."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def close(self) -> None:
        """Lets go of port and results; streams end."""
        self.server_close()
        self._exit.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._requests.acquire(blocking=False):
            with request:
                request.settimeout(1.0)
                try:
                    request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    log.debug("one too many had gone before it was told")
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._requests.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # a browser that goes away in mid-answer is no news
        log.debug("a connection broke", exc_info=True)


class _Bounded:
    """So much of a request is read and no more; then it has ended, in the middle."""

    def __init__(self, source: BufferedIOBase) -> None:
        self._source = source
        self._left = MAX_REQUEST_BYTES

    def readline(self, size: int = -1) -> bytes:
        line = self._source.readline(self._left if size < 0 else min(size, self._left))
        self._left -= len(line)
        return line

    def close(self) -> None:
        self._source.close()

    @property
    def spent(self) -> bool:
        """What was read so far need not be the whole request."""
        return self._left <= 0

    @property
    def closed(self) -> bool:
        return self._source.closed


class _Handler(BaseHTTPRequestHandler):
    """One request a connection: simple, and nobody keeps a thread by keeping still."""

    timeout = SILENCE_LIMIT_S
    protocol_version = "HTTP/1.1"
    server: SiteServer

    def setup(self) -> None:
        super().setup()
        self._request = _Bounded(self.rfile)
        # only readline is asked of it
        self.rfile = cast(BufferedIOBase, self._request)
        self._late = False
        self._patience = threading.Timer(REQUEST_LIMIT_S, self._end_request)
        self._patience.daemon = True
        self._patience.start()

    def finish(self) -> None:
        self._patience.cancel()
        super().finish()

    def _end_request(self) -> None:
        self._late = True
        with suppress(OSError):
            # whoever reads of it comes to its end
            self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        self.close_connection = True
        try:
            self._check_whole()
            check_asker(dict(self.headers.items()), self.headers.get_all("Host", []), self.server.server_address[1])
            answer = self._route(parts_of(self.path))
        except Refused as refused:
            answer = words(refused.status, refused.text)
        except HarnessError as error:
            answer = words(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except Exception:
            log.exception("a page could not be made")
            answer = words(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault of the harness; its log tells where")
        self._send(answer)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _check_whole(self) -> None:
        self._patience.cancel()
        if self._late:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"a request takes at most {REQUEST_LIMIT_S:.0f} seconds")
        if self._request.spent:
            text = f"a request has at most {MAX_REQUEST_BYTES} bytes"
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)
        if self.request_version == "HTTP/0.9":
            raise Refused(HTTPStatus.BAD_REQUEST, "HTTP/1.1 is spoken here")

    def _route(self, parts: tuple[str, ...]) -> Answer:
        match parts:
            case () | ("report",):
                self.server.site.refresh()
                there = SITE + ENTRY if self.server.site.has_pages else ADDRESS
                return Answer(HTTPStatus.FOUND, headers={"Location": there})
            case ("live",):
                return page(self.server.lookout.page().encode(), policy=LIVE_POLICY, banner=False)
            case ("live", "events"):
                return self._events()
            case ("report", *names):
                self.server.site.refresh()
                found = self.server.site.file("/".join(names))
                if found is not None:
                    kind = media_type(names[-1])
                    return (
                        page(found, policy=policy()) if kind.startswith("text/html") else file(found, kind, names[-1])
                    )
            case (top, *names) if top in (TELEMETRY, ARTIFACTS) and claimed(self.server.store, parts):
                raw = open_below(self.server.store.folder, parts)
                if raw is not None:
                    return file(raw, PLAIN, names[-1])
            case ("favicon.ico",):
                return Answer(HTTPStatus.NO_CONTENT)
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such page, and no trial has such a file")

    def _events(self) -> Answer:
        if not self.server.streams.acquire(blocking=False):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "enough live pages are open; reload this one for news")
        stream = Stream(self.server.lookout.events(), self.server.streams)
        return Answer(HTTPStatus.OK, stream, "text/event-stream")

    def _send(self, answer: Answer) -> None:
        body = answer.body
        try:
            self._send_head(answer)
            if self.command == "HEAD":
                return
            if isinstance(body, bytes):
                self.wfile.write(body)
            elif isinstance(body, Stream):
                for chunk in body.chunks:
                    self.wfile.write(chunk)
            else:
                # not beyond the size that was told
                left = answer.size_bytes or 0
                while left > 0 and (chunk := body.read(min(left, _CHUNK_BYTES))):
                    self.wfile.write(chunk)
                    left -= len(chunk)
        finally:
            if not isinstance(body, bytes):
                body.close()

    def _send_head(self, answer: Answer) -> None:
        # an answer without a head would say nothing of what may be done with it
        self.request_version = "HTTP/1.0"
        self.send_response(answer.status)
        for name, value in head_of(answer).items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses by itself: a request that is none, a method that there is not."""
        self.close_connection = True
        # before a request is understood there is no command
        self.command = getattr(self, "command", None) or "GET"
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refused = words(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed here")
            self._send(Answer(refused.status, refused.body, headers={"Allow": "GET, HEAD"}))
            return
        status = HTTPStatus(code)
        self._send(words(status, status.phrase))

    def version_string(self) -> str:
        return "iphone-load-harness"

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s", (format % args).encode("unicode_escape").decode("ascii"))
