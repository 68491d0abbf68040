"""The results as Markdown, and what of ours must hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.verdicts.noise import SCENARIOS, Scenario
from tests.benchmarks.verdicts.scoring import Score

BEGIN = "<!-- simulation: begin -->"
END = "<!-- simulation: end -->"

MOST_FALSE_ALARMS = 10.0
"""Per 1000 clean series of 5 runs a night."""
LONGEST_SECONDS = 1.0
"""Of a processor, for 1000 series of 100 nights."""


@dataclass(frozen=True)
class Row:
    title: str
    scores: dict[str, Score]
    """By scenario."""
    seconds: float | None = None
    missing: str = ""
    """Why there are no scores."""


@dataclass(frozen=True)
class Confirmed:
    """Simulated re-runs after an alarm."""

    scenario: Scenario
    shift: float
    share: float
    comparisons: int


def detectors_table(rows: list[Row]) -> str:
    clean = [one for one in SCENARIOS if not one.step]
    steps = [one for one in SCENARIOS if one.step]
    lines = [
        f"| detector | series | false alarms per 1000: {' / '.join(one.name for one in clean)} | "
        + " | ".join(one.name for one in steps)
        + " | s per 1000 |",
        "|---" * (len(steps) + 4) + "|",
    ]
    for row in rows:
        if row.missing:
            lines.append(f"| {row.title} | missing: {row.missing} |" + " |" * (len(steps) + 2))
            continue
        alarms = " / ".join(f"{row.scores[one.name].false_per_thousand:.0f}" for one in clean)
        found = " | ".join(_found(row.scores[one.name]) for one in steps)
        seconds = "" if row.seconds is None else f"{row.seconds:.2f}"
        lines.append(f"| {row.title} | {row.scores[clean[0].name].series} | {alarms} | {found} | {seconds} |")
    return "\n".join(lines)


def confirmations_table(confirmed: list[Confirmed]) -> str:
    lines = ["| noise | real shift | confirmed | of |", "|---|---|---|---|"]
    for one in confirmed:
        noise = f"σ {one.scenario.sigma:.0%}{', heavy' if one.scenario.heavy else ''}".replace("%", " %")
        shift = f"{one.shift:.0%}".replace("%", " %") if one.shift else "none"
        lines.append(f"| {noise} | {shift} | {100 * one.share:.1f} % | {one.comparisons} |")
    return "\n".join(lines)


def misses(ours: Row) -> list[str]:
    """What must hold and does not."""
    said = []
    alarms = ours.scores["5 runs"].false_per_thousand
    if alarms > MOST_FALSE_ALARMS:
        said.append(f"{alarms:.0f} false alarms per 1000 clean series; at most {MOST_FALSE_ALARMS:.0f} are allowed")
    for name, share, nights in (("5 % at σ 3 %", 0.98, 6), ("10 % at σ 3 %", 0.99, 3)):
        score = ours.scores[name]
        if score.found is None or score.found < share:
            said.append(f"{name}: {100 * (score.found or 0):.1f} % found, not {100 * share:.0f} %")
        if score.delay is None or score.delay > nights:
            said.append(f"{name}: found after {score.delay} nights, not {nights}")
    if ours.seconds is None or ours.seconds > LONGEST_SECONDS:
        said.append(f"{ours.seconds} s for 1000 series of 100 nights; at most {LONGEST_SECONDS:.0f} s are allowed")
    return said


def write_between_markers(document: Path, text: str) -> None:
    """Puts the text between the document's two markers. Raises ValueError where it has none."""
    whole = document.read_text(encoding="utf-8")
    head, begin, rest = whole.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no {BEGIN} … {END}")
    document.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


def _found(score: Score) -> str:
    delay = "" if score.delay is None else f" ({score.delay:g})"
    return f"{100 * (score.found or 0):.0f} %{delay}"
