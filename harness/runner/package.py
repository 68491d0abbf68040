"""Runner apps as files: built from this installation and kept in the user's cache folder, or read for what they are."""

from __future__ import annotations

import plistlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.parsers.expat import ExpatError

import platformdirs

from harness import APP_NAME
from harness.core.errors import UsageError
from harness.core.job import Variant
from harness.runner.build import build_ipa
from harness.runner.build_swift import build_swift_ipa
from harness.runner.bundle import ABOUT_KEY, ENTITLEMENTS_FILE, BuiltRunner, variant_of
from harness.runner.swift import Step

MAX_PLIST_BYTES = 1 << 20


def cached_ipa(variant: Variant) -> BuiltRunner:
    """The Python runner's IPA, built from this installation into the user's cache folder."""
    return _kept(lambda folder: build_ipa(folder, variant=variant))


def cached_swift_ipa(variant: Variant, step: Step) -> BuiltRunner:
    """The Swift runner's IPA; its executable is compiled if no earlier build fits."""
    return _kept(lambda folder: build_swift_ipa(folder, swift_cache(), variant=variant, step=step))


def swift_cache() -> Path:
    """Where compiled executables of the Swift runner are kept."""
    return platformdirs.user_cache_path(APP_NAME) / "runner" / "swift"


def _kept(build: Callable[[Path], BuiltRunner]) -> BuiltRunner:
    folder = platformdirs.user_cache_path(APP_NAME) / "runner"
    folder.mkdir(parents=True, exist_ok=True)
    # two processes may build at once: each builds aside, and the same build has the same bytes
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        built = build(Path(aside))
        kept = folder / built.build / built.path.name
        kept.parent.mkdir(exist_ok=True)
        built.path.replace(kept)
    return replace(built, path=kept)


@dataclass(frozen=True)
class IpaFacts:
    """What an IPA says of itself. None, or no engines: it does not say, as an app that is not our runner."""

    bundle_id: str
    build: str
    version: str
    runner: str | None
    platform: str | None
    variant: str
    commit: str | None
    ballast_bytes: int | None
    engines: dict[str, str]
    entitlements: dict[str, object]


def read_ipa(path: Path) -> BuiltRunner:
    """Who an IPA says it is. Raises UsageError when it is no app, or of a variant that nobody knows."""
    facts = show_ipa(path)
    if facts.variant not in list(Variant):
        known = ", ".join(Variant)
        raise UsageError(f"{path}: says that it is the variant {facts.variant!a}; there are {known}")
    return BuiltRunner(
        path, facts.bundle_id, facts.build, facts.version, Variant(facts.variant), facts.commit, facts.ballast_bytes
    )


def show_ipa(path: Path) -> IpaFacts:
    """Everything an IPA says of itself. Raises UsageError when it is no app."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _is_info_plist(name)]
            if len(names) != 1:
                raise UsageError(f"{path}: an .ipa has one Payload/<name>.app/Info.plist; this has {len(names)}")
            info = _plist(archive, names[0])
            entitlements_name = names[0].replace("Info.plist", ENTITLEMENTS_FILE)
            entitlements = _plist(archive, entitlements_name) if entitlements_name in archive.namelist() else {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, plistlib.InvalidFileException, ExpatError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not an app (.ipa): {error}") from error
    about = info.get(ABOUT_KEY)
    told: dict[str, object] = about if isinstance(about, dict) else {}
    engines = told.get("engines")
    try:
        return IpaFacts(
            bundle_id=str(info["CFBundleIdentifier"]),
            build=str(info["CFBundleVersion"]),
            version=str(info["CFBundleShortVersionString"]),
            runner=_text(told.get("runner")),
            platform=_text(told.get("platform")),
            variant=_text(told.get("variant")) or variant_of(entitlements),
            commit=_text(told.get("commit")),
            ballast_bytes=_size(told.get("ballast_bytes")),
            engines={str(name): str(version) for name, version in engines.items()} if isinstance(engines, dict) else {},
            entitlements=entitlements,
        )
    except KeyError as error:
        raise UsageError(f"{path}: not an app (.ipa): its Info.plist has no {error}") from error


def _plist(archive: zipfile.ZipFile, name: str) -> dict[str, object]:
    if archive.getinfo(name).file_size > MAX_PLIST_BYTES:
        raise UsageError(f"{archive.filename}: {name} has more than {MAX_PLIST_BYTES} bytes")
    value = plistlib.loads(archive.read(name))
    if not isinstance(value, dict):
        raise TypeError(f"{name} is no dictionary")
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_info_plist(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 3 and parts[0] == "Payload" and parts[1].endswith(".app") and parts[2] == "Info.plist"
