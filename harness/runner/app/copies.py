"""Several engines of one file in one process, all kept loaded: how many copies of a model fit beside one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .engine import Engine, EngineError, EngineKind, Generation, Stage
from .job import Job
from .silent_stage import SilentStage

NowIn = Callable[[str | None], None]


class Copies:
    """As many engines as the job asks for, as one. The first loads as any engine does; each further one is a phase
    ``copy`` whose steps are not told, so that the first one's load time can be compared with that of a single engine.
    """

    def __init__(self, kind: EngineKind, job: Job, model: Path, home: Path, now_in: NowIn) -> None:
        self._kind = kind
        # What a cold first copy has built is there for the others, as in an app that opens a model twice.
        self._later_job = job._replace(cache="warm") if job.cache == "cold" else job
        self._model = model
        self._home = home
        self._count = job.copies
        self._now_in = now_in
        self._engines = [kind.create(job, model, home)]

    def load(self, stage: Stage) -> None:
        """Load one after another. Raises EngineError, which names the copy unless it is the first."""
        self._engines[0].load(stage)
        for number in range(2, self._count + 1):
            stage.check()
            with stage.phase("copy") as phase:
                phase.detail = f"copy {number} of {self._count}"
                engine = self._kind.create(self._later_job, self._model, self._home)
                self._engines.append(engine)
                try:
                    engine.load(SilentStage(stage, self._now_in))
                except EngineError as error:
                    raise EngineError(error.kind, f"{phase.detail}: {error.message}") from error

    def effective_backend(self) -> tuple[str | None, str]:
        """The last copy's, which is the one that generates."""
        return self._engines[-1].effective_backend()

    def generate(self, stage: Stage) -> Generation | None:
        """Run the job's prompt on the last copy."""
        return self._engines[-1].generate(stage)

    def unload(self) -> None:
        """Give back what they took, the last first."""
        for engine in reversed(self._engines):
            engine.unload()


def engine_of(kind: EngineKind, job: Job, model: Path, home: Path, now_in: NowIn) -> Engine:
    """What a job is done with: one engine, or as many copies as it asks for."""
    return kind.create(job, model, home) if job.copies == 1 else Copies(kind, job, model, home, now_in)
