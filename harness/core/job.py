"""What one trial asks of the runner app."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
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


class Variant(StrEnum):
    """Build variants of the runner app, by the entitlements that move memory's walls."""

    PLAIN = "plain"
    EXTENDED_ADDRESSING = "extended-addressing"
    """extended-virtual-addressing: a larger address space."""
    INCREASED_LIMIT = "increased-limit"
    """increased-memory-limit: a higher footprint limit on some phones."""
    BOTH = "both"


class PrewarmMode(StrEnum):
    """How the file is brought into the page cache before the load."""

    ADVISE = "advise"
    """The kernel is asked, chunk by chunk."""
    TOUCH = "touch"
    """Every page is read."""


@dataclass(frozen=True)
class Prewarm:
    """Read-ahead before the load."""

    mode: PrewarmMode
    chunk_bytes: int


@dataclass(frozen=True)
class Guard:
    """Stops the load when less than `reserve_bytes` is left below the footprint limit."""

    reserve_bytes: int


@dataclass(frozen=True)
class Job:
    """The `job` of a `run` command; `model` is a path under the app's Documents folder.

    Optional fields are sent only when they ask for something; an older runner knows no newer ones.
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
    prewarm: Prewarm | None = None
    warmup: bool = False
    """One whole load and unload before the measured one."""
    guard: Guard | None = None
    copies: int = 1
    """Engines of the same file, loaded one after another and kept beside one another; the last generates."""

    def filling_the_cache(self) -> Job:
        """A load that is only to leave a weight cache behind: nothing else of it is wanted."""
        return replace(
            self,
            cache=CacheState.COLD,
            decode_tokens=0,
            hold_ms=0,
            prewarm=None,
            warmup=False,
            guard=None,
            copies=1,
        )

    def to_wire(self) -> dict[str, object]:
        """The JSON object of the wire language, without optional fields that ask for nothing."""
        unasked = {field.name: field.default for field in fields(self)}
        given = asdict(self)
        return {name: value for name, value in given.items() if value is not None and value != unasked[name]}
