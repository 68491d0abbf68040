"""The frame around every page: its head, its style, its security policy. Templates are in `templates/`.

Jinja escapes everything; what may stand in a page as it is (figures, marked-up notes) is `Markup`, made in few places.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup
from platformdirs import user_cache_path

from harness import APP_NAME
from harness.core.text import percent, printable
from harness.report.site.pages import ENTRY, link
from harness.report.verdict_words import shift_text, value_text
from harness.report.words import MISSING, bytes_text, duration_text, rate_text

MAX_TEXT_CHARS = 2_000
"""Longer texts (errors of an engine, say) are cut in a page, which says so; the record has the whole."""


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Templates as Python has compiled them, as `__pycache__` has modules: that takes longer than to fill them."""

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        # a full disk costs time the next time and nothing now
        with suppress(OSError):
            super().dump_bytecode(bucket)


def _compiled() -> _Compiled | None:
    folder = user_cache_path(APP_NAME) / "pages"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return _Compiled(str(folder))


@cache
def environment() -> jinja2.Environment:
    """Templates of this package; an unknown name in one is an error, not nothing."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report.site", "templates"),
        autoescape=True,
        finalize=_plain,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled(),
    )
    found.filters |= {
        "bytes_text": bytes_text,
        "duration_text": duration_text,
        "rate_text": rate_text,
        "percent": percent,
        "shift_text": shift_text,
        "value_text": lambda value, metric: value_text(metric, value),
        "cut": cut,
    }
    found.globals |= {"MISSING": MISSING}
    return found


def _plain(value: Any) -> Any:
    """Whatever a template puts in, without signs that nobody sees: one that turns the direction of writing makes other
    text look like another, and a lone surrogate is in no file. Our own Markup is made of such text already.
    """
    return printable(value) if type(value) is str else value


def cut(text: str) -> str:
    """At most MAX_TEXT_CHARS of it, and how much is not shown."""
    more = len(text) - MAX_TEXT_CHARS
    return text if more <= 0 else f"{text[:MAX_TEXT_CHARS]}… ({more} more characters are in the record)"


def render(template: str, *, page: str, title: str, scripts: tuple[str, ...] = (), **values: Any) -> str:
    """A whole page. `page`: its own name, from which its links go; `scripts`: inline, each allowed by its hash.

    `link(target)` in a template is relative to the page.
    """
    return (
        environment()
        .get_template(template)
        .render(
            title=title,
            style=Markup(_style()),  # noqa: S704  # our own file
            policy=policy(scripts),
            scripts=[Markup(script) for script in scripts],  # noqa: S704  # our own constants, never built from data
            home=link(page, ENTRY),
            link=lambda target: link(page, target),
            **values,
        )
    )


def policy(scripts: tuple[str, ...] = (), *, connect: bool = False) -> str:
    """The Content-Security-Policy: nothing from anywhere but the page itself.

    Styles may be inline, for figures set colours and sizes in attributes; scripts only by hash.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    none = "'none'"
    parts = ["default-src 'none'", "style-src 'unsafe-inline'", "img-src data:", f"script-src {hashes or none}"]
    parts += ["connect-src 'self'"] if connect else []
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


@cache
def _style() -> str:
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), "site.css")[0]
