"""Builds the Swift runner's Linux executable into an app bundle for a virtual iPhone of this machine.

LiteRT-LM's library has 120 MB, so the bundle does not carry it: a note beside the executable names the one that this
Python has. An IPA for a physical iPhone comes from Xcode, not from here.
"""

from __future__ import annotations

import json
from pathlib import Path

import harness
from harness.core.job import Variant
from harness.runner.app.litert_lm_abi import find_library
from harness.runner.bundle import (
    BUILD_INFO,
    EXECUTABLE,
    EXECUTABLE_MODE,
    FILE_MODE,
    About,
    BuiltRunner,
    digest,
    entitlements_of,
    write_ipa,
)
from harness.runner.swift import Step, swift_executable

FLOORS = {"mmap": "1", "read": "1"}


def build_swift_ipa(
    target_dir: Path,
    cache: Path,
    *,
    variant: Variant = Variant.PLAIN,
    commit: str | None = None,
    step: Step = lambda what, done, total: None,
) -> BuiltRunner:
    """Write the variant's IPA into ``target_dir`` (made if absent) and describe it; ``cache`` keeps the executable.

    Without LiteRT-LM among this Python's packages the app has the floors only. Raises BuildError.
    """
    executable = swift_executable(cache, step).read_bytes()
    entitlements = entitlements_of(variant)
    found = find_library()
    libraries = {} if found is None else {"litert_lm": {"version": found[1], "library": str(found[0])}}
    about = About("swift", "linux", {**{name: lib["version"] for name, lib in libraries.items()}, **FLOORS}, commit, 0)
    version = harness.__version__
    options = json.dumps([version, commit, entitlements, libraries]).encode()
    build = digest({"executable": executable, "options": options})
    note = {"version": version, "build": build, "commit": commit, "entitlements": entitlements, "engines": libraries}
    entries = {EXECUTABLE: (executable, EXECUTABLE_MODE), BUILD_INFO: (json.dumps(note).encode(), FILE_MODE)}
    return write_ipa(target_dir, variant=variant, version=version, build=build, about=about, entries=entries)
