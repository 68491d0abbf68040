"""Where a suite's models are on this machine, with their digests; synthetic ones are made on first use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from harness import APP_NAME
from harness.bench.fetch import find_fetched
from harness.bench.suite import ModelEntry, Synth
from harness.bench.synth import make
from harness.core.errors import UsageError

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
    """The user's cache folder for models that can be made or fetched again."""
    return platformdirs.user_cache_path(APP_NAME) / "models"


def locate(entry: ModelEntry, progress: Progress) -> LocalModel:
    """The model's file, made first if it is synthetic and not there.

    Raises UsageError when a file is missing, with where to get it from, or is another than its suite says.
    """
    found = find(entry, progress)
    if found is None and entry.synth is not None:
        found = _made(entry, entry.synth, progress)
    if found is None:
        raise UsageError(missing(entry))
    if entry.sha256 not in (None, found.sha256):
        raise UsageError(
            f"model {entry.name}: {found.path} has the digest {found.sha256}, but its suite wants {entry.sha256}; "
            "it is another file, or another version of it"
        )
    return found


def missing(entry: ModelEntry) -> str:
    """What to do about a model whose file is not there and cannot be made."""
    if entry.url is not None:
        return (
            f"model {entry.name}: not fetched yet, and a run fetches nothing; first: "
            f"harness models fetch {entry.url} --sha256 {entry.sha256}"
        )
    source = f"; get it from {entry.source}" if entry.source else ""
    licence = f" (licence: {entry.licence})" if entry.licence else ""
    return f"model {entry.name}: there is no file {entry.path}{source}{licence}"


def find(entry: ModelEntry, progress: Progress) -> LocalModel | None:
    """The model's file if it is there; None: it has to be made, fetched or found first."""
    if entry.synth is not None:
        target = _target(entry.synth)
        known = _read_note(target.with_suffix(".json"), target)
        if known is None:
            return None
        return _synthetic(entry, entry.synth, str(known["sha256"]), int(known["bytes"]))
    if entry.url is not None and entry.sha256 is not None:
        fetched = find_fetched(models_folder(), entry.sha256)
        if fetched is None:
            return None
        # it lies under its digest because it had it when it was fetched
        return LocalModel(entry.name, fetched, entry.sha256, fetched.stat().st_size, entry.quantization)
    if entry.path is None or not entry.path.is_file():
        return None
    size = entry.path.stat().st_size
    sha256 = _digest(entry.path, lambda done: progress(f"digest {entry.path}", done, size))
    return LocalModel(entry.name, entry.path, sha256, size, entry.quantization)


def _made(entry: ModelEntry, synth: Synth, progress: Progress) -> LocalModel:
    target = _target(synth)
    target.parent.mkdir(parents=True, exist_ok=True)
    made = make(synth.recipe, target, lambda done, total: progress(f"make {entry.name}", done, total))
    target.with_suffix(".json").write_text(json.dumps({"sha256": made.sha256, "bytes": made.bytes}))
    return _synthetic(entry, synth, made.sha256, made.bytes)


def _target(synth: Synth) -> Path:
    # the fingerprint changes with the recipe and the maker: an old file is not taken for a new one
    return models_folder() / f"{synth.base}-{synth.recipe.fingerprint}.task"


def _synthetic(entry: ModelEntry, synth: Synth, sha256: str, size_bytes: int) -> LocalModel:
    return LocalModel(entry.name, _target(synth), sha256, size_bytes, entry.quantization or synth.recipe.weights)


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
