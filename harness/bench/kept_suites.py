"""Copies of suite files beside the results: what was run is asked long after its file was changed.

    <results>/suites/<suite_digest>.toml

May know the results folder and suites; a copy is only read again, with the same checks as any suite file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.bench.suite import Suite, SuiteError, load_suite
from harness.store.errors import StoreError

FOLDER = "suites"
_DIGEST = re.compile(r"[0-9a-f]{12}")


def keep_suite(results: Path, suite: Suite) -> None:
    """Copies the file that `suite` was read from; nothing to do for one that was made up, or is kept already.

    Files of one digest differ in comments, budget and what others have published: the last one run stays.
    """
    text = suite.text
    if text is None:
        return
    path = _path(results, suite.digest)
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: the suite's copy cannot be written: {error.strerror}") from error


def kept_suite(results: Path, digest: str) -> Suite | None:
    """The suite that was kept; None: it was not. Raises SuiteError when this harness cannot read it."""
    path = _path(results, digest)
    return load_suite(path) if path.is_file() else None


def _path(results: Path, digest: str) -> Path:
    if not _DIGEST.fullmatch(digest):
        raise SuiteError(f"{digest[:80]!r} is no digest of a suite: twelve hex digits")
    return results / FOLDER / f"{digest}.toml"
