"""The summary for a comment: rendered by a Markdown parser, and what comes out is the text that went in."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from harness.analysis.nightly import histories
from harness.analysis.verdict import Notes, Verdict, VerdictOptions
from harness.analysis.verdicts import judge_histories
from harness.core.record import TrialRecord
from harness.report.exports.markdown import MAX_CHARS, markdown_text
from harness.report.exports.markdown_text import code, prose
from harness.report.exports.newest import newest_runs
from tests.kept_trials import a_trial
from tests.simulated_nights import SimulatedHistory, SimulatedNight, frame_of

GOOD = SimulatedNight(columns={"build": "n1"})
DEAD = SimulatedNight(outcomes=("bad_alloc",) * 5, columns={"build": "n2"})
HOSTILE = [
    "<script>alert(1)</script>",
    "a | b \\| c",
    "`tick` ``two`",
    "[link](javascript:alert(1)) ![i](x)",
    "*bold* _it_ ~~gone~~ # h &amp; <b>",
    "\\",
    "`",
]


class Cells(HTMLParser):
    """Tables as rows of text, and every tag that there is."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and data.strip("\n"):
            self.rows[-1][-1] += data


def rendered(text: str) -> Cells:
    return Cells(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def judged(records: Sequence[TrialRecord]) -> list[Verdict]:
    return judge_histories(histories(frame_of(records)), Notes(), as_of=None, options=VerdictOptions())


def test_it_tells_what_changed_and_each_case() -> None:
    records = [
        *SimulatedHistory(case="dead").records([GOOD] * 20 + [DEAD]),
        *SimulatedHistory(case="fine").records([GOOD] * 21),
    ]
    text = markdown_text(newest_runs(records), judged(records))
    rows = rendered(text).rows
    told = [row for row in rows if row[0].startswith("regressed")]
    assert [row[:2] for row in told] == [["regressed, new", "virtual/iPhone17,1/simulated/dead:outcome"]]
    assert told[0][2:5] == ["2026-01-21", "loaded", "bad_alloc"]
    cases = {row[0]: row[1:] for row in rows if len(row) == 9}
    assert cases["dead"][0].startswith("5 × bad_alloc")
    assert "not as expected" in cases["dead"][0]
    assert cases["dead"][1:5] == ["–"] * 4
    assert cases["fine"][0] == "5 × loaded"
    assert cases["fine"][4].endswith("MiB")
    assert "Figures of virtual phones are the host's" in text


def test_kinds_of_phones_and_demos_have_tables_of_their_own() -> None:
    records = [
        a_trial("1", run_id="a"),
        a_trial("2", run_id="b", device_kind="physical"),
        a_trial("3", run_id="c", suite="other", origin="demo, seed 7"),
    ]
    text = markdown_text(newest_runs(records), [])
    headings = [line for line in text.splitlines() if line.startswith("### `")]
    assert headings == [
        "### `iPhone17,1`, suite `made-up`",
        "### `iPhone17,1` (virtual), suite `made-up`",
        "### `iPhone17,1` (demo, virtual), suite `other`",
    ]
    assert "**Demo**" in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_shown_as_text(hostile: str) -> None:
    record = a_trial(case=hostile, build=hostile, suite="s")
    cells = rendered(markdown_text(newest_runs([record]), []))
    assert cells.tags <= {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "strong"}
    assert [row[0] for row in cells.rows[1:]] == [hostile.replace("|", "¦")]
    assert {len(row) for row in cells.rows} == {9}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("mark", [prose, code])
def test_a_cell_says_what_it_was_given(hostile: str, mark: object) -> None:
    assert callable(mark)
    cells = rendered(f"| a | b |\n| --- | --- |\n| {mark(hostile)} | {mark(hostile)} |")
    said = hostile.replace("|", "¦") if mark is code else hostile
    assert [one.replace("\u200b", "") for one in cells.rows[1]] == [said, said]


def test_nobody_is_called_and_nothing_linked() -> None:
    text = prose("@octocat fixes #12 at https://example.org and www.example.org, !7")
    for called in ("@octocat", "#12", "://", "www.", "!7"):
        assert called not in text.replace("\\", "")


def test_it_fits_into_a_comment_and_says_what_is_left_out() -> None:
    records = [a_trial(f"{n}", case="x" * 280 + str(n), run_id="r", build="b" * 300) for n in range(400)]
    text = markdown_text(newest_runs(records), [])
    assert MAX_CHARS / 2 < len(text) <= MAX_CHARS
    assert "more rows are not shown" in text
    many = [a_trial(f"{n}", suite=f"{'s' * 280}{n}", run_id=str(n), build="b" * 300) for n in range(400)]
    text = markdown_text(newest_runs(many), [])
    assert len(text) <= MAX_CHARS
    assert "more tables are not shown" in text
