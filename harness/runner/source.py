"""Which commit of the harness this is, where it runs from a checkout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import harness

GIT_LIMIT_S = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


def head_commit() -> str | None:
    """The checkout's commit; None without git, outside a checkout, or when a file differs from what was committed."""
    checkout = Path(harness.__file__).parents[1]
    commit = _git(checkout, "rev-parse", "HEAD")
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changed is None or changed or not _COMMIT.fullmatch(commit):
        return None
    return commit


def _git(checkout: Path, *words: str) -> str | None:
    command = ["git", "-C", str(checkout), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_LIMIT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
