"""Builds the Python runner into an app bundle that installs on a virtual iPhone like any other.

The same sources, interpreter and options give the same bytes; the build number is their digest, so that the host sees
whether the phone has this very build. A physical iPhone needs the Swift runner: it runs no shell script.
"""

from __future__ import annotations

import hashlib
import io
import json
import plistlib
import shlex
import sys
import zipfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import harness
from harness.core.errors import HarnessError

BUNDLE_ID = "org.iphone-load-harness.runner"
EXECUTABLE = "Runner"
IPA_NAME = "Runner.ipa"
ARCHIVE = "runner.pyz"
PACKAGE = "runner_app"
"""The app's package name inside the archive; its imports are relative."""
BUILD_INFO = "build_info.json"
BUILD_DIGITS = 12
MINIMUM_IOS = "17.0"

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip entry can carry: the same for every build."""
UNIX_SYSTEM = 3
FILE_MODE = 0o644
EXECUTABLE_MODE = 0o755

_START = f"""\
import sys

from {PACKAGE}.main import main

sys.exit(main())
"""


class BuildError(HarnessError):
    """The app cannot be built here; the message says why."""


@dataclass(frozen=True)
class BuiltRunner:
    """A finished IPA. ``build`` is what the installed app reports as CFBundleVersion and in its ``hello``."""

    path: Path
    bundle_id: str
    build: str
    version: str


def build_ipa(
    target_dir: Path,
    *,
    commit: str | None = None,
    increased_memory_limit: bool = False,
    extended_virtual_addressing: bool = False,
    interpreter: Path | None = None,
) -> BuiltRunner:
    """Write ``Runner.ipa`` into ``target_dir`` (made if absent) and describe it.

    The two options add the entitlements of these names, as a developer's build would carry them. ``interpreter`` is the
    Python that will run the app, by default this one; the engine is looked for among its packages. Raises BuildError.
    """
    entitlements = {"get-task-allow": True}
    if increased_memory_limit:
        entitlements["com.apple.developer.kernel.increased-memory-limit"] = True
    if extended_virtual_addressing:
        entitlements["com.apple.developer.kernel.extended-virtual-addressing"] = True
    script = _script(interpreter or _this_interpreter())
    sources = _sources()
    version = harness.__version__
    build = _digest({**sources, "script": script, "options": json.dumps([version, commit, entitlements]).encode()})

    info = {"version": version, "build": build, "commit": commit, "entitlements": entitlements}
    archive = _zip(
        {
            "__main__.py": (_START.encode(), FILE_MODE),
            f"{PACKAGE}/{BUILD_INFO}": (json.dumps(info).encode(), FILE_MODE),
            **{f"{PACKAGE}/{name}": (data, FILE_MODE) for name, data in sources.items()},
        }
    )
    app = f"Payload/{EXECUTABLE}.app"
    ipa = _zip(
        {
            f"{app}/Info.plist": (plistlib.dumps(_info_plist(version, build)), FILE_MODE),
            f"{app}/{EXECUTABLE}": (script, EXECUTABLE_MODE),
            f"{app}/{ARCHIVE}": (archive, FILE_MODE),
            f"{app}/archived-expanded-entitlements.xcent": (plistlib.dumps(entitlements), FILE_MODE),
        }
    )
    target_dir.mkdir(parents=True, exist_ok=True)
    path = target_dir / IPA_NAME
    part = path.with_suffix(".part")
    part.write_bytes(ipa)
    part.replace(path)
    return BuiltRunner(path, BUNDLE_ID, build, version)


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


def _digest(parts: dict[str, bytes]) -> str:
    """Digest of names and contents, in order, each with its length so that no two divisions are alike."""
    digest = hashlib.sha256()
    for name, data in parts.items():
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:BUILD_DIGITS]


def _info_plist(version: str, build: str) -> dict[str, object]:
    return {
        "CFBundleIdentifier": BUNDLE_ID,
        "CFBundleExecutable": EXECUTABLE,
        "CFBundleName": EXECUTABLE,
        "CFBundleDisplayName": "Load Runner",
        "CFBundlePackageType": "APPL",
        "CFBundleInfoDictionaryVersion": "6.0",
        "CFBundleShortVersionString": version,
        "CFBundleVersion": build,
        "MinimumOSVersion": MINIMUM_IOS,
        "UIDeviceFamily": [1],
        "UIFileSharingEnabled": True,
    }


def _zip(entries: dict[str, tuple[bytes, int]]) -> bytes:
    """A zip with fixed times, in the order given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, (data, mode) in entries.items():
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.create_system = UNIX_SYSTEM
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()
