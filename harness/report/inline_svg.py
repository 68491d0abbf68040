"""A figure as part of a page: one drawing for both themes, whose colours are the page's CSS variables.

It is drawn with colours that stand for roles, which then become `var(--role)`. `figures_style.Theme` has the roles,
`site.css` their colours in either theme.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from harness.report.figures_style import Theme, font_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROLES = ("background", "text", "muted", "grid", "band-0", "band-1", "footprint", "resident", "host", "limit", "death")
_BY_ROLE = {role: f"#0102{number:02x}" for number, role in enumerate(_ROLES, start=0xE0)}
PAGE = Theme(
    name="page",
    suffix="",
    bands=(_BY_ROLE["band-0"], _BY_ROLE["band-1"]),
    **{role: colour for role, colour in _BY_ROLE.items() if not role.startswith("band")},
)
"""Draw with `figures_style.style(PAGE)` and its colours only."""

_VARIABLES = {colour: f"var(--{role})" for role, colour in _BY_ROLE.items()}
_COLOUR = re.compile("|".join(_VARIABLES))
_HEAD = re.compile(r"^.*?<svg[^>]*?viewBox=\"([^\"]*)\"[^>]*>", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
"""What is not in a tag is text, perhaps from outside, and stays as it is; in tags matplotlib escapes `>`."""
_ID = re.compile(r"(\bid=\"|url\(#|href=\"#)([a-zA-Z][\w.-]*)")
_PATH_BREAK = re.compile(r" \n(?=[MLz])")
_PLACES = "n-"
"""Begins the ids of places of the page."""


def inline_svg(figure: Figure, label: str, prefix: str) -> Markup:
    """The figure as an element of a page.

    `label`: what a reader who does not see it is told. `prefix`: letters and digits, different for each figure of the
    page, so that what figures call by id does not clash; links to places of the page begin with `#n-` and are kept.
    """
    target = StringIO()
    figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    drawn = _METADATA.sub("", target.getvalue())
    attributes = f'class="figure" role="img" aria-label="{escape(label)}"'
    head = _HEAD.match(drawn)
    assert head is not None, "matplotlib begins with it"

    def own_id(found: re.Match[str]) -> str:
        return found[0] if found[2].startswith(_PLACES) else f"{found[1]}{prefix}-{found[2]}"

    def of_page(found: re.Match[str]) -> str:
        # most tags have one of these or none, and to look is quicker than to replace
        tag = found[0]
        if "id=" in tag or "#" in tag:
            tag = _COLOUR.sub(lambda colour: _VARIABLES[colour[0]], _ID.sub(own_id, tag))
        if "\n" in tag:
            tag = _PATH_BREAK.sub("", tag)
        return font_names(tag) if "font-family" in tag else tag

    body = _TAG.sub(of_page, drawn[head.end() :])
    return Markup(f'<svg {attributes} viewBox="{head[1]}">{body}')  # noqa: S704  # texts are escaped
