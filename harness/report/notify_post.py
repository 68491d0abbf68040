"""One POST of JSON to a webhook: tried again while the other side is busy, and silent about the address.

The address of a webhook is its password: no error, no log line and no list of processes is to show it. May know HTTP
and nothing of verdicts.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from harness import __version__
from harness.core.errors import HarnessError, UsageError

CONNECT_LIMIT_S = 10.0
ANSWER_LIMIT_S = 30.0
"""Of silence."""
ATTEMPT_LIMIT_S = 60.0
"""Of one request in all, however busily the other side says nothing."""
MAX_REDIRECTS = 3
MAX_URL_CHARS = 4096
FIRST_WAIT_S = 1.0
"""Doubles with each attempt."""
MAX_WAIT_S = 60.0
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed."""
THREAD_NAME = "iphone-load-webhook"
_SECONDS = re.compile(r"[0-9]{1,9}")


class NotDelivered(HarnessError):
    """The webhook did not take it, or could not be reached (exit code 4)."""


class _Busy(Exception):
    """Another attempt may succeed."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def check_webhook(url: str) -> str:
    """The address itself; raises UsageError, which does not show it, unless it is https, or leads to this machine."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("the webhook's address is none: it is as https://host/path") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0 or len(url) > MAX_URL_CHARS:
        raise UsageError("the webhook's address is none: it is as https://host/path")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise UsageError("the webhook's address holds characters that no address has: write them as %XX")
    if _host_asked(url) != parts.hostname:
        # who checks an address and who goes there must read it alike
        raise UsageError("the webhook's address is none: it is as https://host/path")
    if parts.scheme == "http" and not _is_here(parts.hostname):
        raise UsageError(f"the webhook on {parts.hostname[:80]}: only https, but to this machine: it carries a secret")
    return url


def post_json(url: str, body: bytes, *, retry_for_s: float, wait: Callable[[float], None] = time.sleep) -> None:
    """Sends it, and returns when the other side has said 2xx. Raises NotDelivered, which names the host and no more.

    Attempts are made until `retry_for_s` after the first would be over: after 1 s, 2 s, 4 s, or as the other side's
    Retry-After says. Redirects are followed within the same host, port and scheme only.
    """
    where = _where(urlsplit(check_webhook(url)))
    ends = time.monotonic() + retry_for_s
    attempts, delay_s = 0, FIRST_WAIT_S
    _keep_silent()
    while True:
        attempts += 1
        try:
            _attempt(url, body, where)
        except _Busy as busy:
            pause_s = delay_s if busy.retry_after_s is None else busy.retry_after_s
            if time.monotonic() + pause_s > ends:
                times = "once" if attempts == 1 else f"{attempts} times"
                raise NotDelivered(f"the webhook on {where}: {busy}; tried {times}") from None
            wait(pause_s)
            delay_s = min(2 * delay_s, MAX_WAIT_S)
        else:
            return


def _attempt(url: str, body: bytes, where: str) -> None:
    at = url
    for _ in range(MAX_REDIRECTS + 1):
        status, headers = _in_time(at, body, where)
        if 200 <= status < 300:
            return
        if status in BUSY:
            raise _Busy(f"it answers HTTP {status}", _retry_after_s(headers.get("Retry-After", "")))
        location = headers.get("Location")
        if status not in (307, 308) or location is None:
            raise NotDelivered(f"the webhook on {where} answers HTTP {status}: is its address right, and still valid?")
        at = _next(at, location, where)
    raise NotDelivered(f"the webhook on {where}: more than {MAX_REDIRECTS} redirects")


def _next(at: str, location: str, where: str) -> str:
    """Where a redirect leads; what is sent is for this host alone."""
    try:
        target = check_webhook(urljoin(at, location))
        same = _origin(urlsplit(target)) == _origin(urlsplit(at))
    except (ValueError, UsageError):
        same = False
    if not same:
        raise NotDelivered(f"the webhook on {where} redirects to another host; nothing is sent there")
    return target


def _in_time(url: str, body: bytes, where: str) -> tuple[int, urllib3.HTTPHeaderDict]:
    """By a thread that is left to itself after ATTEMPT_LIMIT_S: one byte of an answer a second never ends, and the lock
    that keeps the next night's message away would be held for ever.
    """
    answers: SimpleQueue[tuple[int, urllib3.HTTPHeaderDict] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_one(url, body, where))
        except Exception as error:  # noqa: BLE001  # raised again by whoever waits
            answers.put(error)

    threading.Thread(target=ask, name=THREAD_NAME, daemon=True).start()
    try:
        found = answers.get(timeout=ATTEMPT_LIMIT_S)
    except Empty:
        raise _Busy(f"no whole answer within {ATTEMPT_LIMIT_S:.0f} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _one(url: str, body: bytes, where: str) -> tuple[int, urllib3.HTTPHeaderDict]:
    headers = {"Content-Type": "application/json", "User-Agent": f"iphone-load-harness/{__version__}"}
    with _pool(urlsplit(url)) as pool:
        try:
            answer = pool.request(
                "POST",
                url,
                body=body,
                headers=headers,
                redirect=False,
                # attempts are counted above
                retries=False,
                timeout=urllib3.Timeout(connect=CONNECT_LIMIT_S, read=ANSWER_LIMIT_S),
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if "CERTIFICATE_VERIFY" in str(error):
                raise NotDelivered(
                    f"the webhook on {where}: its certificate is not to be trusted. For an authority of your own, name "
                    "its file in SSL_CERT_FILE"
                ) from None
            # the libraries' words may hold the address
            raise _Busy(f"no connection ({type(error).__name__})") from None
        answer.close()
        return answer.status, answer.headers


@contextmanager
def _pool(parts: SplitResult) -> Iterator[urllib3.PoolManager]:
    host = parts.hostname or ""
    proxy = None if _is_here(host) or proxy_bypass(host) else getproxies().get(parts.scheme)
    tls = ssl.create_default_context()
    pool = urllib3.PoolManager(ssl_context=tls) if proxy is None else urllib3.ProxyManager(proxy, ssl_context=tls)
    try:
        yield pool
    finally:
        pool.clear()


class _Silence(logging.Filter):
    """urllib3's lines hold the address, and not only its debug lines: an odd header is a warning that quotes it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != THREAD_NAME


_SILENCE = _Silence()


def _keep_silent() -> None:
    """For good: a thread that was left to itself may speak later. What others do with urllib3 is told as ever."""
    for name in ("connectionpool", "connection", "poolmanager", "response", "util.retry"):
        logging.getLogger(f"urllib3.{name}").addFilter(_SILENCE)


def _retry_after_s(text: str) -> float | None:
    """Seconds, or a date of HTTP; None: not said."""
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _host_asked(url: str) -> str | None:
    """The host that the HTTP library would go to."""
    try:
        host = urllib3.util.parse_url(url).host
    except urllib3.exceptions.LocationParseError:
        return None
    return None if host is None else host.strip("[]")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _where(parts: SplitResult) -> str:
    """Host and port: without user, password, path and query."""
    return f"{parts.hostname}:{parts.port}" if parts.port is not None else f"{parts.hostname}"


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
