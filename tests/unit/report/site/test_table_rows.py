"""Rows made at once say what a template would have said."""

from __future__ import annotations

from harness.report.site.layout import environment
from harness.report.site.table_rows import table_rows

HOSTILE = ["<script>alert(1)</script>", "\"'&amp;", "", "–", "a\nb"]


def test_rows_are_as_a_template_writes_them() -> None:
    rows = [("1", *HOSTILE), ("2", *reversed(HOSTILE))]
    template = "{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>\n{% endfor %}"
    assert table_rows(rows) + "\n" == environment().from_string(template).render(rows=rows)


def test_no_rows_are_nothing() -> None:
    assert table_rows([]) == ""


def test_the_signs_that_part_cells_make_no_markup() -> None:
    assert "<b>" not in table_rows([("\x1f<b>\x1e<b>",)])
