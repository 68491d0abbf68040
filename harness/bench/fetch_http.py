"""One GET of a large file over https: redirects, ranges, time-outs, proxies. May know HTTP and nothing of models.

Only https, also after a redirect; at most MAX_REDIRECTS of them. Certificates are checked against this system's
authorities (or those of the environment's SSL_CERT_FILE); HTTPS_PROXY and NO_PROXY are honoured.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from harness import __version__
from harness.core.errors import HarnessError

MAX_REDIRECTS = 5
MAX_URL_CHARACTERS = 16 * 1024
MAX_ETAG_CHARACTERS = 1024
CONNECT_LIMIT_S = 30.0
SILENCE_LIMIT_S = 60.0
"""Between two pieces of the body."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed."""

_CONTENT_RANGE = re.compile(r"bytes (?P<begin>[0-9]{1,15})-(?P<end>[0-9]{1,15})/(?P<total>[0-9]{1,15}|\*)")
_NUMBER = re.compile(r"[0-9]{1,15}")


class FetchError(HarnessError):
    """The network, the server or this machine's disk is in the way; the message says what to do."""


class Cut(Exception):
    """The connection or the server failed in a way that another try may mend."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Answer:
    """What the server says before the body."""

    status: int
    begin: int | None
    """First byte of the body within the file: 0, or where a part (206) begins; None: not said."""
    total_bytes: int | None
    """Of the whole file; None: not said."""
    etag: str | None
    """Only a strong one: a weak one does not promise the same bytes."""


class Body:
    """An answer and the bytes behind it."""

    def __init__(self, answer: Answer, response: urllib3.BaseHTTPResponse) -> None:
        self.answer = answer
        self._response = response

    def chunks(self, size_bytes: int) -> Iterator[bytes]:
        """The body as it arrives. Raises Cut when it ends too early."""
        try:
            while chunk := self._response.read(size_bytes, decode_content=False):
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Cut(f"the connection broke: {_plain(error)}") from error


class Server:
    """Connections to wherever the addresses lead; a context manager."""

    def __init__(self) -> None:
        self._tls = ssl.create_default_context()
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            pool.clear()

    @contextmanager
    def get(self, url: str, begin: int, etag: str | None) -> Iterator[Body]:
        """The file from byte `begin`; all of it if it is no longer the one with that `etag`.

        Raises Cut for what another try may mend, FetchError for the rest.
        """
        headers = {
            # the bytes as they are: a range of a compressed stream would be another file's
            "Accept-Encoding": "identity",
            "User-Agent": f"iphone-load-harness/{__version__}",
        }
        if begin:
            headers["Range"] = f"bytes={begin}-"
            if etag is not None:
                headers["If-Range"] = etag
        response = self._follow(url, headers)
        try:
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise FetchError(f"{url}: the server compresses the file although it was asked not to")
            yield Body(_answer(response), response)
        finally:
            # what is left of the body is not wanted: the connection cannot be used again
            response.close()
            response.release_conn()

    def _follow(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        at = url
        for _ in range(MAX_REDIRECTS + 1):
            response = self._one(at, headers)
            if response.status in BUSY:
                wait = response.headers.get("Retry-After", "")
                response.close()
                raise Cut(
                    f"the server answers HTTP {response.status}", float(wait) if _NUMBER.fullmatch(wait) else None
                )
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or location is None:
                return response
            response.close()
            try:
                at = urljoin(at, location)
                host = urlsplit(at).hostname
            except ValueError as error:
                raise FetchError(f"{url}: leads to what is no address ({error})") from error
            # not the whole address: what storage services are redirected to carries a key
            if urlsplit(at).scheme != "https" or host is None or len(at) > MAX_URL_CHARACTERS:
                raise FetchError(f"{url}: leads to {at[:60]!r}, not an https address; nothing is fetched there")
        raise FetchError(f"{url}: more than {MAX_REDIRECTS} redirects")

    def _one(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool(url).request(
                "GET",
                url,
                headers=headers,
                redirect=False,
                # a try is for who counts them
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_LIMIT_S, read=SILENCE_LIMIT_S),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            host = urlsplit(url).hostname
            if isinstance(error.__cause__, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error):
                raise FetchError(
                    f"{host}: its certificate is not to be trusted: {_plain(error)}. For an authority of your own, "
                    "name its file in SSL_CERT_FILE"
                ) from error
            raise Cut(f"no connection to {host}: {_plain(error)}") from error

    def _pool(self, url: str) -> urllib3.PoolManager:
        host = urlsplit(url).hostname or ""
        proxy = None if proxy_bypass(host) else getproxies().get("https")
        if proxy not in self._pools:
            if proxy is None:
                self._pools[proxy] = urllib3.PoolManager(ssl_context=self._tls)
            else:
                self._pools[proxy] = urllib3.ProxyManager(proxy, ssl_context=self._tls)
        return self._pools[proxy]


def _answer(response: urllib3.BaseHTTPResponse) -> Answer:
    etag = response.headers.get("ETag")
    if etag is not None and (etag.startswith("W/") or len(etag) > MAX_ETAG_CHARACTERS):
        etag = None
    if response.status == 206:
        place = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        begin = int(place["begin"]) if place else None
        total = int(place["total"]) if place and place["total"] != "*" else None
        return Answer(206, begin, total, etag)
    length = response.headers.get("Content-Length", "")
    return Answer(response.status, 0, int(length) if _NUMBER.fullmatch(length) else None, etag)


def _plain(error: BaseException) -> str:
    """The innermost cause in a few words: the libraries wrap it several times."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{error or type(error).__name__}"[:200]
