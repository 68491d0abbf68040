"""Draws the pages whose content is not the one that lies there already, and takes away those that are no more.

`manifest.json` in the site's folder tells of each file what it was drawn from. Deleting the folder
loses nothing.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from harness import __version__
from harness.report.site.drawing import Drawers
from harness.report.site.pages import (
    COMPARISONS_FOLDER,
    ENTRY,
    SERIES_FOLDER,
    SITE_FOLDER,
    TRIALS_FOLDER,
    Page,
    is_page_name,
)
from harness.store.address import Results, address_of
from harness.store.errors import StoreError
from harness.store.owner import exclusive

MANIFEST = "manifest.json"
_LOCK_NAME = ".lock"
_MANY_PAGES = 24
"""Enough that processes for drawing are got ready before it is known how many pages are to be drawn."""


@dataclass(frozen=True)
class SiteFiles:
    """What a build did; names are paths below `folder`."""

    folder: Path
    drawn: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def index(self) -> Path:
        return self.folder / ENTRY


def build_site(
    results: Results, target: Path | None = None, *, as_of: date | None = None, processes: int = 2
) -> SiteFiles:
    """Makes the site of all results in `target` (None: `report/` of the results). The same store, the same bytes.

    Raises NoResults where there is nothing to show, StoreError where the folder cannot be written.
    """
    address = address_of(results)
    address.must_exist()
    folder = target if target is not None else address.folder / SITE_FOLDER
    with Drawers(processes) as drawers:
        if len(_read_manifest(folder)) >= _MANY_PAGES:
            # of a site that lies there a new night draws most pages anew
            drawers.expect_many()
        # those who draw load what they need meanwhile
        from harness.report.site.data import read_site_data
        from harness.report.site.plan import plan
        from harness.store.database import ResultStore

        with _frugal(), ResultStore.open_existing(address) as store:
            pages = plan(read_site_data(store, as_of=as_of), folder)
            try:
                return _write_pages(pages, folder, drawers)
            except OSError as error:
                raise StoreError(f"{folder}: the report cannot be written: {error}") from error
            except BrokenProcessPool as error:
                raise StoreError(
                    f"{folder}: a process that drew pages was ended from outside, perhaps for want of memory; ask for "
                    "the report again"
                ) from error


@contextmanager
def _frugal() -> Iterator[None]:
    """Plans are many small objects and hardly a cycle: looking for those takes a tenth of the time. And what Arrow has
    freed goes back to the system: its own allocator keeps 30 MB of a year's results.
    """
    import pyarrow as pa

    collections, pool = gc.get_threshold(), pa.default_memory_pool()
    gc.set_threshold(100_000, 50, 50)
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)
        gc.set_threshold(*collections)


def write_pages(pages: Iterable[Page], folder: Path, *, processes: int = 2) -> SiteFiles:
    """Brings `folder` to hold exactly these pages. Files that no build has made are left alone."""
    with Drawers(processes) as drawers:
        return _write_pages(pages, folder, drawers)


def _write_pages(pages: Iterable[Page], folder: Path, drawers: Drawers) -> SiteFiles:
    for name in (SERIES_FOLDER, TRIALS_FOLDER, COMPARISONS_FOLDER):
        if (folder / name).is_symlink():
            raise StoreError(
                f"{folder / name} is a link; pages are written and removed in the report's own folders only"
            )
    folder.mkdir(parents=True, exist_ok=True)
    # a nightly and a person may draw the same site at once
    with exclusive(folder / _LOCK_NAME):
        known = _read_manifest(folder)
        digests: dict[str, str] = {}
        stale: set[str] = set()
        for page in pages:
            digests[page.name] = f"{program_digest()}-{page.digest}"
            if known.get(page.name) != digests[page.name] or not (folder / page.name).is_file():
                stale.add(page.name)
                drawers.add(page)
        # a build that is cut short must leave no manifest that speaks of files as they are no more, nor lose one to
        # remove
        still = {name: digest for name, digest in known.items() if digests.get(name, digest) == digest}
        _write(folder / MANIFEST, _manifest(still))
        for name, drawn in drawers.drawn():
            _write(folder / name, drawn)
        removed = [name for name in known if name not in digests]
        for name in removed:
            (folder / name).unlink(missing_ok=True)
        _write(folder / MANIFEST, _manifest(digests))
    kept = tuple(sorted(digests.keys() - stale))
    return SiteFiles(folder, tuple(sorted(stale)), kept, tuple(sorted(removed)))


@cache
def program_digest() -> str:
    """Of everything in this package: another program may draw the same content otherwise."""
    found = hashlib.sha256(__version__.encode())
    room = Path(__file__).parent.parent
    for path in sorted(path for path in room.rglob("*") if path.suffix in (".py", ".j2", ".css", ".js")):
        found.update(f"{path.relative_to(room)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: somebody may have the page open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    # left by a build that was killed, or put there so that something else is written
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as file:
            file.write(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _manifest(digests: Mapping[str, str]) -> bytes:
    return (json.dumps(dict(sorted(digests.items())), indent=0) + "\n").encode()


def _read_manifest(folder: Path) -> dict[str, str]:
    """Name → digest; one that cannot be read, or names what is no page, is as none."""
    try:
        known = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: digest for name, digest in known.items() if isinstance(digest, str) and is_page_name(name)}
