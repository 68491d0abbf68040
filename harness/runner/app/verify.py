"""Is the file the one the host means? SHA-256, computed once and remembered for as long as the file stays the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .engine import Stage

CHUNK_BYTES = 1 << 20


def file_digest(model: Path, stage: Stage) -> str:
    """Compute a file's SHA-256 in lower-case hex, one buffer at a time. Raises OSError, Cancelled."""
    digest = hashlib.sha256()
    buffer = bytearray(CHUNK_BYTES)
    with model.open("rb", buffering=0) as file, memoryview(buffer) as view:
        while count := file.readinto(buffer):
            stage.check()
            digest.update(view[:count])
    return digest.hexdigest()


class KnownDigests:
    """Notes of digests computed earlier, one file a model. A note counts while size, time and inode are unchanged."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "Library" / "Caches" / "verified"

    def get(self, model: Path) -> str | None:
        """Return the noted digest if the file has not changed since, else None."""
        try:
            note = json.loads(self._path(model).read_text())
        except (OSError, ValueError):
            return None  # no note, or one that was not finished: the digest is computed again
        if not isinstance(note, dict) or note.get("file") != _identity(model):
            return None
        digest = note.get("sha256")
        return digest if isinstance(digest, str) else None

    def put(self, model: Path, sha256: str) -> None:
        """Note a digest. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        part = self._path(model).with_suffix(".part")
        part.write_text(json.dumps({"file": _identity(model), "sha256": sha256}))
        part.replace(self._path(model))

    def _path(self, model: Path) -> Path:
        name = hashlib.sha256(bytes(model)).hexdigest()[:16]
        return self._directory / f"{name}.json"


def _identity(model: Path) -> list[int]:
    stat = model.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
