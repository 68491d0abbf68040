"""Apps to put on a virtual phone: IPAs whose executable is a script."""

from __future__ import annotations

import plistlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUNDLE_ID = "com.example.probe"
SLEEPER = "#!/bin/sh\nexec sleep 100\n"


def build_ipa(
    folder: Path,
    script: str = SLEEPER,
    *,
    version: str = "1",
    info: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """`probe-<version>.ipa` in `folder`; `info` changes its Info.plist, `files` are further entries of the archive."""
    package = folder / f"probe-{version}.ipa"
    words = {
        "CFBundleIdentifier": BUNDLE_ID,
        "CFBundleExecutable": "Probe",
        "CFBundleName": "Probe",
        "CFBundleVersion": version,
        "CFBundleShortVersionString": f"1.{version}",
        "UIFileSharingEnabled": True,
        **(info or {}),
    }
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Payload/Probe.app/Info.plist", plistlib.dumps(words))
        archive.writestr("Payload/Probe.app/Probe", script)
        for name, content in (files or {}).items():
            archive.writestr(name, content)
    return package
