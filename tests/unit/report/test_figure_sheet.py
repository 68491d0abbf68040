"""What is put on a sheet is where it was put, in the order of its depth, and few elements make it."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from harness.report.figure_marks import Fill, Mark, Stroke
from harness.report.figure_sheet import Lettering, Sheet
from harness.report.figures_style import style
from harness.report.inline_svg import PAGE, inline_svg
from harness.report.panel import Panel, legend

RED, BLUE = PAGE.death, PAGE.footprint


def drawn(put: Callable[[Sheet], object]) -> str:
    """A sheet of 2 × 1 inches: 144 × 72 points, whose y is counted from above."""
    with style(PAGE):
        sheet = Sheet(2, 1, PAGE)
        put(sheet)
        return str(inline_svg(sheet.figure, "label", "s"))


def paths(svg: str) -> list[str]:
    """What is drawn, without the figure's own background."""
    return [" ".join(found.split()) for found in re.findall(r'<path d="([^"]*)"', svg)][1:]


def texts(svg: str) -> list[tuple[str, dict[str, str]]]:
    tree = ElementTree.fromstring(str.replace(svg, "<svg ", '<svg xmlns:xlink="x" ', 1))
    return [(one.text or "", one.attrib) for one in tree.iter("text")]


def test_lines_that_look_alike_are_one_path_and_nan_breaks_them() -> None:
    def put(sheet: Sheet) -> None:
        sheet.draw(Stroke(RED), [0, 1, float("nan"), 1.5, 2], [0, 0, 0, 0.5, 0.5])
        sheet.draw(Stroke(BLUE), [0, 2], [1, 1])
        sheet.draw(Stroke(RED), [0, 2], [0.25, 0.25])

    red, blue = paths(drawn(put))
    assert re.sub(r"[^MLz]", "", red) == "MLMLML"
    assert blue == "M 0 0L 144 0"


def test_what_is_deep_is_drawn_first_whatever_came_first() -> None:
    def put(sheet: Sheet) -> None:
        sheet.write(1, 0.5, "over", Lettering(RED, depth=5, behind=Fill(PAGE.background)))
        sheet.write(1, 0.5, "under", Lettering(RED, depth=4))
        sheet.draw(Fill(BLUE), [0, 1], [0, 1], depth=1)

    svg = drawn(put)
    places = [svg.index(one) for one in ("M 0 72L 72 72L 72 0L 0 0z", ">under<", ">over<")]
    assert places == sorted(places)
    assert svg.index(">under<") < svg.rindex("<path") < svg.index(">over<"), "what is behind words hides older ones"


@pytest.mark.parametrize(("ha", "anchor"), [("left", "start"), ("center", "middle"), ("right", "end")])
def test_words_are_where_they_were_put(ha: str, anchor: str) -> None:
    [(words, attributes)] = texts(drawn(lambda sheet: sheet.write(1, 0.5, "word", Lettering(RED, 10, ha=ha))))
    assert words == "word"
    assert f"text-anchor: {anchor}" in attributes["style"]
    assert (attributes["x"], attributes["y"]) == ("72", "38.6"), "their middle is at half the height"


def test_words_from_below_to_above_begin_at_their_place() -> None:
    look = Lettering(RED, 10, va="top", upright=True, behind=Fill(BLUE))
    svg = drawn(lambda sheet: sheet.write(1, 0.25, "word", look))
    [(_, attributes)] = texts(svg)
    assert (attributes["x"], attributes["y"]) == ("79.6", "54"), "the base line is right of the place"
    assert attributes["transform"] == "rotate(-90 79.6 54)"
    [behind] = paths(svg)
    xs, ys = (
        ([float(one) for one in re.findall(pattern, behind)]) for pattern in (r"[ML] (\S+)", r"[ML] \S+ ([\d.]+)")
    )
    assert (min(xs), max(xs), max(ys)) == (71, 83, 55)
    assert 25 < max(ys) - min(ys) < 35, "as long as the words"


def test_lines_of_words_are_below_each_other() -> None:
    found = texts(drawn(lambda sheet: sheet.write(1, 0.5, "a\nb\nc", Lettering(RED, 10, va="bottom"))))
    assert [words for words, _ in found] == ["a", "b", "c"]
    ys = [float(attributes["y"]) for _, attributes in found]
    assert ys == pytest.approx([10.6, 22.1, 33.6])


def test_each_mark_is_seen_and_has_its_edge() -> None:
    svg = drawn(lambda sheet: sheet.draw(Mark("X", RED, 6, edge=PAGE.background), [0.5, 1, 1.5], [0.5] * 3))
    assert svg.count("<use ") == 3
    assert "stroke: var(--background)" in svg
    assert "fill: var(--death)" in svg


def test_a_box_is_cut_off_at_its_panel_and_nothing_at_all_is_no_element() -> None:
    def put(sheet: Sheet) -> None:
        panel = Panel(sheet, (0.5, 0, 1, 1), (0.0, 10.0))
        panel.box((-5, 20), fill=Fill(RED))
        panel.draw(Mark("o", BLUE, 3), [], [])
        legend(sheet, 0, 1, 2, [])

    svg = drawn(put)
    assert paths(svg) == ["M 36 72L 108 72L 108 0L 36 0z"]
    assert "<use" not in svg
