"""Figures as parts of a page: whatever their texts say, ids do not clash and no colour is fixed."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from matplotlib.figure import Figure

from harness.core.text import printable
from harness.report.figures_style import style
from harness.report.inline_svg import PAGE, inline_svg

_HOSTILE = [
    "</text></svg><script>alert(1)</script>",
    '" onload="alert(1)',
    'id="x" url(#x) href="#x" #0102e0 DejaVu Sans',
    "$x^2$ & <b> ]]> <!-- -->",
]


def _drawn(words: str = "words", label: str = "a label", prefix: str = "one") -> Markup:
    with style(PAGE):
        figure = Figure(figsize=(4, 2))
        axes = figure.add_axes((0.2, 0.2, 0.6, 0.6))
        axes.plot([0, 1, 2], [1, 3, 2], color=PAGE.footprint, marker="o")
        axes.fill_between([0, 1, 2], [0, 1, 1], color=PAGE.bands[1], hatch="//", edgecolor=PAGE.death)
        figure.text(0.5, 0.5, words, color=PAGE.text)
        return inline_svg(figure, label, prefix)


def _tree(svg: str) -> ElementTree.Element:
    # HTML knows the prefix by itself, XML does not; Markup's own replace would escape
    return ElementTree.fromstring(str.replace(svg, "<svg ", '<svg xmlns:xlink="x" ', 1))


def test_equal_figures_are_equal_bytes() -> None:
    assert _drawn() == _drawn()


def test_ids_of_two_figures_do_not_clash_and_all_that_is_called_is_there() -> None:
    first, second = _drawn(prefix="one"), _drawn(prefix="two")
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    called = set(re.findall(r'(?:url\(#|href="#)([^)"]*)', first))
    assert called, "markers, clips and hatches call others by id"
    assert called <= ids[0]


def test_every_colour_is_the_page_s() -> None:
    tags = re.findall(r"<[^>]*>", _drawn())
    assert not [tag for tag in tags if re.search(r"#[0-9a-fA-F]{6}\b|\brgba?\(", tag)]
    assert any("var(--footprint)" in tag for tag in tags)


def test_it_says_what_it_is_and_has_no_style_of_its_own() -> None:
    svg = _drawn()
    root = _tree(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", "a label")
    assert not [one.tag for one in root.iter() if one.tag in ("style", "metadata", "script")]


@pytest.mark.parametrize("words", _HOSTILE)
def test_hostile_texts_stay_texts(words: str) -> None:
    root = _tree(_drawn(words=words, label=words))
    assert root.get("aria-label") == words
    assert words in [one.text for one in root.iter("text")]
    assert not [one for one in root.iter() if any(name.startswith("on") for name in one.attrib)]


# letters that the layout's font has: of others matplotlib warns, and their glyphs are the reader's business
_TEXTS = (
    st.text(st.characters(max_codepoint=0xFF), min_size=1, max_size=60)
    .map(printable)
    .filter(lambda text: text.strip() == text and not set(text) & set("\n\t\xad\ufffd"))
)


@settings(max_examples=15)
@given(words=_TEXTS)
@example(words="#0102e1;'")
def test_any_text_is_shown_as_it_is(words: str) -> None:
    root = _tree(_drawn(words=words, label=words))
    assert root.get("aria-label") == words
    assert words in [one.text for one in root.iter("text")]


def test_links_to_the_page_s_own_places_are_kept() -> None:
    with style(PAGE):
        figure = Figure(figsize=(2, 2))
        figure.text(0.5, 0.5, "a night", url="#n-2026-03-05")
        svg = inline_svg(figure, "label", "one")
    assert 'href="#n-2026-03-05"' in svg
