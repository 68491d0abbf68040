"""com.apple.mobile.installation_proxy: installs what was staged over AFC, removes it, and tells what is there."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.virtual import ipa
from harness.virtual.apps import BadBundle, InstalledApp, read_info
from harness.virtual.events import InstallRequested, NotificationPosted
from harness.virtual.services.conversation import receive_plist, send_plist
from harness.virtual.services.guard import hang
from harness.virtual.services.notification_proxy import APP_INSTALLED, APP_UNINSTALLED
from harness.virtual.wire.plist import Plist, PlistFrameError

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream

NAME = "com.apple.mobile.installation_proxy"
BROWSE_AT_ONCE = 20
# MISErrorDomain-like details clients print; 3 is what a package that cannot be read gives
EXTRACTION_FAILED_DETAIL = 3
_BEFORE_UNPACKING = (("CreatingStagingDirectory", 5), ("ExtractingPackage", 15))
_BEFORE_ADOPTING = (
    ("InspectingPackage", 20),
    ("TakingInstallLock", 20),
    ("PreflightingApplication", 30),
    ("InstallingEmbeddedProfile", 30),
    ("VerifyingApplication", 40),
    ("CreatingContainer", 50),
)
_AFTER_ADOPTING = (
    ("InstallingApplication", 60),
    ("PostflightingApplication", 70),
    ("SandboxingApplication", 80),
    ("GeneratingApplicationMap", 90),
)


class _Refused(Exception):
    """An answer with `Error`: its name and a sentence for the person who reads it."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(description)
        self.name = name


async def serve(stream: Stream, phone: Phone) -> None:
    """Answers commands until the client goes."""
    while True:
        try:
            request = await receive_plist(stream)
        except PlistFrameError:
            return
        if request is None:
            return
        command = request.get("Command")
        options = request.get("ClientOptions")
        options = options if isinstance(options, dict) else {}
        try:
            if command in ("Install", "Upgrade"):
                await _install(stream, phone, request)
            elif command == "Uninstall":
                await _uninstall(stream, phone, request)
            elif command == "Browse":
                await _browse(stream, phone, options)
            elif command == "Lookup":
                found = {app.bundle_id: _attributes(app, options) for app in _selected(phone, options)}
                await send_plist(stream, {"Status": "Complete", "LookupResult": found})
            elif command == "CheckCapabilitiesMatch":
                await send_plist(stream, {"Status": "Complete", "LookupResult": True})
            else:
                raise _Refused("UnknownCommand", f"no command {command!r}")
        except _Refused as refusal:
            answer = {"Error": refusal.name, "ErrorDescription": str(refusal), "ErrorDetail": EXTRACTION_FAILED_DETAIL}
            await send_plist(stream, answer)


async def _install(stream: Stream, phone: Phone, request: Plist) -> None:
    phone.events.emit(InstallRequested())
    if NAME in phone.switches.hanging_services:
        # a fault of this very moment
        await hang(stream)
        return
    package = _staged(phone, request.get("PackagePath"))
    staging = phone.apps.staging / uuid.uuid4().hex
    staging.mkdir()
    try:
        await _progress(stream, _BEFORE_UNPACKING)
        try:
            bundle = await asyncio.to_thread(ipa.unpack, package, staging)
            info = read_info(bundle)
        except BadBundle as error:
            raise _Refused("PackageExtractionFailed", str(error)) from error
        except OSError as error:
            raise _Refused("PackageExtractionFailed", error.strerror or str(error)) from error
        await _progress(stream, _BEFORE_ADOPTING)
        # an app that runs does not survive its own upgrade
        await phone.processes.kill_bundle(str(info["CFBundleIdentifier"]))
        try:
            phone.apps.adopt(bundle)
        except BadBundle as error:
            raise _Refused("ApplicationVerificationFailed", str(error)) from error
        await _progress(stream, _AFTER_ADOPTING)
        phone.events.emit(NotificationPosted(APP_INSTALLED))
        await send_plist(stream, {"Status": "Complete"})
    finally:
        await asyncio.to_thread(ipa.discard, staging)


async def _uninstall(stream: Stream, phone: Phone, request: Plist) -> None:
    bundle_id = request.get("ApplicationIdentifier")
    if not isinstance(bundle_id, str):
        raise _Refused("MissingBundleIdentifier", "ApplicationIdentifier is missing")
    app = phone.apps.get(bundle_id)
    if app is not None and app.kind == "System":
        raise _Refused("UninstallProhibited", f"{bundle_id} is an app of the system")
    await send_plist(stream, {"Status": "RemovingApplication", "PercentComplete": 50})
    await phone.processes.kill_bundle(bundle_id)
    await asyncio.to_thread(phone.apps.remove, bundle_id)
    phone.events.emit(NotificationPosted(APP_UNINSTALLED))
    await send_plist(stream, {"Status": "Complete"})


async def _browse(stream: Stream, phone: Phone, options: Plist) -> None:
    rows = [_attributes(app, options) for app in _selected(phone, options)]
    for index in range(0, len(rows), BROWSE_AT_ONCE):
        part = rows[index : index + BROWSE_AT_ONCE]
        place = {"CurrentIndex": index, "CurrentAmount": len(part), "Total": len(rows)}
        await send_plist(stream, {"Status": "BrowsingApplications", **place, "CurrentList": part})
    await send_plist(stream, {"Status": "Complete"})


async def _progress(stream: Stream, stages: tuple[tuple[str, int], ...]) -> None:
    for stage, percent in stages:
        await send_plist(stream, {"Status": stage, "PercentComplete": percent})


def _staged(phone: Phone, raw: object) -> Path:
    """The package a client has put under Media; refused when it is not there or elsewhere."""
    if not isinstance(raw, str) or "\0" in raw:
        raise _Refused("MissingPackagePath", "PackagePath is missing")
    media = phone.state.media.resolve()
    package = Path(os.path.normpath(media / raw.lstrip("/"))).resolve()
    if not package.is_relative_to(media) or not package.is_file():
        raise _Refused("PackageExtractionFailed", f"there is no package {raw[:200]!r} in the phone's Media")
    return package


def _selected(phone: Phone, options: Plist) -> list[InstalledApp]:
    kind = options.get("ApplicationType", "Any")
    wanted = options.get("BundleIDs")
    identifiers = set(map(str, wanted)) if isinstance(wanted, list) and wanted else None
    return [
        app
        for app in phone.apps.all()
        if kind in ("Any", app.kind) and (identifiers is None or app.bundle_id in identifiers)
    ]


def _attributes(app: InstalledApp, options: Plist) -> dict[str, Any]:
    everything: dict[str, Any] = {
        # clients count on it; an app without one is shown under its bundle's name
        "CFBundleDisplayName": app.info.get("CFBundleName", app.executable_name),
        **app.info,
        "ApplicationType": app.kind,
        "Path": app.device_bundle,
        "Container": app.device_container,
        "EnvironmentVariables": {
            "HOME": app.device_container,
            "TMPDIR": f"{app.device_container}/tmp",  # noqa: S108  # a path of the phone, not of this machine
            "CFFIXED_USER_HOME": app.device_container,
        },
        "Entitlements": dict(app.entitlements),
        "SignerIdentity": "Apple Development: Virtual iPhone" if app.kind == "User" else "Apple iPhone OS",
        "UIFileSharingEnabled": app.info.get("UIFileSharingEnabled") is True,
        "IsUpgradeable": app.kind == "User",
        "IsAppClip": False,
        "ProfileValidated": True,
    }
    wanted = options.get("ReturnAttributes")
    if isinstance(wanted, list) and wanted:
        return {name: everything[name] for name in wanted if isinstance(name, str) and name in everything}
    return everything
