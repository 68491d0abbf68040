"""What every engine offers the trial, and the words they share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from .job import Job


class EngineError(Exception):
    """The engine said no. ``kind`` as in the protocol (``load_error``, ``generate_error``); the words are its own."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Cancelled(Exception):
    """The host no longer wants the trial."""


class Phase:
    """A running phase. An engine may say when it really ended, and what there is to say about it."""

    def __init__(self, name: str, began_ns: int) -> None:
        self.name = name
        self.began_ns = began_ns
        self.ended_ns: int | None = None
        self.detail: str | None = None


class Stage(Protocol):
    """Where an engine performs: it opens phases, reports progress and learns that it shall stop."""

    def phase(self, name: str) -> AbstractContextManager[Phase]:
        """Open a phase; its begin marker is on disk before the body runs."""

    def check(self) -> None:
        """Raise if the trial shall stop: cancelled, or too near the memory limit for a job with a guard.

        Call it between steps, and between the chunks of a step that has any.
        """

    def cancelled(self, timeout_s: float) -> bool:
        """Wait at most ``timeout_s``; tell whether the trial shall stop."""

    def pieces(self, count: int) -> None:
        """Report how many pieces of text there are so far (throttled)."""


class Generation(NamedTuple):
    """What came out. Counts and rates are the engine's own; None where it gave none."""

    prefill_tokens: int | None
    prefill_tps: float | None
    decode_tokens: int | None
    decode_tps: float | None
    output_sha256: str | None
    output_bytes: int | None
    output_chunks: int | None


class Engine(Protocol):
    """One engine in one process, used for one trial, from one thread."""

    def load(self, stage: Stage) -> None:
        """Bring the model in. Raises EngineError of kind load_error."""

    def effective_backend(self) -> tuple[str | None, str]:
        """Which device executes after a load (None = not known), and how that is known."""

    def generate(self, stage: Stage) -> Generation | None:
        """Run the job's prompt. Raises EngineError of kind generate_error."""

    def unload(self) -> None:
        """Give back what load took. Allowed after a failed load, and twice."""


class EngineKind(NamedTuple):
    """An engine this app has. ``refuse`` raises Refusal for jobs that cannot work, before the trial begins."""

    version: str
    refuse: Callable[[Job, Path, Path], None]
    create: Callable[[Job, Path, Path], Engine]
