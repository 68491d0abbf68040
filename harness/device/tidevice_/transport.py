"""`Transport` over tidevice: puts the pieces of this package together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version
from tidevice.exceptions import MuxReplyError  # type: ignore[import-untyped]  # tidevice ships no types

from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts
from harness.core.telemetry import Reading
from harness.device import limits
from harness.device.errors import StepError
from harness.device.interface import Capability, Container, InstalledApp, PhoneCondition, Progress
from harness.device.tidevice_ import apps
from harness.device.tidevice_.condition import read_condition
from harness.device.tidevice_.developer import DeveloperServices
from harness.device.tidevice_.files import app_container, crash_reports, media_files
from harness.device.tidevice_.reach import Reach
from harness.device.tidevice_.steps import step

NAME = "tidevice"
MAX_REPORT_NAMES = 20_000
STAGING_FOLDER = "/PublicStaging"
INSTALL_REMEDY = "Is the app signed for this phone (docs/real-iphone.md), and is there free storage?"
_WITHOUT_DEVELOPER_SERVICES = frozenset(Capability) - {Capability.LAUNCH, Capability.MONITOR}
# tidevice speaks to the developer services through lockdown only, where they are from 14 until 17
_DEVELOPER_SERVICES_FROM, _DEVELOPER_SERVICES_UNTIL = Version("14.0"), Version("17.0")


def capabilities_on(os_version: str) -> frozenset[Capability]:
    """What tidevice can do on an iOS."""
    try:
        version = Version(os_version)
    except InvalidVersion:
        return _WITHOUT_DEVELOPER_SERVICES
    developer = _DEVELOPER_SERVICES_FROM <= version < _DEVELOPER_SERVICES_UNTIL
    return frozenset(Capability) if developer else _WITHOUT_DEVELOPER_SERVICES


class TideviceTransport:
    """`Transport` (harness.device.interface) over tidevice, for a phone that is paired already.

    Makes no connection before the first step, and keeps none but that to the developer services.
    """

    def __init__(self, facts: PhoneFacts, pair_record: Mapping[str, Any], usbmux_address: str | None = None) -> None:
        """`pair_record` as another library has agreed on it. Raises StepError when it has no key."""
        self._facts = facts
        with step("read the pair record", facts.udid, limits.SERVICE_LIMIT_S, Outcome.NOT_READY):
            self._reach = Reach(facts.udid, pair_record, usbmux_address)
        self._developer = DeveloperServices(self._reach)
        self._capabilities = capabilities_on(facts.os_version)

    @property
    def name(self) -> str:
        return NAME

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All below iOS 17; launch and monitor are missing from there on."""
        return self._capabilities

    @property
    def facts(self) -> PhoneFacts:
        return self._facts

    async def installed_app(self, bundle_id: str) -> InstalledApp | None:
        with step("look up the runner app", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.INSTALL_FAILED):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                return await self._reach.do(lambda phone: apps.look_up(phone, bundle_id))

    async def install(self, ipa: Path, progress: Progress) -> None:
        staged = f"{STAGING_FOLDER}/{ipa.name}"
        total = ipa.stat().st_size
        loop = asyncio.get_running_loop()

        def tell(percent: int) -> None:
            loop.call_soon_threadsafe(progress, "install app", percent, 100)

        with step("install", self._facts.udid, limits.INSTALL_LIMIT_S, Outcome.INSTALL_FAILED, INSTALL_REMEDY):
            async with asyncio.timeout(limits.INSTALL_LIMIT_S):
                async with media_files(self._reach) as media:
                    await media.make_folder(STAGING_FOLDER)
                    await media.write(staged, ipa, progress=lambda done: progress("upload app", done, total))
                try:
                    await self._reach.do(lambda phone: apps.install(phone, staged, tell))
                except apps.InstallRefused as refusal:
                    text = f"the phone refused {ipa.name}: {refusal}"
                    raise self._error("install", text, INSTALL_REMEDY, Outcome.INSTALL_FAILED) from refusal

    def container(self, bundle_id: str) -> AbstractAsyncContextManager[Container]:
        return app_container(self._reach, bundle_id)

    async def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        self._need(Capability.LAUNCH, "launch")
        return await self._developer.launch(bundle_id, environment)

    async def kill(self, pid: int) -> None:
        self._need(Capability.LAUNCH, "kill the app")
        await self._developer.kill(pid)

    async def is_running(self, pid: int) -> bool:
        self._need(Capability.LAUNCH, "ask whether the app runs")
        return await self._developer.is_running(pid)

    async def wait_ended(self, pid: int) -> str | None:
        self._need(Capability.LAUNCH, "observe the app")
        return await self._developer.wait_ended(pid)

    async def watch_process(self, pid: int, interval_ms: int) -> AsyncIterator[Reading]:
        self._need(Capability.MONITOR, "watch the app's memory")
        async with aclosing(self._developer.watch_process(pid, interval_ms)) as readings:
            async for reading in readings:
                yield reading

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        with step("connect to the runner", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.LAUNCH_FAILED):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                try:
                    return await self._reach.connect(port)
                except MuxReplyError as error:
                    if error.reply_code.name == "ConnectionRefused":
                        return None
                    raise

    async def report_names(self) -> frozenset[str]:
        with step("list crash reports", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            async with crash_reports(self._reach) as reports:
                names = await reports.names("/")
        return frozenset(name for name in names[:MAX_REPORT_NAMES] if name.endswith(".ips"))

    async def read_report(self, name: str, max_bytes: int) -> bytes:
        with step(f"read crash report {name}", self._facts.udid, limits.TRANSFER_LIMIT_S, Outcome.HARNESS_ERROR):
            async with crash_reports(self._reach) as reports:
                contents = await reports.read(f"/{name}", max_bytes)
        return b"" if contents is None else contents.data

    async def condition(self) -> PhoneCondition:
        with step("read the phone's condition", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.NOT_READY):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                version = Version(self._facts.os_version)
                return await self._reach.do(lambda phone: read_condition(phone, version))

    async def is_present(self) -> bool:
        with step("list", "usbmuxd", limits.ATTACH_LIMIT_S, Outcome.LOST):
            async with asyncio.timeout(limits.ATTACH_LIMIT_S):
                return await self._reach.do(lambda phone: self._facts.udid in phone.usbmux.device_udid_list())

    async def close(self) -> None:
        self._developer.close()

    def _need(self, capability: Capability, name: str) -> None:
        if capability not in self._capabilities:
            text = f"tidevice cannot do that on iOS {self._facts.os_version}, only from 14 until 17"
            raise self._error(name, text, "Use --transport=auto", Outcome.NOT_READY)

    def _error(self, name: str, text: str, remedy: str, outcome: Outcome) -> StepError:
        return StepError(name, self._facts.udid, text, remedy, outcome)
