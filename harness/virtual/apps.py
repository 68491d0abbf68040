"""The apps on a phone: bundles, data containers, what Info.plist and the entitlements say.

In the home directory: `Bundles/<bundle id>/<uuid>/<Name>.app` with a link `current` to the uuid in force (replacing
the link is what makes an upgrade atomic), and `Containers/<bundle id>/` which an upgrade leaves alone.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.virtual.wire.plist import Plist, PlistFrameError, parse_dictionary

# Apple's own alphabet for bundle identifiers; it also makes them safe as names of directories
BUNDLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,154}", re.ASCII)
PLIST_LIMIT_BYTES = 1024 * 1024
ENTITLEMENTS_FILE = "archived-expanded-entitlements.xcent"
CONTAINER_FOLDERS = ("Documents", "Library/Caches", "Library/Preferences", "tmp")
TEAM = "VIRTUAL000"


class BadBundle(ValueError):
    """A bundle this phone will not take; the message names what is wrong with it."""


@dataclass(frozen=True)
class InstalledApp:
    """One app. `executable` and `container` are paths of this machine, `device_*` those a client is told."""

    bundle_id: str
    kind: str  # "User" or "System"
    info: Mapping[str, Any]
    entitlements: Mapping[str, Any]
    bundle: Path | None
    executable: Path | None
    container: Path
    device_bundle: str
    device_container: str

    @property
    def executable_name(self) -> str:
        """CFBundleExecutable: also the process's name."""
        return str(self.info["CFBundleExecutable"])

    @property
    def device_executable(self) -> str:
        """The executable's path as a client sees it in process lists and reports."""
        return f"{self.device_bundle}/{self.executable_name}"

    @property
    def developer_signed(self) -> bool:
        """Whether the build may be debugged: what house_arrest asks before it vends a whole container."""
        return self.entitlements.get("get-task-allow") is True

    def make_container(self) -> None:
        """Makes the folders every app finds in its container."""
        for folder in CONTAINER_FOLDERS:
            (self.container / folder).mkdir(parents=True, exist_ok=True)


def read_info(bundle: Path) -> Plist:
    """A bundle's Info.plist, checked for what an installation needs; BadBundle names what is wrong."""
    info = _read_plist(bundle / "Info.plist")
    bundle_id, executable = info.get("CFBundleIdentifier"), info.get("CFBundleExecutable")
    if not isinstance(bundle_id, str) or not BUNDLE_ID.fullmatch(bundle_id):
        raise BadBundle(f"CFBundleIdentifier {bundle_id!r} is no bundle identifier")
    if not isinstance(executable, str) or "/" in executable or executable in ("", ".", "..") or "\0" in executable:
        raise BadBundle(f"CFBundleExecutable {executable!r} is no file name")
    return info


def _read_plist(file: Path) -> Plist:
    if file.is_symlink() or not file.is_file():
        raise BadBundle(f"{file.name} is missing or no plain file")
    if file.stat().st_size > PLIST_LIMIT_BYTES:
        raise BadBundle(f"{file.name} exceeds {PLIST_LIMIT_BYTES} bytes")
    try:
        return parse_dictionary(file.read_bytes())
    except PlistFrameError as error:
        raise BadBundle(f"{file.name}: {error}") from error


class AppStore:
    """Everything installed, read back from the home directory at start."""

    def __init__(self, home: Path) -> None:
        self._bundles = home / "Bundles"
        self._containers = home / "Containers"
        self.staging = home / "Staging"
        shutil.rmtree(self.staging, ignore_errors=True)
        for folder in (self._bundles, self._containers, self.staging):
            folder.mkdir(parents=True, exist_ok=True)
        self._apps = {app.bundle_id: app for app in self._system_apps()}
        for folder in sorted(self._bundles.iterdir()):
            self._load(folder)

    def get(self, bundle_id: str) -> InstalledApp | None:
        """The app of that identifier, or None."""
        return self._apps.get(bundle_id)

    def all(self) -> list[InstalledApp]:
        """Every app, by identifier."""
        return [self._apps[bundle_id] for bundle_id in sorted(self._apps)]

    def adopt(self, bundle: Path) -> InstalledApp:
        """Installs an unpacked bundle (a directory under `staging`, moved away from there), or upgrades to it.

        Raises BadBundle. The data container is kept; the old bundle goes once nothing points to it any more.
        """
        info = read_info(bundle)
        bundle_id = str(info["CFBundleIdentifier"])
        known = self._apps.get(bundle_id)
        if known is not None and known.kind == "System":
            raise BadBundle(f"{bundle_id} is an app of the system")
        executable = bundle / str(info["CFBundleExecutable"])
        if executable.is_symlink() or not executable.is_file():
            raise BadBundle(f"the executable {executable.name!r} is missing or no plain file")
        executable.chmod(0o755)
        entitlements = self._entitlements(bundle, bundle_id)
        folder = self._bundles / bundle_id
        folder.mkdir(exist_ok=True)
        identity = str(uuid.uuid4()).upper()
        (folder / identity).mkdir()
        bundle.rename(folder / identity / bundle.name)
        link = folder / f"{identity}.link"
        link.symlink_to(identity)
        link.replace(folder / "current")
        app = self._describe(folder / identity / bundle.name, info, entitlements)
        app.make_container()
        self._apps[bundle_id] = app
        self._sweep(folder)
        return app

    def remove(self, bundle_id: str) -> bool:
        """Removes a user's app with its data; False when there is none."""
        app = self._apps.get(bundle_id)
        if app is None or app.kind != "User":
            return False
        del self._apps[bundle_id]
        (self._bundles / bundle_id / "current").unlink(missing_ok=True)
        shutil.rmtree(self._bundles / bundle_id, ignore_errors=True)
        shutil.rmtree(app.container, ignore_errors=True)
        return True

    def _load(self, folder: Path) -> None:
        """Reads one folder of `Bundles` back; one without a bundle in force is the rest of a broken installation."""
        current = folder / "current"
        if not current.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
            return
        for bundle in (folder / current.readlink()).glob("*.app"):
            info = read_info(bundle)
            app = self._describe(bundle, info, self._entitlements(bundle, folder.name))
            self._apps[app.bundle_id] = app
        self._sweep(folder)

    @staticmethod
    def _sweep(folder: Path) -> None:
        keep = {"current", os.fspath((folder / "current").readlink())}
        for entry in folder.iterdir():
            if entry.name in keep:
                continue
            if entry.is_symlink():
                entry.unlink()
            else:
                shutil.rmtree(entry, ignore_errors=True)

    def _describe(self, bundle: Path, info: Plist, entitlements: Plist) -> InstalledApp:
        bundle_id = str(info["CFBundleIdentifier"])
        data = str(uuid.uuid5(uuid.NAMESPACE_DNS, bundle_id)).upper()
        return InstalledApp(
            bundle_id=bundle_id,
            kind="User",
            info=info,
            entitlements=entitlements,
            bundle=bundle,
            executable=bundle / str(info["CFBundleExecutable"]),
            container=self._containers / bundle_id,
            device_bundle=f"/private/var/containers/Bundle/Application/{bundle.parent.name}/{bundle.name}",
            device_container=f"/private/var/mobile/Containers/Data/Application/{data}",
        )

    @staticmethod
    def _entitlements(bundle: Path, bundle_id: str) -> Plist:
        """What the app was signed with. A real phone reads the signature; here it is the file Xcode archives beside."""
        file = bundle / ENTITLEMENTS_FILE
        given = _read_plist(file) if file.exists() or file.is_symlink() else {}
        identity = {"application-identifier": f"{TEAM}.{bundle_id}", "com.apple.developer.team-identifier": TEAM}
        return {"get-task-allow": True, **identity, **given}

    def _system_apps(self) -> list[InstalledApp]:
        return [
            self._system_app("com.apple.Preferences", "Preferences", "Settings"),
            self._system_app("com.apple.mobilesafari", "MobileSafari", "Safari"),
        ]

    def _system_app(self, bundle_id: str, name: str, shown: str) -> InstalledApp:
        return InstalledApp(
            bundle_id=bundle_id,
            kind="System",
            info={
                "CFBundleIdentifier": bundle_id,
                "CFBundleExecutable": name,
                "CFBundleName": name,
                "CFBundleDisplayName": shown,
                "CFBundleVersion": "1",
                "CFBundleShortVersionString": "1.0",
            },
            entitlements={"application-identifier": bundle_id},
            bundle=None,
            executable=None,
            container=self._containers / bundle_id,
            device_bundle=f"/Applications/{name}.app",
            device_container=f"/private/var/mobile/Containers/Data/Application/{name}",
        )
