"""Builds the Python runner into an app bundle that installs on a virtual iPhone like any other.

A physical iPhone needs the Swift runner: it runs no shell script.
"""

from __future__ import annotations

import json
import shlex
import sys
from importlib import resources
from pathlib import Path

import harness
from harness.core.job import Variant
from harness.runner.app.engine_floor import FLOORS
from harness.runner.app.litert_lm_abi import find_library
from harness.runner.bundle import (
    BUILD_INFO,
    EXECUTABLE,
    EXECUTABLE_MODE,
    FILE_MODE,
    About,
    BuildError,
    BuiltRunner,
    digest,
    entitlements_of,
    write_ipa,
    zip_of,
)

__all__ = ["BuildError", "BuiltRunner", "build_ipa"]

MAX_BALLAST_BYTES = 1 << 36
"""64 GiB: more than any phone has."""
ARCHIVE = "runner.pyz"
PACKAGE = "runner_app"
"""The app's package name inside the archive; its imports are relative."""

_START = f"""\
import sys

from {PACKAGE}.main import main

sys.exit(main())
"""


def build_ipa(
    target_dir: Path,
    *,
    variant: Variant = Variant.PLAIN,
    commit: str | None = None,
    interpreter: Path | None = None,
    ballast_bytes: int = 0,
) -> BuiltRunner:
    """Write the variant's IPA into ``target_dir`` (made if absent) and describe it.

    ``interpreter`` is the Python that will run the app, by default this one; the engine is looked for among its
    packages. ``ballast_bytes`` of memory the app occupies from its start on, so that it really is worse by that much:
    with it one sees whether the alarm goes off. Raises BuildError.
    """
    if not 0 <= ballast_bytes <= MAX_BALLAST_BYTES:
        raise BuildError(f"a ballast has 0 to {MAX_BALLAST_BYTES} bytes, got {ballast_bytes}")
    entitlements = entitlements_of(variant)
    about = About("python", "linux", _engines(interpreter), commit, ballast_bytes)
    script = _script(interpreter or _this_interpreter())
    sources = _sources()
    version = harness.__version__
    options = json.dumps([version, commit, entitlements, about.engines, ballast_bytes]).encode()
    build = digest({**sources, "script": script, "options": options})

    info = {
        "version": version,
        "build": build,
        "commit": commit,
        "entitlements": entitlements,
        "ballast_bytes": ballast_bytes,
    }
    archive = zip_of(
        {
            "__main__.py": (_START.encode(), FILE_MODE),
            f"{PACKAGE}/{BUILD_INFO}": (json.dumps(info).encode(), FILE_MODE),
            **{f"{PACKAGE}/{name}": (data, FILE_MODE) for name, data in sources.items()},
        }
    )
    entries = {EXECUTABLE: (script, EXECUTABLE_MODE), ARCHIVE: (archive, FILE_MODE)}
    return write_ipa(target_dir, variant=variant, version=version, build=build, about=about, entries=entries)


def _engines(interpreter: Path | None) -> dict[str, str]:
    """What the app will find; of another interpreter's packages nothing is known before it runs."""
    floors = {name: kind.version for name, kind in FLOORS.items()}
    found = None if interpreter else find_library()
    return floors if found is None else {"litert_lm": found[1], **floors}


def _this_interpreter() -> Path:
    if not sys.executable:
        raise BuildError("this Python does not know its own path: pass the interpreter that shall run the app")
    return Path(sys.executable)


def _script(interpreter: Path) -> bytes:
    """The bundle's executable. ``exec`` keeps the pid, so that the phone watches the app and not a shell."""
    path = str(interpreter)
    if not interpreter.is_absolute() or "\n" in path:
        raise BuildError(f"the interpreter must be an absolute path on one line, got {path!r}")
    lines = ["#!/bin/sh", f'exec {shlex.quote(path)} -I "${{0%/*}}/{ARCHIVE}" "$@"', ""]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _sources() -> dict[str, bytes]:
    """The app's modules: name → bytes, in the order of their names."""
    folder = resources.files("harness.runner") / "app"
    found = {item.name: item.read_bytes() for item in folder.iterdir() if item.name.endswith(".py")}
    if "main.py" not in found:
        raise BuildError("this installation lacks the runner app's sources (harness/runner/app)")
    return dict(sorted(found.items()))
