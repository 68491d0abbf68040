"""One trial: the phases of a load in their order, with the sampler running, to a ``result`` or an ``error``.

A phase's begin marker is in the journal before the phase's first instruction, because nothing can be said afterwards
when the process dies in it. The trial runs on the main thread: engines get the stack an app's main thread has.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .copies import engine_of
from .engine import Cancelled, Engine, EngineError, EngineKind, Generation, Phase
from .engine_floor import prewarm
from .events import EventLog, bounded
from .guard import EXIT_GUARDED, GUARD_HZ, ONE_CALL, SEND_S, MemoryGuard
from .job import Job
from .memory_linux import FOOTPRINT, MemoryReader
from .sampler import Sampler, SamplerStats
from .silent_stage import SilentStage
from .stderr_capture import StderrCapture
from .verify import KnownDigests, file_digest

SETTLE_S = 0.2
"""Sampling goes on this long after the unload, so that memory given back late is not called left over."""
TOKEN_EVENT_NS = 50_000_000
"""At most 20 token events a second."""
LOAD_PHASES = ("map", "read", "gpu_upload", "create_engine", "create_session")

NOTHING_GENERATED = Generation(None, None, None, None, None, None, None)


class TrialFailed(Exception):
    """The trial ends with an ``error`` event of this kind."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Trial:
    """A trial that may be run once. ``cancel`` may be called from any thread."""

    def __init__(
        self,
        name: str,
        job: Job,
        model: Path,
        home: Path,
        kind: EngineKind,
        events: EventLog,
        memory: MemoryReader,
        guard: MemoryGuard | None = None,
    ) -> None:
        self.name = name
        self._job = job
        self._model = model
        self._home = home
        self._kind = kind
        self._events = events
        self._memory = memory
        self._guard = guard
        self._guarded = False
        """Whether the guard is on: from the first byte brought in until the load is done."""
        self._answer = threading.Lock()
        self._cancel = threading.Event()
        self._durations_ns: dict[str, int] = {}
        self._phase: str | None = None
        self._inner_phase: str | None = None
        """What a warm-up or a further copy does inside its one phase."""
        self._peak_footprint: int | None = None
        self._pieces = 0
        self._pieces_told_ns = 0
        self.answered = False
        """Whether the ``result`` or the ``error`` has been said; what follows is cleaning up."""

    @property
    def current_phase(self) -> str | None:
        """The running phase, or None."""
        return self._phase

    def cancel(self) -> None:
        """Ask the trial to end as soon as it can."""
        self._cancel.set()

    def run(self) -> None:
        """Run to the end. Everything that happens is in the events; nothing is raised."""
        try:
            self._run()
        except MemoryError:
            self._fail("memory_error", "the runner's own allocation failed")
        except Exception as error:  # noqa: BLE001  # the trial's outermost boundary: whatever it is, the host is told
            self._fail("internal_error", f"{type(error).__name__}: {error}")

    def _run(self) -> None:
        baseline = self._memory.footprint()
        stderr = StderrCapture(self._events.journal.trial_path(self.name).with_suffix(".stderr"), self._log)
        stderr.start()
        engine = self._engine(copies=not self._job.warmup)
        sampler = Sampler(self._job.sample_hz, self._sample)
        sampler.start()
        watch = Sampler(GUARD_HZ, self._watch, name="guard") if self._guard is not None else None
        if watch is not None:
            watch.start()
        generation, leftover, cancelled = NOTHING_GENERATED, None, False
        failure: TrialFailed | None = None
        try:
            self._verify()
            self._guarded = self._guard is not None
            self._prewarm()
            if self._job.warmup:
                self._warm_up(engine)
                engine = self._engine(copies=True)
            generation = self._load_and_generate(engine)
            leftover = self._unload(engine)
        except Cancelled:
            cancelled = True
            failure = None
        except EngineError as error:
            failure = TrialFailed(error.kind, error.message)
        except TrialFailed as error:
            failure = error
        except OSError as error:
            failure = TrialFailed("internal_error", str(error))
        except MemoryError:
            failure = TrialFailed("memory_error", "the runner's own allocation failed")
        failed_in, self._phase = self._phase, None
        self._guarded = False
        if cancelled:
            leftover = self._unload(engine)
        stats = sampler.stop()
        if watch is not None:
            watch.stop()
        stderr.stop()
        if failure is None and self._events.journal.broken is not None:
            failure = TrialFailed("journal_error", f"the evidence cannot be written: {self._events.journal.broken}")
        if failure is not None:
            # Said before the clean-up: deleting a half-built engine may be the end of the process.
            self._fail(failure.kind, failure.message, failed_in)
            engine.unload()
            return
        self._result(generation, stats, baseline, leftover, cancelled)

    def _load_and_generate(self, engine: Engine) -> Generation:
        self.check()
        engine.load(self)
        self._guarded = False
        effective, how = engine.effective_backend()
        self._events.emit("backend", requested=self._job.backend, effective=effective, how=how)
        self.check()
        generation = engine.generate(self) or NOTHING_GENERATED
        if self._job.hold_ms:
            with self.phase("hold"):
                self.cancelled(self._job.hold_ms / 1000)
                self.check()
        return generation

    def _verify(self) -> None:
        if self._job.sha256 is None:
            return
        known = KnownDigests(self._home)
        with self.phase("verify") as phase:
            digest = known.get(self._model)
            phase.detail = (
                "digest known from an earlier run of this file: size, modification time and inode are unchanged"
            )
            if digest is None:
                phase.detail = "digest computed"
                digest = file_digest(self._model, self)
                known.put(self._model, digest)
            if digest != self._job.sha256:
                raise TrialFailed(
                    "wrong_digest",
                    f"Documents/{self._job.model} has SHA-256 {digest}, not {self._job.sha256}: push the model again",
                )

    def _prewarm(self) -> None:
        if self._job.prewarm.mode != "off":
            with self.phase("prewarm"):
                prewarm(self._model, self._job.prewarm.mode, self._job.prewarm.chunk_bytes, self)

    def _warm_up(self, engine: Engine) -> None:
        """One whole load and unload, in one phase: none of its figures mixes with the measured load's."""
        with self.phase("warmup"):
            engine.load(SilentStage(self, self._now_in))
            engine.unload()

    def _engine(self, *, copies: bool) -> Engine:
        """A fresh engine; with ``copies`` as many as the job asks for. A warm-up needs one."""
        job = self._job if copies else self._job._replace(copies=1)
        return engine_of(self._kind, job, self._model, self._home, self._now_in)

    def _now_in(self, inner_phase: str | None) -> None:
        self._inner_phase = inner_phase

    def _unload(self, engine: Engine) -> int:
        """Unload, let it settle, and return the footprint that is left."""
        with self.phase("unload"):
            engine.unload()
        with self.phase("settle"):
            time.sleep(SETTLE_S)
        return self._memory.footprint()

    # What an engine may use (engine.Stage).

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Open a phase. If its body raises, the phase stays open: that is where the trial failed."""
        self._phase = name
        self._events.emit("phase", name=name, edge="begin", detail=None)
        phase = Phase(name, time.monotonic_ns())
        yield phase
        duration_ns = (phase.ended_ns or time.monotonic_ns()) - phase.began_ns
        self._durations_ns[name] = self._durations_ns.get(name, 0) + duration_ns
        self._events.emit(
            "phase", name=name, edge="end", duration_ns=duration_ns, **self._kernel_peaks(), detail=phase.detail
        )
        self._phase = None

    def check(self) -> None:
        """Raise Cancelled, or TrialFailed when the evidence can no longer be written or the guard says stop."""
        if self._cancel.is_set():
            raise Cancelled
        if self._events.journal.broken is not None:
            raise TrialFailed("journal_error", f"the evidence cannot be written: {self._events.journal.broken}")
        reason = self._guard.reason() if self._guarded and self._guard is not None else None
        if reason is not None:
            raise TrialFailed("load_error", f"{reason}; the load was stopped")

    def cancelled(self, timeout_s: float) -> bool:
        """Wait for a cancel, at most ``timeout_s``."""
        return self._cancel.wait(timeout_s)

    def pieces(self, count: int) -> None:
        """Report progress of the decode, throttled."""
        now = time.monotonic_ns()
        if count > self._pieces and now - self._pieces_told_ns >= TOKEN_EVENT_NS:
            self._pieces, self._pieces_told_ns = count, now
            self._events.emit("token", count=count)

    # What goes out.

    def _sample(self, now_ns: int, period_ns: int) -> None:
        values = self._memory.read()
        footprint = values[FOOTPRINT]
        if footprint is not None and (self._peak_footprint is None or footprint > self._peak_footprint):
            self._peak_footprint = footprint
        self._events.sample(now_ns, values, period_ns)

    def _log(self, line: str, truncated: bool) -> None:
        self._events.emit("log", stream="stderr", line=line, truncated=truncated)

    def _watch(self, now_ns: int, period_ns: int) -> None:
        """The guard's own look, for as long as an engine's call runs. Ends the process when there is no room left."""
        phase = self._phase
        if self._guard is None or not self._guarded or (self._inner_phase or phase) not in ONE_CALL:
            return
        reason = self._guard.reason()
        if reason is None:
            return
        self._fail(
            "load_error",
            f"{reason}; an engine's call cannot be interrupted, so the app ended itself with code {EXIT_GUARDED}",
            phase,
        )
        self._events.journal.wait_until_sent(SEND_S)
        os._exit(EXIT_GUARDED)

    def _claim_answer(self) -> bool:
        """Take the one answer that a trial gets; False when it has been given."""
        with self._answer:
            mine = not self.answered
            self.answered = True
            return mine

    def _fail(self, kind: str, message: str, phase: str | None = None) -> None:
        if not self._claim_answer():
            return
        self._events.emit("error", kind=kind, message=bounded(message), phase=phase or self._phase, trial=self.name)

    def _kernel_peaks(self) -> dict[str, int | None]:
        peaks = self._memory.peaks()
        return {
            "kernel_peak_footprint": None,  # Linux keeps none
            "kernel_peak_resident": peaks.resident,
            "kernel_peak_virtual": peaks.virtual,
        }

    def _result(
        self, generation: Generation, stats: SamplerStats, baseline: int, leftover: int | None, cancelled: bool
    ) -> None:
        durations = self._durations_ns
        ttft_ns = None
        if generation.output_chunks:
            ttft_ns = durations["prefill"] + durations["first_token"]
        if not self._claim_answer():
            return
        self._events.emit(
            "result",
            trial=self.name,
            cancelled=cancelled,
            durations_ns=durations,
            load_ns=sum(durations.get(name, 0) for name in LOAD_PHASES) or None,
            ttft_ns=ttft_ns,
            **generation._asdict(),
            **self._kernel_peaks(),
            peak_footprint=self._peak_footprint,
            baseline_footprint=baseline,
            leftover_footprint=leftover,
            sampler=stats._asdict(),
        )
