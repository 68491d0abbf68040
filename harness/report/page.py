"""The report as one page that needs nothing beside itself: opens from a file, in both themes, on a small screen."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from harness.bench.suite import Published
from harness.core.record import TrialRecord
from harness.report.advice_words import advice_html
from harness.report.html_text import escape
from harness.report.site.layout import policy
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
.figure { white-space: nowrap; }
.muted { color: var(--muted); }
.advice { font-size: 0.875rem; margin: 0.5rem 0; } .advice a { color: inherit; }
.virtual { border: 2px solid var(--bad); padding: 0.5rem 0.75rem; }
"""

_CASE = HEADINGS.index("Case")
_DEVICE = HEADINGS.index("Device")
_FIRST_FIGURE = HEADINGS.index("Load")

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="referrer" content="no-referrer">
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
    neighbours: Sequence[TrialRecord] = ()
    """Any other trials, for advice: what worked on such a phone."""


def page(
    title: str,
    notes: Sequence[str],
    rows: Sequence[SummaryRow],
    summaries: Sequence[Picture],
    sections: Sequence[CaseSection],
    *,
    virtual: bool,
    demo: bool = False,
    published: Sequence[Published] = (),
) -> str:
    """The HTML. Everything that came from a phone, a suite or an engine is escaped."""
    parts = [f'<p class="muted">{escape(note)}</p>' for note in notes]
    if demo:
        parts.append(
            '<p class="virtual">Demo: simulated figures, made by seed. No phone and no engine has measured any of '
            "them.</p>"
        )
    elif virtual:
        parts.append(
            '<p class="virtual">Figures marked <strong>virtual</strong> come from a virtual iPhone on a computer. '
            "They say how the harness and the engine behave, not how an iPhone performs.</p>"
        )
    parts += [_figure(picture) for picture in summaries]
    parts += ["<h2>Summary</h2>", _table(rows)]
    if published:
        parts.append(_published(published))
    parts.append("<h2>Cases</h2>")
    for section in sections:
        parts.append(f"<h3>{escape(section.heading)}</h3>")
        parts.append(_figure(section.picture) if section.picture else "<p>No trial of this case has telemetry.</p>")
        parts.append(advice_html(section.records, section.neighbours))
        parts += [_trial(record) for record in section.records]
    return _PAGE.substitute(title=escape(title), style=_STYLE, policy=escape(policy()), body="\n".join(parts))


def _figure(picture: Picture) -> str:
    label = escape(picture.description)
    title = escape(picture.title)
    return (
        f'<figure><div class="wide" tabindex="0" role="group" aria-label="{title}"><picture>'
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(picture.dark_svg)}">'
        f'<img role="img" src="{_data(picture.light_svg)}" alt="{label}" aria-label="{label}"></picture></div></figure>'
    )


def _data(svg: Path) -> str:
    # as an image and not as part of the page: two figures' ids would clash
    return "data:image/svg+xml;base64," + base64.b64encode(svg.read_bytes()).decode("ascii")


def _table(rows: Sequence[SummaryRow]) -> str:
    shown, told = list(range(len(HEADINGS))), ""
    devices = {row.cells[_DEVICE] for row in rows}
    if len(devices) == 1:
        # said once: in each of many rows it would push the figures off the screen
        shown.remove(_DEVICE)
        told = f"<p>All on {escape(devices.pop())}.</p>"
    head = "".join(f'<th scope="col">{escape(HEADINGS[index])}</th>' for index in shown)
    body = []
    for row in rows:
        mark = "" if row.as_expected else ' class="bad"'
        cells = "".join(f"<td{_kept_whole(index)}>{_cell(index, row.cells[index])}</td>" for index in shown)
        body.append(f"<tr{mark}>{cells}</tr>")
    return (
        f'{told}<div class="wide" tabindex="0" role="group" aria-label="Summary table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(index: int, text: str) -> str:
    """A case's name may break after each of its parts: a long one must not push the figures off the screen."""
    return escape(text).replace("/", "/<wbr>") if index == _CASE else escape(text)


def _kept_whole(index: int) -> str:
    """A figure and its unit stay on one line."""
    return ' class="figure"' if index >= _FIRST_FIGURE else ""


def _published(facts: Sequence[Published]) -> str:
    """What the suite quotes of others, told apart from what was measured."""
    body = "".join(
        f"<tr><td>{escape(fact.what)}</td><td>{escape(fact.figure)}</td>"
        f'<td><a href="{escape(fact.source)}" rel="noreferrer">{escape(fact.source.removeprefix("https://"))}</a></td></tr>'
        for fact in facts
    )
    head = "".join(f'<th scope="col">{heading}</th>' for heading in ("What", "Figure, as they give it", "Source"))
    return (
        "<h2>Published by others</h2>"
        "<p>Reported by others, of physical iPhones: quoted by the suite, not measured by this harness, and no part of "
        "any verdict. Other engines, other files and other systems than here.</p>"
        '<div class="wide" tabindex="0" role="group" aria-label="Published by others">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _trial(record: TrialRecord) -> str:
    outcome = record.outcome or record.state
    as_asked = outcome == record.expected_outcome and not record.broken_limits
    mark = "" if as_asked else ' class="bad"'
    limits = f'<p class="bad">Over the limits: {escape(record.broken_limits)}</p>' if record.broken_limits else ""
    attempt = f" (attempt {record.attempt})" if record.attempt > 1 else ""
    figures = f"load {duration_text(record.load_ns)}, peak footprint {bytes_text(record.peak_footprint_bytes)}"
    evidence = "".join(
        f"<li>{'<strong>decisive</strong> ' if item.decisive else ''}{escape(item.kind)}: {escape(item.text)}"
        f"{f' <span class=muted>({escape(item.file)})</span>' if item.file else ''}</li>"
        for item in record.evidence
    )
    return (
        f"<details><summary><span{mark}>{escape(outcome)}</span> "
        f'<span class="muted">trial {record.ordinal}{attempt}, {escape(record.trial_id)}, {figures}</span></summary>'
        f"{limits}<p>{escape(record.reason or 'no reason is known')}</p>"
        + (f"<ul>{evidence}</ul>" if evidence else "<p>No evidence was kept.</p>")
        + "</details>"
    )
