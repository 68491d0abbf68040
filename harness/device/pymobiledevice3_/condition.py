"""What a phone says of itself: battery, storage, lock, Developer Mode, developer image, wall clock.

Cheap questions go to lockdownd, whose connection is open anyway; the battery's temperature has a service of its own,
which is kept open; the developer image, which a session mounts once, is asked about until it is there and again after
`doubt`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from packaging.version import Version
from pymobiledevice3.exceptions import MissingValueError, PyMobileDevice3Exception
from pymobiledevice3.lockdown import LockdownClient
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.mobile_image_mounter import MobileImageMounterService

from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts
from harness.device import limits
from harness.device.errors import StepError
from harness.device.interface import PhoneCondition
from harness.device.pymobiledevice3_.steps import step
from harness.device.values import celsius, clock_offset_ns, percent, whole, yes_or_no

BATTERY_DOMAIN = "com.apple.mobile.battery"
DISK_DOMAIN = "com.apple.disk_usage"
DEVELOPER_MODE_DOMAIN = "com.apple.security.mac.amfi"
DEVELOPER_MODE_SINCE = Version("16.0")
PERSONALIZED_IMAGE_SINCE = Version("17.0")
# A kept connection may have died with the cable; a fresh one is then opened once.
DIAGNOSTICS_ATTEMPTS = 2


class ConditionReader:
    """Of one phone; raises StepError (not_ready) when the phone or the cable is in the way."""

    def __init__(self, lockdown: LockdownClient, facts: PhoneFacts) -> None:
        self._lockdown = lockdown
        self._facts = facts
        self._version = Version(facts.os_version)
        self._diagnostics: DiagnosticsService | None = None
        self._image_seen = False

    def doubt(self) -> None:
        """The phone has refused something: what was found once is asked about again."""
        self._image_seen = False

    async def read(self) -> PhoneCondition:
        """All of it; what the phone does not tell is None."""
        name = "read the phone's condition"
        with step(name, self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.NOT_READY):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                offset_ns = await self._clock_offset_ns()
                battery = await self._domain(BATTERY_DOMAIN)
                disk = await self._domain(DISK_DOMAIN)
                locked = yes_or_no(await self._value(None, "PasswordProtected"))
                developer_mode = await self._developer_mode()
                return PhoneCondition(
                    battery_celsius=await self._battery_celsius(),
                    battery_percent=percent(battery.get("BatteryCurrentCapacity")),
                    charging=yes_or_no(battery.get("BatteryIsCharging")),
                    free_bytes=whole(disk.get("TotalDataAvailable")),
                    locked=locked,
                    developer_mode=developer_mode,
                    developer_image=None if developer_mode is False else await self._developer_image(),
                    clock_offset_ns=offset_ns,
                )

    async def _value(self, domain: str | None, key: str) -> Any:
        try:
            return await self._lockdown.get_value(domain, key)
        except MissingValueError:
            return None

    async def _domain(self, domain: str) -> dict[str, Any]:
        values = await self._lockdown.get_value(domain)
        return values if isinstance(values, dict) else {}

    async def _clock_offset_ns(self) -> int | None:
        """The phone's wall clock was read in the middle of the round trip."""
        sent_ns = time.time_ns()
        told = await self._value(None, "TimeIntervalSince1970")
        received_ns = time.time_ns()
        return clock_offset_ns(told, sent_ns=sent_ns, received_ns=received_ns)

    async def _developer_mode(self) -> bool | None:
        if self._version < DEVELOPER_MODE_SINCE:
            return None
        return yes_or_no(await self._value(DEVELOPER_MODE_DOMAIN, "DeveloperModeStatus"))

    async def _developer_image(self) -> bool:
        if not self._image_seen:
            kind = "Personalized" if self._version >= PERSONALIZED_IMAGE_SINCE else "Developer"
            async with MobileImageMounterService(self._lockdown) as mounter:
                self._image_seen = await mounter.is_image_mounted(kind)
        return self._image_seen

    async def _battery_celsius(self) -> float | None:
        for attempt in range(DIAGNOSTICS_ATTEMPTS):
            if self._diagnostics is None:
                self._diagnostics = DiagnosticsService(self._lockdown)
            try:
                battery = await self._diagnostics.ioregistry(ioclass="AppleSmartBattery")
                break
            except BaseException as error:
                # a broken connection, or one on which an answer is still under way: neither is of use any more
                await self.close()
                if not isinstance(error, (PyMobileDevice3Exception, OSError)) or attempt + 1 == DIAGNOSTICS_ATTEMPTS:
                    raise
        return celsius(battery.get("Temperature")) if isinstance(battery, dict) else None

    async def close(self) -> None:
        """Lets the kept connection go."""
        diagnostics, self._diagnostics = self._diagnostics, None
        if diagnostics is not None:
            with contextlib.suppress(PyMobileDevice3Exception, StepError, OSError):
                await diagnostics.close()
