"""The frame of every page: what templates put in."""

from __future__ import annotations

from markupsafe import Markup

from harness.report.site.layout import environment


def test_a_template_puts_in_no_sign_that_is_not_seen() -> None:
    """One that turns the direction of writing, half of a pair, an escape of terminals: whatever template forgets it."""
    told = "a \u202egnp.exe\ud800\x1b[31m\x00 <b>\n\tline"
    shown = (
        environment()
        .from_string("{{ told }} {{ told | cut }} <p title='{{ told }}'>{{ mark }}{{ 5 }}")
        .render(told=told, mark=Markup("<i>\u200b</i>"))
    )
    hidden = "\N{REPLACEMENT CHARACTER}"
    plain = f"a {hidden}gnp.exe{hidden}{hidden}[31m{hidden} &lt;b&gt;\n\tline"
    assert shown == f"{plain} {plain} <p title='{plain}'><i>\u200b</i>5"
    shown.encode()
