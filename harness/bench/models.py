"""Where a suite's models are on this machine, with their digests; synthetic ones are made on first use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from harness.bench.suite import ModelEntry, Synth
from harness.bench.synth import make
from harness.core.errors import UsageError

APP_NAME = "iphone-load-harness"
HASH_CHUNK_BYTES = 4 * 1024 * 1024

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LocalModel:
    name: str
    path: Path
    sha256: str
    size_bytes: int
    quantization: str | None


def models_folder() -> Path:
    """The user's cache folder for models that can be made again."""
    return platformdirs.user_cache_path(APP_NAME) / "models"


def locate(entry: ModelEntry, progress: Progress) -> LocalModel:
    """The model's file, made first if it is synthetic and not there. Raises UsageError when a file is missing."""
    if entry.synth is not None:
        return _synthetic(entry, entry.synth, progress)
    assert entry.path is not None, "a suite's model has a path or a recipe"
    if not entry.path.is_file():
        raise UsageError(f"model {entry.name}: there is no file {entry.path}")
    size = entry.path.stat().st_size
    sha256 = _digest(entry.path, lambda done: progress(f"digest {entry.path}", done, size))
    return LocalModel(entry.name, entry.path, sha256, size, entry.quantization)


def _synthetic(entry: ModelEntry, synth: Synth, progress: Progress) -> LocalModel:
    recipe = synth.recipe
    # the fingerprint changes with the recipe and the maker: an old file is not taken for a new one
    target = models_folder() / f"{synth.base}-{recipe.fingerprint}.task"
    note = target.with_suffix(".json")
    known = _read_note(note, target)
    if known is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = make(recipe, target, lambda done, total: progress(f"make {entry.name}", done, total))
        known = {"sha256": made.sha256, "bytes": made.bytes}
        note.write_text(json.dumps(known))
    quantization = entry.quantization or recipe.weights
    return LocalModel(entry.name, target, str(known["sha256"]), int(known["bytes"]), quantization)


def _read_note(note: Path, model: Path) -> dict[str, str | int] | None:
    """What was noted when the model was made, if the file still has that size."""
    try:
        known: dict[str, str | int] = json.loads(note.read_text())
        return known if model.stat().st_size == known["bytes"] and "sha256" in known else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digest(path: Path, progress: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress(done)
    return digest.hexdigest()
