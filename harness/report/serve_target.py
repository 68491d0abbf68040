"""What a request asks for, checked before anything is looked up: who may ask, and for which name. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

HOST = "127.0.0.1"
MAX_TARGET_CHARS = 2_048
MAX_PARTS = 12


class Refused(Exception):
    """The request is not served; `status` says why to the browser, the text to the person."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def check_asker(headers: Mapping[str, str], hosts: Sequence[str], port: int) -> None:
    """Raises Refused unless the request is meant for this server and comes from its own pages, or from none.

    `hosts`: every Host header of the request. Another site's name that was pointed at this machine (DNS rebinding)
    comes with that name; another site's page that asks in the background says so in Sec-Fetch-Site.
    """
    ours = {f"{HOST}:{port}", f"localhost:{port}"}
    if port == 80:
        ours |= {HOST, "localhost"}
    if len(hosts) != 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "a request has one Host header")
    if hosts[0].strip().lower() not in ours:
        raise Refused(HTTPStatus.MISDIRECTED_REQUEST, f"this is {HOST}:{port} and nobody else; open it by that name")
    told = {name.lower(): value.strip().lower() for name, value in headers.items()}
    foreign = told.get("sec-fetch-site", "none") in ("cross-site", "same-site")
    if foreign and told.get("sec-fetch-mode", "") != "navigate":
        raise Refused(HTTPStatus.FORBIDDEN, "only pages of this server may ask in the background")


def parts_of(target: str) -> tuple[str, ...]:
    """The names of a request's path, decoded once: `/report/index.html` → (`report`, `index.html`); `/` → ().

    Raises Refused for whatever is no plain path of plain names: `..`, however it is written, a backslash, a NUL,
    another server's address.
    """
    if len(target) > MAX_TARGET_CHARS:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, f"an address has at most {MAX_TARGET_CHARS} characters")
    path = target.partition("?")[0]
    if not path.startswith("/") or path.startswith("//") or "#" in path:
        raise Refused(HTTPStatus.BAD_REQUEST, "the request is for no path of this server")
    names = path[1:].removesuffix("/").split("/") if path != "/" else []
    if len(names) > MAX_PARTS:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such page")
    return tuple(map(_name, names))


def _name(raw: str) -> str:
    try:
        name = unquote_to_bytes(raw).decode()
    except UnicodeError:
        raise Refused(HTTPStatus.BAD_REQUEST, "an address is UTF-8") from None
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise Refused(HTTPStatus.BAD_REQUEST, "the request is for no path of this server")
    return name
