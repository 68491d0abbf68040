"""Text of others in HTML that is put together by hand; templates escape by themselves."""

from __future__ import annotations

import html

from harness.core.text import printable


def escape(text: str) -> str:
    """For elements and quoted attributes, without signs that nobody sees: one that turns the direction of writing makes
    other text look like another, and a lone surrogate is in no file.
    """
    return html.escape(printable(text))
