"""The engine's weight cache of one model, and whether it may be trusted.

LiteRT-LM packs the weights into a file when it first loads a model, and maps that file later: 22 times less footprint.
A build that failed leaves a partial file, so a marker stands beside it while one is being built.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from .job import Job, Refusal

MARKER = ".incomplete"
KEY_DIGITS = 16


class WeightCache:
    """The directory ``Library/Caches/weights/<key>``; key: the model's digest, else its path, size and time."""

    def __init__(self, job: Job, model: Path, home: Path) -> None:
        stat = model.stat()
        # The engine's own file name (0.18.1): a pushed-again model has a new time and therefore no cache.
        self._prefix = f"{model.name}_{int(stat.st_mtime)}_{stat.st_size}"
        if job.sha256 is not None:
            key = job.sha256[:KEY_DIGITS]
        else:
            identity = f"{job.model}\0{stat.st_size}\0{stat.st_mtime_ns}"
            key = "path-" + hashlib.sha256(identity.encode()).hexdigest()[:KEY_DIGITS]
        self.directory = home / "Library" / "Caches" / "weights" / key

    def clear(self) -> None:
        """Delete it."""
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def begin_build(self) -> None:
        """Make the empty directory and mark it as incomplete."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / MARKER).touch()

    def complete_build(self) -> None:
        """The engine accepted it: take the marker away."""
        (self.directory / MARKER).unlink(missing_ok=True)

    def listing(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of its files: unchanged after a load that really was warm."""
        if not self.directory.is_dir():
            return []
        stats = [(path.name, path.stat()) for path in self.directory.iterdir()]
        return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    def require(self) -> None:
        """Raise Refusal of kind ``cache_missing`` unless there is a complete cache of this very file."""
        remedy = "run a trial with cache 'cold' first"
        if not self.directory.is_dir() or not any(
            path.name.startswith(self._prefix) and path.stat().st_size for path in self.directory.iterdir()
        ):
            raise Refusal("cache_missing", f"there is no weight cache of this model file: {remedy}")
        if (self.directory / MARKER).exists():
            raise Refusal("cache_missing", f"the weight cache was left incomplete by a trial that failed: {remedy}")
