"""The live page: the state as it is when it is asked for, and, where scripts run, each news of it.

It is served and never part of the static site: what it shows is of this moment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from harness.report.end_words import end_remarks, end_text
from harness.report.live import Progress, RunProgress, TrialEnd, TrialNow
from harness.report.live_memory import MemoryNow
from harness.report.live_words import (
    count_text,
    elapsed_text,
    memory_text,
    now_text,
    run_elapsed,
    run_text,
    state_text,
    step_text,
)
from harness.report.site.layout import cut, environment, policy, render
from harness.report.site.pages import ENTRY, trial_page
from harness.report.words import bytes_text, duration_text

ADDRESS = "/live"
EVENTS = "/live/events"
SITE = "/report/"
MAX_ENDED_SHOWN = 50
MAX_FAILURES_SHOWN = 20
MAX_ROWS = 20
_WIDTH, _HEIGHT = 600, 120

SCRIPT = """
(() => {
  const runs = document.getElementById("runs"), told = document.getElementById("connection");
  const parts = (root) => [...root.querySelectorAll("[data-part]")];
  const keep = (old, fresh) => {
    for (const one of old.querySelectorAll("details[open]")) {
      const other = fresh.querySelector("#" + CSS.escape(one.id));
      if (other) other.open = true;
    }
    const at = document.activeElement;
    const place = at && old.contains(at) ? (at.id ? "#" + CSS.escape(at.id)
      : at.getAttribute("href") ? `[href="${CSS.escape(at.getAttribute("href"))}"]` : ".wide") : null;
    const scrolled = [...old.querySelectorAll(".wide")].map((one) => one.scrollLeft);
    old.replaceWith(fresh);
    [...fresh.querySelectorAll(".wide")].forEach((one, n) => { one.scrollLeft = scrolled[n] || 0; });
    if (place) fresh.querySelector(place)?.focus({preventScroll: true});
  };
  const source = new EventSource("EVENTS");
  source.onmessage = (event) => {
    const news = JSON.parse(event.data);
    const fresh = parts(new DOMParser().parseFromString(news.html, "text/html"));
    const old = parts(runs);
    old.slice(fresh.length).forEach((one) => one.remove());
    fresh.forEach((one, n) => {
      const node = document.importNode(one, true);
      if (!old[n]) runs.append(node);
      else if (one.getAttribute("role") === "status") {
        if (old[n].textContent !== one.textContent) old[n].textContent = one.textContent;
      } else if (old[n].outerHTML !== node.outerHTML) keep(old[n], node);
    });
    told.textContent = `As of ${news.at}; news come by themselves.`;
  };
  source.onerror = () => {
    told.textContent = "No news: the connection is lost. ";
    const again = document.createElement("a");
    again.href = "ADDRESS";
    again.textContent = "Reload";
    told.append(again);
  };
})();
""".replace("EVENTS", EVENTS).replace("ADDRESS", ADDRESS)
"""A constant: its hash is in the page's policy. It puts in what this server has rendered, and builds nothing itself."""

LIVE_POLICY = policy((SCRIPT,), connect=True)


def live_page(progress: Progress) -> str:
    """The whole page."""
    phones = [run.phone for run in progress.runs if run.phone is not None]
    return render(
        "live.html.j2",
        page="live",
        title="In progress",
        scripts=(SCRIPT,),
        live_policy=LIVE_POLICY,
        demo=any(phone.demo for phone in phones),
        virtual=any(phone.virtual for phone in phones),
        entry=SITE + ENTRY,
        address=ADDRESS,
        at=_clock(),
        **_values(progress),
    )


def live_news(progress: Progress) -> dict[str, str]:
    """What the page's script puts in: `html`, and `at` as a clock."""
    return {"at": _clock(), "html": environment().get_template("live_runs.html.j2").render(**_values(progress))}


def _clock() -> str:
    return f"{datetime.now(UTC):%H:%M:%S} UTC"


def _values(progress: Progress) -> dict[str, Any]:
    runs = progress.in_progress
    if not runs:
        summary = "Nothing is in progress." + (" The newest run:" if progress.runs else "")
    else:
        summary = "; ".join(f"{run.suite or 'a run'}: {count_text(run)}" for run in runs)
    return {"summary": cut(summary), "runs": [_run(run) for run in progress.runs]}


def _run(run: RunProgress) -> dict[str, Any]:
    newest = list(reversed(run.ended))
    failed = [end for end in newest if end.failed]
    return {
        "run_id": run.run_id,
        "title": run_text(run),
        "state": state_text(run).capitalize() if run.in_progress else state_text(run),
        "elapsed": run_elapsed(run),
        "udid": run.phone.udid if run.phone is not None else None,
        "counts": count_text(run),
        "total": run.total,
        "done": run.done,
        "step": step_text(run),
        "now": [_now(trial) for trial in run.now],
        "next": ", ".join(run.next) if run.in_progress else "",
        "failures": [_end(end) for end in failed[:MAX_FAILURES_SHOWN]],
        "ended": [_end(end) for end in newest[:MAX_ENDED_SHOWN]],
        "more": max(0, len(newest) - MAX_ENDED_SHOWN),
    }


def _now(trial: TrialNow) -> dict[str, Any]:
    memory = trial.memory
    share = None
    if memory is not None and memory.limit_bytes and memory.footprint_bytes is not None:
        share = f"{memory.footprint_bytes / memory.limit_bytes:.4f}"
    return {
        "name": now_text(trial),
        "elapsed": elapsed_text(trial.started_at),
        "phase": trial.phase,
        "phase_elapsed": elapsed_text(trial.phase_since),
        "memory": memory_text(memory),
        "share": share,
        "curve": None if memory is None or len(memory.points) < 2 else _curve(memory),
    }


def _curve(memory: MemoryNow) -> dict[str, Any]:
    """The footprint over time from 0 to its peak; numbers only, and so safe in a path."""
    points = memory.points
    span_ns, peak = max(1, points[-1][0]), max(1, max(footprint for _, footprint in points))
    xy = (
        f"{at / span_ns * _WIDTH:.1f},{_HEIGHT - footprint / peak * (_HEIGHT - 8) - 4:.1f}" for at, footprint in points
    )
    step = max(1, len(points) // MAX_ROWS)
    return {
        "box": f"0 0 {_WIDTH} {_HEIGHT}",
        "label": f"Footprint over {duration_text(span_ns)}, from 0 to {bytes_text(peak)}",
        "path": "M" + " L".join(xy),
        "rows": [(duration_text(at), bytes_text(footprint)) for at, footprint in points[::step]],
    }


def _end(end: TrialEnd) -> dict[str, Any]:
    remarks = [*(["warm-up"] if end.ordinal < 1 else []), *end_remarks(end)]
    return {
        "name": end.name,
        "page": quote(SITE + trial_page(end.trial_id)),
        "outcome": end.outcome,
        "words": end_text(end).removeprefix(f"{end.outcome}: "),
        "failed": end.failed,
        "load_ns": end.load_ns,
        "peak_bytes": end.peak_footprint_bytes,
        "limit_bytes": end.footprint_limit_bytes,
        "remark": "; ".join(remarks),
    }
