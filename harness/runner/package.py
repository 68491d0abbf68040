"""Which runner app a run uses: the Python one built here, or a signed `.ipa` that somebody built."""

from __future__ import annotations

import plistlib
import tempfile
import zipfile
from pathlib import Path
from xml.parsers.expat import ExpatError

import platformdirs

from harness.core.errors import UsageError
from harness.core.phone import PhoneKind
from harness.runner.build import IPA_NAME, BuiltRunner, build_ipa

APP_NAME = "iphone-load-harness"
MAX_INFO_PLIST_BYTES = 1 << 20
_PHYSICAL_NEEDS_SWIFT = (
    "a physical iPhone runs only a signed app: give its path (--runner or --load-runner PATH.ipa); "
    "the Swift runner is not there yet, see docs/real-iphone.md"
)


def choose_runner(choice: str, kind: PhoneKind) -> BuiltRunner:
    """`auto`, `python`, or the path of an `.ipa`. Raises UsageError when that cannot run on the phone meant."""
    if choice in ("auto", "python"):
        if kind is not PhoneKind.VIRTUAL:
            raise UsageError(_PHYSICAL_NEEDS_SWIFT)
        return cached_ipa()
    path = Path(choice)
    if path.suffix != ".ipa":
        raise UsageError(f"runner {choice!r}: it is `auto`, `python`, or the path of an .ipa")
    return read_ipa(path)


def cached_ipa() -> BuiltRunner:
    """The Python runner's IPA, built from this installation into the user's cache folder."""
    folder = platformdirs.user_cache_path(APP_NAME) / "runner"
    folder.mkdir(parents=True, exist_ok=True)
    # two processes may build at once: each builds aside, and the same build has the same bytes
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        built = build_ipa(Path(aside))
        kept = folder / built.build / IPA_NAME
        kept.parent.mkdir(exist_ok=True)
        built.path.replace(kept)
    return BuiltRunner(kept, built.bundle_id, built.build, built.version)


def read_ipa(path: Path) -> BuiltRunner:
    """Who an IPA says it is. Raises UsageError when it is no app."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _is_info_plist(name)]
            if len(names) != 1 or archive.getinfo(names[0]).file_size > MAX_INFO_PLIST_BYTES:
                raise UsageError(f"{path}: an .ipa has one Payload/<name>.app/Info.plist; this has {len(names)}")
            info = plistlib.loads(archive.read(names[0]))
        return BuiltRunner(
            path, info["CFBundleIdentifier"], str(info["CFBundleVersion"]), str(info["CFBundleShortVersionString"])
        )
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, plistlib.InvalidFileException, ExpatError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not an app (.ipa): {error}") from error


def _is_info_plist(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 3 and parts[0] == "Payload" and parts[1].endswith(".app") and parts[2] == "Info.plist"
