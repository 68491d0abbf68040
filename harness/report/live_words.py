"""What is under way, in words for the terminal and the live page. No pandas: the command is to be there at once."""

from __future__ import annotations

from datetime import UTC, datetime

from harness.core.outcome import ends_text
from harness.core.text import MISSING, percent
from harness.core.units import format_bytes
from harness.report.live import RunProgress, RunState, TrialNow
from harness.report.live_memory import MemoryNow

_STATES = {
    RunState.RUNNING: "in progress",
    RunState.ELSEWHERE: "in progress by its records, on another host",
    RunState.ENDED: "ended",
    RunState.GONE: "its process is gone",
}


def state_text(run: RunProgress) -> str:
    """How a run is: `in progress`, `ended`, or what became of it and what to do."""
    if run.state is RunState.GONE:
        left = "; the trial it left open is closed by the next `harness run` with these results" if run.now else ""
        return f"its process is gone (killed?){left}; --resume goes on with it"
    if run.state is RunState.ENDED and run.total is not None and run.done < run.total:
        return "ended before its plan did; --resume goes on with it"
    if run.state is RunState.ELSEWHERE:
        return f"{_STATES[run.state]} ({run.host_name or 'unknown'}): its memory and phase are to be seen there"
    return _STATES[run.state]


def run_text(run: RunProgress) -> str:
    """`smoke on iPhone17,1 iOS 18.5 (virtual)`."""
    if run.suite is None or run.phone is None:
        return "a run that has begun no trial yet"
    return f"{run.suite} on {run.phone.text}"


def count_text(run: RunProgress) -> str:
    """`3 of 12 trials`, `3 trials`, and how they ended: `3 of 12 trials: 2 × loaded, 1 × jetsam`."""
    done = f"{run.done} of {run.total} trials" if run.total is not None else f"{run.done} trials"
    outcomes = ends_text(run.outcomes)
    failed = f" ({run.failures} not as expected)" if run.failures else ""
    return f"{done}: {outcomes}{failed}" if outcomes else done


def memory_text(memory: MemoryNow | None) -> str:
    """`footprint 38.20 MiB of 3.30 GiB (1.1 %), peak 40.10 MiB`; a dash where no sample has come."""
    if memory is None or memory.footprint_bytes is None:
        return MISSING
    text = f"footprint {format_bytes(memory.footprint_bytes)}"
    if memory.limit_bytes:
        text += f" of {format_bytes(memory.limit_bytes)} ({percent(memory.footprint_bytes / memory.limit_bytes)})"
    if memory.peak_footprint_bytes is not None:
        text += f", peak {format_bytes(memory.peak_footprint_bytes)}"
    return text


def now_text(trial: TrialNow) -> str:
    """`wide/litert_lm/cpu/cold#1, attempt 2`."""
    warm_up = ", warm-up" if trial.ordinal < 1 else ""
    again = f", attempt {trial.attempt}" if trial.attempt > 1 else ""
    return f"{trial.name}{warm_up}{again}"


def step_text(run: RunProgress) -> str | None:
    """`push the model (40 %)`; None: nothing of the kind goes on."""
    if run.step is None:
        return None
    return run.step if run.step_share is None else f"{run.step} ({100 * run.step_share:.0f} %)"


def elapsed_text(since: str | None, until: datetime | str | None = None) -> str:
    """`0:42`, `1:02:03` from `since` to `until` (None: now); a dash where a time is not known."""
    end = _moment(until) if isinstance(until, str) else until or datetime.now(UTC)
    begin = _moment(since)
    if begin is None or end is None:
        return MISSING
    minutes, seconds = divmod(max(0, int((end - begin).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def run_elapsed(run: RunProgress) -> str:
    """From its first trial to now, or to its last word."""
    return elapsed_text(run.started_at, None if run.in_progress else run.last_at)


def _moment(text: str | None) -> datetime | None:
    try:
        found = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=UTC)
