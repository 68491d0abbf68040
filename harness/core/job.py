"""What one trial asks of the runner app."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum


class Backend(StrEnum):
    CPU = "cpu"
    GPU = "gpu"


class Engine(StrEnum):
    LITERT_LM = "litert_lm"
    MEDIAPIPE = "mediapipe"
    MMAP = "mmap"
    """Floor: maps the file and touches every page."""
    READ = "read"
    """Floor: reads the file into memory."""


class CacheState(StrEnum):
    """State of the engine's weight cache when the load begins."""

    COLD = "cold"
    """Deleted first; the engine builds it during the load."""
    WARM = "warm"
    """Built by an earlier trial; a trial without one is not measured but refused."""
    NONE = "none"
    """The engine is told to keep none."""


@dataclass(frozen=True)
class Job:
    """The `job` of a `run` command; `model` is a path under the app's Documents folder.

    Optional fields that are None are not sent; the runner then does not do that step.
    """

    model: str
    sha256: str
    engine: Engine
    backend: Backend
    cache: CacheState
    max_tokens: int
    prompt: str | None
    decode_tokens: int
    sample_hz: int
    hold_ms: int
    seed: int

    def to_wire(self) -> dict[str, str | int]:
        """The JSON object of the wire language, without absent fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
