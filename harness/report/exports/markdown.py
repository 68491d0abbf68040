"""A summary for the comment of a pull request: what changed, then each case as the newest run saw it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

from harness.analysis.metrics import DEFAULT_METRICS
from harness.analysis.series import CaseKey
from harness.analysis.verdict import Verdict
from harness.core.judgement import VerdictKind
from harness.report.exports.markdown_text import code, prose, table
from harness.report.exports.newest import NewestRun, series_name
from harness.report.metric_words import METRIC_WORDS
from harness.report.verdict_words import HEADINGS, RIGHT, kind_text, shift_text, value_text, verdict_text
from harness.report.words import MISSING, bytes_text, case_text, outcomes_text

MAX_CHARS = 60_000
"""GitHub takes 65,536 in a comment; the rest is for who adds a line of their own."""
MAX_VERDICTS = 100
"""Beyond that it is no summary."""
_QUIET = (VerdictKind.SAME, VerdictKind.MISSING)
_PEAK, *_TIMES = DEFAULT_METRICS
_FIGURES = (*_TIMES, _PEAK)
"""The peak stands beside its limit."""
_RIGHT = (*(METRIC_WORDS[name].short for name in _FIGURES), "Limit")
_MATRIX_HEADINGS = ("Case", "Ends", *_RIGHT, "Build", "Begun")


def markdown_text(runs: Sequence[NewestRun], verdicts: Sequence[Verdict], demo: Collection[CaseKey] = ()) -> str:
    """At most MAX_CHARS characters, whatever there is; what is left out is said.

    `verdicts`, worst first, of the cases in question; `demo`: cases that were made by seed.
    """
    blocks = [_verdicts(verdicts, demo), *_matrices(runs)]
    head = ["## iPhone load results", ""]
    notes = []
    if any(run.demo for run in runs) or demo:
        notes.append("**Demo**: made by seed, to show what results look like. No measurement.")
    if any(run.virtual for run in runs):
        notes.append("Figures of virtual phones are the host's, and none of an iPhone's.")
    for note in notes:
        head += [note, ""]
    return _fitted(head, blocks)


def _verdicts(verdicts: Sequence[Verdict], demo: Collection[CaseKey]) -> tuple[list[str], list[str]]:
    loud = [one for one in verdicts if one.kind not in _QUIET or one.is_open]
    counts = ", ".join(f"{number} {kind}" for kind, number in _counts(verdicts).items())
    head = ["### What the nights say", "", f"{len(verdicts)} series: {counts or 'none'}.", ""]
    if not loud:
        return head, []
    rows = [
        (
            prose(kind_text(one)),
            code(_series(one, demo)),
            prose(str(one.since or MISSING)),
            prose(value_text(one.series.metric, one.before)),
            prose(value_text(one.series.metric, one.after)),
            prose(shift_text(one.shift)),
            prose(one.words),
        )
        for one in loud
    ]
    lines = table(HEADINGS, rows, RIGHT)
    return head + lines[:2], lines[2:]


def _series(one: Verdict, demo: Collection[CaseKey]) -> str:
    name = series_name(one.series.of_case, demo=one.series.of_case in demo, metric=one.series.metric)
    return verdict_text(one, name)


def _counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    counts = {kind.value: sum(one.kind is kind for one in verdicts) for kind in VerdictKind}
    return {kind: number for kind, number in counts.items() if number}


def _matrices(runs: Sequence[NewestRun]) -> list[tuple[list[str], list[str]]]:
    """A table for each device class and suite: physical and virtual phones are never in one."""
    blocks = []
    ordered = sorted(runs, key=lambda run: (run.demo, run.key))
    for place, group in groupby(ordered, key=_place):
        kind, product_type, suite, demo = place
        marks = ", ".join(mark for mark in ("demo" if demo else "", "virtual" if kind == "virtual" else "") if mark)
        device = f"{code(product_type)} ({marks})" if marks else code(product_type)
        lines = table(_MATRIX_HEADINGS, [_cells(run) for run in group], _RIGHT)
        blocks.append(([f"### {device}, suite {code(suite)}", "", *lines[:2]], lines[2:]))
    return blocks


def _place(run: NewestRun) -> tuple[str, str, str, bool]:
    return (run.key.device_kind, run.key.device_product_type, run.key.suite, run.demo)


def _cells(run: NewestRun) -> tuple[str, ...]:
    ends = prose(outcomes_text(run.outcomes))
    return (
        code(case_text(run.key.case, gpu_emulated=run.gpu_emulated)),
        ends if run.expected else f"{ends} ⚠ not as expected",
        *(_figure(run, name) for name in _FIGURES),
        prose(bytes_text(run.limit_bytes)),
        code(run.build) if run.build else MISSING,
        prose(run.started_at[:10]),
    )


def _figure(run: NewestRun, name: str) -> str:
    spread = run.figures.get(name)
    return MISSING if spread is None else prose(value_text(name, spread.median))


def _fitted(head: list[str], blocks: Sequence[tuple[list[str], list[str]]]) -> str:
    """Blocks of a head and rows, in order, as long as there is room; a block keeps its best rows."""
    lines = list(head)
    room = MAX_CHARS - sum(len(one) + 1 for one in lines)
    left_out = 0
    for number, (top, rows) in enumerate(blocks):
        # each block after this one may need its head and a word on its rows
        reserve = 200 + sum(60 + sum(len(one) + 1 for one in later) for later, _ in blocks[number + 1 :][:20])
        size = sum(len(one) + 1 for one in top) + 80
        if size > room:
            left_out += 1
            continue
        taken: list[str] = []
        for row in rows[:MAX_VERDICTS] if number == 0 else rows:
            if size + len(row) + 1 > max(room - reserve, room // 2):
                break
            taken.append(row)
            size += len(row) + 1
        more = len(rows) - len(taken)
        note = [f"{more} more {'row is' if more == 1 else 'rows are'} not shown."] if more else []
        lines += [*top, *taken, *([""] if taken else []), *note, *([""] if note else [])]
        room -= size
    if left_out:
        lines.append(f"{left_out} more {'table is' if left_out == 1 else 'tables are'} not shown.")
    return "\n".join(lines).rstrip() + "\n"
