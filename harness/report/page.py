"""The report as one page that needs nothing beside itself: opens from a file, in both themes, on a small screen."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from harness.core.record import TrialRecord
from harness.report.table import HEADINGS, SummaryRow
from harness.report.words import bytes_text, duration_text

_STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --muted: #57606a; --line: #d8dee4; --bad: #b4101c; }
@media (prefers-color-scheme: dark) {
  :root { --back: #0d1117; --text: #e6edf3; --muted: #9da7b1; --line: #2d333b; --bad: #ff7b72; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 66rem; background: var(--back); color: var(--text);
       font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin: 1.5rem 0 0; }
.wide { overflow-x: auto; }
.wide:focus-visible { outline: 2px solid var(--text); }
figure { margin: 1rem 0; }
figure img { display: block; width: 100%; min-width: 40rem; height: auto; }
table { border-collapse: collapse; font-size: 0.875rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line);
         overflow-wrap: normal; }
td:first-child { min-width: 11rem; }
.bad { color: var(--bad); font-weight: 600; }
.muted { color: var(--muted); }
.virtual { border: 2px solid var(--bad); padding: 0.5rem 0.75rem; }
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
""")


@dataclass(frozen=True)
class Picture:
    """A figure in both themes, with what a reader who does not see it is told."""

    title: str
    description: str
    light_svg: Path
    dark_svg: Path


@dataclass(frozen=True)
class CaseSection:
    """A case on one device class; `picture` is None if no trial of it has telemetry."""

    heading: str
    picture: Picture | None
    records: Sequence[TrialRecord]


def page(
    title: str,
    notes: Sequence[str],
    rows: Sequence[SummaryRow],
    summaries: Sequence[Picture],
    sections: Sequence[CaseSection],
    *,
    virtual: bool,
) -> str:
    """The HTML. Everything that came from a phone, a suite or an engine is escaped."""
    parts = [f'<p class="muted">{escape(note)}</p>' for note in notes]
    if virtual:
        parts.append(
            '<p class="virtual">Figures marked <strong>virtual</strong> come from a virtual iPhone on a computer. '
            "They say how the harness and the engine behave, not how an iPhone performs.</p>"
        )
    parts += [_figure(picture) for picture in summaries]
    parts += ["<h2>Summary</h2>", _table(rows), "<h2>Cases</h2>"]
    for section in sections:
        parts.append(f"<h3>{escape(section.heading)}</h3>")
        parts.append(_figure(section.picture) if section.picture else "<p>No trial of this case has telemetry.</p>")
        parts += [_trial(record) for record in section.records]
    return _PAGE.substitute(title=escape(title), style=_STYLE, body="\n".join(parts))


def _figure(picture: Picture) -> str:
    label = escape(picture.description, quote=True)
    title = escape(picture.title, quote=True)
    return (
        f'<figure><div class="wide" tabindex="0" role="group" aria-label="{title}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(picture.dark_svg)}">'
        f'<img role="img" src="{_data(picture.light_svg)}" alt="{label}" aria-label="{label}"></picture></div></figure>'
    )


def _data(svg: Path) -> str:
    # as an image and not as part of the page: two figures' ids would clash
    return "data:image/svg+xml;base64," + base64.b64encode(svg.read_bytes()).decode("ascii")


def _table(rows: Sequence[SummaryRow]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in HEADINGS)
    body = []
    for row in rows:
        mark = "" if row.as_expected else ' class="bad"'
        body.append(f"<tr{mark}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.cells) + "</tr>")
    return (
        '<div class="wide" tabindex="0" role="group" aria-label="Summary table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _trial(record: TrialRecord) -> str:
    outcome = record.outcome or record.state
    mark = "" if outcome == record.expected_outcome else ' class="bad"'
    figures = f"load {duration_text(record.load_ns)}, peak footprint {bytes_text(record.peak_footprint_bytes)}"
    evidence = "".join(
        f"<li>{'<strong>decisive</strong> ' if item.decisive else ''}{escape(item.kind)}: {escape(item.text)}"
        f"{f' <span class=muted>({escape(item.file)})</span>' if item.file else ''}</li>"
        for item in record.evidence
    )
    return (
        f"<details><summary><span{mark}>{escape(outcome)}</span> "
        f'<span class="muted">trial {record.ordinal}, {escape(record.trial_id)}, {figures}</span></summary>'
        f"<p>{escape(record.reason or 'no reason is known')}</p>"
        + (f"<ul>{evidence}</ul>" if evidence else "<p>No evidence was kept.</p>")
        + "</details>"
    )
