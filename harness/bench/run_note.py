"""What a run is at just now, in a small file beside its lock, for people who look from outside.

    <results>/.runs/<run_id>.now

The file is replaced as a whole and goes with the run; one that was killed leaves its last. Nothing is decided by it:
without it a run is told of by its records alone. Whoever can write into the folder can write anything, so it is bounded
and checked when it is read.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial
from harness.bench.resume import LOCKS_FOLDER
from harness.core.record import TrialRecord

SUFFIX = ".now"
MAX_NOTE_BYTES = 8192
MAX_WORDS = 500
"""Characters of a name, a phase or a step; longer ones are cut."""
STEP_INTERVAL_S = 0.5
"""A push tells of every few megabytes, and nobody looks as often."""
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""Of a run, as harnesses make them; a name of a file is led nowhere by it."""


class RunNote(BaseModel):
    """None is *nothing of the kind just now*."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    number: int | None = Field(default=None, ge=0, lt=2**31)
    """Of the trial at hand, from 1."""
    total: int | None = Field(default=None, ge=0, lt=2**31)
    """Trials of the run, those of earlier processes too."""
    trial: str | None = Field(default=None, max_length=MAX_WORDS)
    """Its name, as `tiny/litert_lm/cpu/cold#1`."""
    phase: str | None = Field(default=None, max_length=MAX_WORDS)
    """That the runner is in."""
    phase_since: str | None = Field(default=None, max_length=40)
    """Host's clock; ISO 8601, UTC."""
    step: str | None = Field(default=None, max_length=MAX_WORDS)
    """What has a length and goes on: a model is made or pushed, an app installed, a pause kept."""
    step_share: float | None = Field(default=None, ge=0, le=1)
    """How much of it is done."""


def read_note(results: Path, run_id: str) -> RunNote | None:
    """The note of a run; None where there is none, or one that makes no sense."""
    path = note_path(results, run_id)
    if path is None:
        return None
    try:
        # a pipe in its place would block, a link would lead elsewhere
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return RunNote.model_validate_json(file.read(MAX_NOTE_BYTES))
    except (OSError, ValidationError):
        return None


def note_path(results: Path, run_id: str) -> Path | None:
    """Where a run's note is; None for an id that no harness has made."""
    return results / LOCKS_FOLDER / f"{run_id}{SUFFIX}" if RUN_ID.fullmatch(run_id) else None


@contextmanager
def noted(results: Path, run_id: str, listener: Listener) -> Iterator[Listener]:
    """What to tell instead of `listener` while the run goes on: it hears all the same, and the note is kept."""
    keeper = NotedListener(results, run_id, listener)
    try:
        yield keeper
    finally:
        keeper.close()


class NotedListener(Listener):
    """Hands everything on to `listener`, and keeps the note of the run; `close` takes it away."""

    def __init__(self, results: Path, run_id: str, listener: Listener) -> None:
        self._path = note_path(results, run_id)
        self._listener = listener
        self._note = RunNote()
        self._written_s = -STEP_INTERVAL_S

    def close(self) -> None:
        """The run is over."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def step(self, what: str, done: int, total: int) -> None:
        self._listener.step(what, done, total)
        ended = done >= total
        what = what[:MAX_WORDS]
        recent = time.monotonic() - self._written_s < STEP_INTERVAL_S
        if not ended and what == self._note.step and recent:
            return
        share = None if ended or total <= 0 else min(1.0, max(0.0, done / total))
        self._write(step=None if ended else what, step_share=share)

    def note(self, text: str) -> None:
        self._listener.note(text)

    def trial_begins(self, planned: PlannedTrial, number: int, total: int) -> None:
        self._listener.trial_begins(planned, number, total)
        self._write(number=number, total=total, trial=planned.name[:MAX_WORDS], phase=None, phase_since=None)

    def phase(self, name: str) -> None:
        self._listener.phase(name)
        self._write(phase=name[:MAX_WORDS], phase_since=datetime.now(UTC).isoformat(timespec="milliseconds"))

    def trial_ended(self, planned: PlannedTrial, record: TrialRecord) -> None:
        self._listener.trial_ended(planned, record)
        self._write(trial=None, phase=None, phase_since=None, step=None, step_share=None)

    def salvaged(self, record: TrialRecord) -> None:
        self._listener.salvaged(record)

    def _write(self, **changes: object) -> None:
        self._note = self._note.model_copy(update=changes)
        self._written_s = time.monotonic()
        if self._path is None:
            return
        part = self._path.with_name(self._path.name + ".part")
        # a full disk must not cost the trial; not synced: after a power cut nobody is at anything
        with contextlib.suppress(OSError):
            part.write_text(self._note.model_dump_json(), encoding="utf-8")
            part.replace(self._path)
