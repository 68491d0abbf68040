"""Clients of a virtual phone's classic services, opened as pymobiledevice3 opens them and surely closed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pymobiledevice3.lockdown import UsbmuxLockdownClient, create_using_usbmux
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from harness.virtual.running import RunningPhone

BUNDLE_ID = "com.example.probe"
"""Of the app that `make_ipa` makes."""


@contextlib.asynccontextmanager
async def lockdown(phone: RunningPhone, **options: Any) -> AsyncIterator[UsbmuxLockdownClient]:
    """A client of lockdownd, paired unless the options say otherwise, and surely closed."""
    client = await create_using_usbmux(serial=phone.udid, **{"autopair": True, **options})
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def installed(phone: RunningPhone, package: Path) -> AsyncIterator[UsbmuxLockdownClient]:
    """A paired client of a phone on which the package is installed."""
    async with lockdown(phone) as client:
        async with InstallationProxyService(client) as installer:
            await installer.install_from_local(package, developer=True)
        yield client
