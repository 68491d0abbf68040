"""Copies of the runner apps beside the results: a change is confirmed by running the last good build against the first
bad one, long after either was built.

    <results>/apps/<build>-<digest>.ipa

Named by what the app says its build is (the column `app_build`) and by the digest of the file, so that two apps which
claim the same build are seen to be two. The newest used stay. May know the results folder and app files.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.runner.bundle import BuiltRunner
from harness.store.errors import StoreError

FOLDER = "apps"
MAX_APPS = 60
"""Two months of nights with a new build each."""
MAX_APPS_BYTES = 4 << 30
DIGEST_DIGITS = 16
_BUILD = re.compile(r"[A-Za-z0-9._]{1,64}")
_NAME = re.compile(r"(?P<build>[A-Za-z0-9._]{1,64})-(?P<digest>[0-9a-f]{16})\.ipa")
_DIGEST_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class KeptApp:
    path: Path
    build: str
    digest: str
    size_bytes: int
    used_ns: int
    """When it was last used, in nanoseconds of the host's wall clock."""


class AppNotKept(StoreError):
    """No copy, or more than one, of the build that is wanted."""


def keep_apps(results: Path, apps: Iterable[BuiltRunner], tell: Callable[[str], None]) -> None:
    """Keeps the apps of a run. A copy that cannot be made costs a later confirmation and not this run: it is told."""
    for app in apps:
        try:
            keep_app(results, app)
        except OSError as error:
            tell(f"the app {app.path} cannot be kept beside the results: {error.strerror or error}")


def keep_app(results: Path, app: BuiltRunner) -> Path | None:
    """The copy, made unless it is there; None for a build whose name is none for a file. Raises OSError."""
    if not _BUILD.fullmatch(app.build) or app.path.stat().st_size > MAX_APPS_BYTES:
        return None
    path = results / FOLDER / f"{app.build}-{_digest(app.path)}.ipa"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        os.utime(path)
        return path
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part") as part:
        with app.path.open("rb") as source:
            shutil.copyfileobj(source, part)
        part.flush()
        os.fsync(part.fileno())
        # a link cannot overwrite: another process that was faster has the same bytes
        if not path.exists():
            Path(part.name).chmod(0o644)
            os.link(part.name, path)
    for old in beyond_bounds(kept_apps(results)):
        old.path.unlink(missing_ok=True)
    return path


def kept_apps(results: Path) -> list[KeptApp]:
    """All copies, the one used last first."""
    found = []
    folder = results / FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is None or path.is_symlink() or not path.is_file():
            continue
        stat = path.stat()
        found.append(KeptApp(path, match["build"], match["digest"], stat.st_size, stat.st_mtime_ns))
    return sorted(found, key=lambda app: (-app.used_ns, app.path.name))


def kept_app(results: Path, build: str) -> Path:
    """The copy of a build. Raises AppNotKept, with the reason."""
    found = [app for app in kept_apps(results) if app.build == build]
    if len(found) == 1:
        return found[0].path
    if found:
        names = ", ".join(app.path.name for app in found)
        raise AppNotKept(f"{len(found)} apps say that they are build {build}: {names}; give the right one's path")
    raise AppNotKept(f"build {build} is not among the apps kept in {results / FOLDER}")


def beyond_bounds(apps: Iterable[KeptApp], max_apps: int = MAX_APPS, max_bytes: int = MAX_APPS_BYTES) -> list[KeptApp]:
    """What goes, of apps with the one used last first. The first two stay whatever their size."""
    beyond, total_bytes = [], 0
    for number, app in enumerate(apps):
        total_bytes += app.size_bytes
        if number >= max_apps or (number >= 2 and total_bytes > max_bytes):
            beyond.append(app)
    return beyond


def _digest(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_DIGEST_BLOCK_BYTES):
            whole.update(block)
    return whole.hexdigest()[:DIGEST_DIGITS]
