"""What is sent back, and under which rules: every answer says what its page may do, pages and files alike."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import BinaryIO

from harness.report.live_page import ADDRESS
from harness.report.serve_files import PLAIN

_NO_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
_BANNER = f' · <a href="{ADDRESS}">Live</a></nav>'.encode()
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Stream:
    """Chunks as they come, and the place among the streams that is free again afterwards."""

    chunks: Iterator[bytes]
    place: threading.BoundedSemaphore

    def close(self) -> None:
        self.place.release()


@dataclass(frozen=True)
class Answer:
    """`headers` are beside, or instead of, those that every answer has."""

    status: HTTPStatus
    body: bytes | BinaryIO | Stream = b""
    media_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int | None = None
    """Of a file."""


def words(status: HTTPStatus, text: str) -> Answer:
    """A line for a person."""
    return Answer(status, f"{text}\n".encode())


def page(content: bytes, *, policy: str, banner: bool = True) -> Answer:
    """A page under a policy of ours, whatever its own says: results may come from elsewhere, with a report in them."""
    if banner:
        content = content.replace(b"</nav>", _BANNER, 1)
    return Answer(HTTPStatus.OK, content, "text/html; charset=utf-8", {"Content-Security-Policy": _framed(policy)})


def _framed(policy: str) -> str:
    return f"{policy}; frame-ancestors 'none'"


def file(content: bytes | BinaryIO, kind: str, name: str) -> Answer:
    """Shown where it is a picture of our own; else saved, under a name without surprises, and never run."""
    headers = {"Content-Security-Policy": _framed("default-src 'none'; style-src 'unsafe-inline'; sandbox")}
    if kind == PLAIN:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:]
        headers["Content-Disposition"] = f'attachment; filename="{plain}"'
    if isinstance(content, bytes):
        return Answer(HTTPStatus.OK, content, kind, headers)
    content.seek(0, 2)
    size = content.tell()
    content.seek(0)
    return Answer(HTTPStatus.OK, content, kind, headers, size)


def head_of(answer: Answer) -> dict[str, str]:
    """The headers that it is sent with."""
    size = len(answer.body) if isinstance(answer.body, bytes) else answer.size_bytes
    headers = {"Content-Type": answer.media_type, "Content-Security-Policy": _framed(_NO_POLICY), **_ALWAYS}
    headers |= {**answer.headers, "Connection": "close"}
    if size is not None and answer.status != HTTPStatus.NO_CONTENT:
        headers["Content-Length"] = str(size)
    return headers
