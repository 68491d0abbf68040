"""The parts of an app bundle that every edition of the runner has in common, and the IPA around them.

The same content gives the same bytes; the build number is a digest of what went in, so that the host sees whether the
phone has this very build.
"""

from __future__ import annotations

import hashlib
import io
import plistlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.job import Variant

BUNDLE_ID = "org.iphone-load-harness.runner"
"""Of the plain variant; the others' has their name behind it."""
EXECUTABLE = "Runner"
BUILD_INFO = "build_info.json"
BUILD_DIGITS = 12
MINIMUM_IOS = "17.0"
ABOUT_KEY = "LoadHarness"
"""Our dictionary in Info.plist: what `harness runner show` tells. The iOS project writes the same."""
ENTITLEMENTS_FILE = "archived-expanded-entitlements.xcent"
INCREASED_LIMIT = "com.apple.developer.kernel.increased-memory-limit"
EXTENDED_ADDRESSING = "com.apple.developer.kernel.extended-virtual-addressing"
WALLS_MOVED: Mapping[Variant, tuple[str, ...]] = {
    Variant.PLAIN: (),
    Variant.EXTENDED_ADDRESSING: (EXTENDED_ADDRESSING,),
    Variant.INCREASED_LIMIT: (INCREASED_LIMIT,),
    Variant.BOTH: (INCREASED_LIMIT, EXTENDED_ADDRESSING),
}
"""Variant → the entitlements that it has beyond the plain one's."""

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip entry can carry: the same for every build."""
UNIX_SYSTEM = 3
FILE_MODE = 0o644
EXECUTABLE_MODE = 0o755

Entries = Mapping[str, tuple[bytes, int]]
"""Name inside the bundle → bytes and mode."""


class BuildError(HarnessError):
    """The app cannot be built here; the message says why."""


@dataclass(frozen=True)
class BuiltRunner:
    """A finished IPA. ``build`` is what the installed app reports as CFBundleVersion and in its ``hello``."""

    path: Path
    bundle_id: str
    build: str
    version: str
    variant: Variant
    commit: str | None = None
    """That it was built from; None: it does not say."""
    ballast_bytes: int | None = None
    """Memory that it occupies on purpose; None: it does not say."""


@dataclass(frozen=True)
class About:
    """What a build is, beside its number: the dictionary ``ABOUT_KEY`` of Info.plist."""

    runner: str
    """``swift`` or ``python``."""
    platform: str
    """``linux`` (a virtual iPhone's) or ``ios``."""
    engines: Mapping[str, str]
    """Name → version."""
    commit: str | None
    ballast_bytes: int | None = None
    """Memory that the app occupies on purpose; None: not said, as of an app that Xcode builds."""

    def to_plist(self, variant: str) -> dict[str, object]:
        """A plist has no null: an unknown commit is absent."""
        known: dict[str, object] = {"runner": self.runner, "platform": self.platform, "variant": str(variant)}
        known["engines"] = dict(self.engines)
        if self.commit is not None:
            known["commit"] = self.commit
        if self.ballast_bytes is not None:
            known["ballast_bytes"] = self.ballast_bytes
        return known


def entitlements_of(variant: Variant) -> dict[str, bool]:
    """A developer's build's entitlements."""
    return {"get-task-allow": True, **dict.fromkeys(WALLS_MOVED[variant], True)}


def variant_of(entitlements: Mapping[str, object]) -> Variant:
    """The build variant by the entitlements that move memory's walls."""
    granted = {name for name in WALLS_MOVED[Variant.BOTH] if entitlements.get(name)}
    return next(variant for variant, names in WALLS_MOVED.items() if set(names) == granted)


def bundle_id_of(variant: Variant) -> str:
    """An id for each, so that all can be on one phone at once; the iOS project writes the same."""
    return BUNDLE_ID if variant is Variant.PLAIN else f"{BUNDLE_ID}.{variant}"


def ipa_name(variant: Variant, ballast_bytes: int | None = None) -> str:
    """As the iOS build names them; one with a ballast must not lie where the ordinary one is looked for."""
    ballast = f"-ballast-{ballast_bytes}" if ballast_bytes else ""
    return f"{EXECUTABLE}-{variant}{ballast}.ipa"


def digest(parts: Mapping[str, bytes]) -> str:
    """Digest of names and contents, in order, each with its length so that no two divisions are alike."""
    whole = hashlib.sha256()
    for name, data in parts.items():
        whole.update(f"{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()[:BUILD_DIGITS]


def write_ipa(
    target_dir: Path, *, variant: Variant, version: str, build: str, about: About, entries: Entries
) -> BuiltRunner:
    """Write the variant's IPA into ``target_dir`` (made if absent); ``entries`` join what every bundle has."""
    info = _info_plist(variant, version, build, about.to_plist(variant))
    bundle: dict[str, tuple[bytes, int]] = {
        "Info.plist": (plistlib.dumps(info), FILE_MODE),
        **entries,
        ENTITLEMENTS_FILE: (plistlib.dumps(entitlements_of(variant)), FILE_MODE),
    }
    ipa = zip_of({f"Payload/{EXECUTABLE}.app/{name}": entry for name, entry in bundle.items()})
    target_dir.mkdir(parents=True, exist_ok=True)
    path = target_dir / ipa_name(variant, about.ballast_bytes)
    part = path.with_suffix(".part")
    part.write_bytes(ipa)
    part.replace(path)
    return BuiltRunner(path, bundle_id_of(variant), build, version, variant, about.commit, about.ballast_bytes)


def _info_plist(variant: Variant, version: str, build: str, about: dict[str, object]) -> dict[str, object]:
    return {
        "CFBundleIdentifier": bundle_id_of(variant),
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
        ABOUT_KEY: about,
    }


def zip_of(entries: Entries) -> bytes:
    """A zip with fixed times, in the order given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, (data, mode) in entries.items():
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.create_system = UNIX_SYSTEM
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()
