"""Apps on a phone, by installation_proxy. Blocking; tidevice's own calls print, and cannot report progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.device.interface import InstalledApp
from harness.device.tidevice_.phone import TidevicePhone
from harness.device.values import plain, whole

SERVICE = "com.apple.mobile.installation_proxy"


class InstallRefused(Exception):
    """The phone's own reason."""


def look_up(phone: TidevicePhone, bundle_id: str) -> InstalledApp | None:
    proxy = phone.start_service(SERVICE)
    answer: Any = proxy.send_recv_packet({"Command": "Lookup", "ClientOptions": {"BundleIDs": [bundle_id]}})
    found = answer.get("LookupResult")
    app = found.get(bundle_id) if isinstance(found, dict) else None
    if not isinstance(app, dict):
        return None
    build, process, entitlements = (app.get(key) for key in ("CFBundleVersion", "CFBundleExecutable", "Entitlements"))
    return InstalledApp(
        bundle_id,
        build=None if build is None else str(build),
        entitlements=plain(entitlements) if isinstance(entitlements, dict) else {},
        process=process if isinstance(process, str) and process else None,
    )


def install(phone: TidevicePhone, staged: str, progress: Callable[[int], None]) -> None:
    """Installs the package at `staged` in the Media folder; `progress` gets percent. Raises InstallRefused."""
    proxy = phone.start_service(SERVICE)
    proxy.send_packet({"Command": "Install", "PackagePath": staged, "ClientOptions": {"PackageType": "Developer"}})
    while True:
        answer: Any = proxy.recv_packet()
        if "Error" in answer:
            told = ", ".join(str(answer[key]) for key in ("Error", "ErrorDescription") if key in answer)
            raise InstallRefused(told[:500])
        if answer.get("Status") == "Complete":
            return
        progress(whole(answer.get("PercentComplete")) or 0)
