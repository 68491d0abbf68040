"""`Transport` over pymobiledevice3: puts the pieces of this package together."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import ConnectionFailedError, PyMobileDevice3Exception
from pymobiledevice3.lockdown import LockdownClient, create_using_usbmux
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from harness.core.event_loop import forgive_second_close
from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts
from harness.core.telemetry import Reading
from harness.core.units import ByteCount
from harness.device import limits
from harness.device.errors import REPLUG, BrokenConnection, PhoneNotFound, StepError
from harness.device.interface import Capability, Container, InstalledApp, PhoneCondition, Progress
from harness.device.pymobiledevice3_.attached import SOCKET_VARIABLE, attached_phones, restore_address, to_its_end
from harness.device.pymobiledevice3_.condition import ConditionReader
from harness.device.pymobiledevice3_.developer import DeveloperServices
from harness.device.pymobiledevice3_.files import app_container, service_files
from harness.device.pymobiledevice3_.glance import facts_of
from harness.device.pymobiledevice3_.reports import CrashReports
from harness.device.pymobiledevice3_.steps import step
from harness.device.pymobiledevice3_.tunnel import DeveloperRoute, leads_there, route_of
from harness.device.values import plain, whole

NAME = "pymobiledevice3"
_DEVELOPER_SERVICES = frozenset({Capability.LAUNCH, Capability.MONITOR})
_WITHOUT_DEVELOPER_SERVICES = frozenset(Capability) - _DEVELOPER_SERVICES


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pymobiledevice3Transport:
    """`Transport` (harness.device.interface) over pymobiledevice3; make one with `open`."""

    def __init__(
        self,
        lockdown: LockdownClient,
        facts: PhoneFacts,
        route: DeveloperRoute,
        capabilities: frozenset[Capability],
        usbmux_address: str | None,
        former_address: str | None,
    ) -> None:
        self._lockdown = lockdown
        self._facts = facts
        self._capabilities = capabilities
        self._usbmux_address = usbmux_address
        self._former_address = former_address
        self._condition = ConditionReader(lockdown, facts)
        self._pair_record = lockdown.pair_record
        self._doubtful = False
        self._developer = DeveloperServices(lockdown, facts, route, self._condition.doubt, self._renew_session)
        self._reports = CrashReports(lockdown, facts.udid)

    @classmethod
    async def open(
        cls,
        udid: str,
        *,
        usbmux_address: str | None = None,
        settings: str = "",
        pair_records: Path | None = None,
        developer_route: DeveloperRoute | None = None,
    ) -> Pymobiledevice3Transport:
        """Pairs if need be (the person may have to tap Trust) and reads who the phone is.

        `developer_route` is for tests: another way to the developer services than the phone's iOS asks for.
        Raises PhoneNotFound when it is not attached, StepError (outcome not_ready) when it does not trust this host.
        """
        forgive_second_close()
        former = os.environ.get(SOCKET_VARIABLE)
        if usbmux_address is not None:
            os.environ[SOCKET_VARIABLE] = usbmux_address
        try:
            return await cls._open(udid, usbmux_address, settings, pair_records, developer_route, former)
        except BaseException:
            restore_address(former)
            raise

    @classmethod
    async def _open(
        cls,
        udid: str,
        usbmux_address: str | None,
        settings: str,
        pair_records: Path | None,
        route: DeveloperRoute | None,
        former: str | None,
    ) -> Pymobiledevice3Transport:
        if udid not in {phone.udid for phone in await attached_phones(usbmux_address)}:
            raise PhoneNotFound(f"phone {udid} is not attached; `harness devices` lists those that are")
        remedy = "Unlock the phone, tap Trust on it, and run again"
        with step("pair", udid, limits.PAIR_LIMIT_S, Outcome.NOT_READY, remedy):
            async with asyncio.timeout(limits.PAIR_LIMIT_S):
                lockdown = await create_using_usbmux(
                    serial=udid,
                    autopair=True,
                    pair_timeout=limits.PAIR_LIMIT_S / 2,
                    usbmux_address=usbmux_address,
                    pairing_records_cache_folder=pair_records,
                )
        facts = facts_of(udid, lockdown.all_values, settings)
        try:
            route = route or route_of(facts)
            open_way = await leads_there(route, udid)
        except BaseException:
            await lockdown.close()
            raise
        capabilities = _WITHOUT_DEVELOPER_SERVICES | (_DEVELOPER_SERVICES if open_way else frozenset())
        return cls(lockdown, facts, route, capabilities, usbmux_address, former)

    @property
    def name(self) -> str:
        return NAME

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Launch and monitor are missing where they take a tunneld (iOS 17.0 – 17.3) and none was there at the open."""
        return self._capabilities

    @property
    def pair_record(self) -> Mapping[str, Any]:
        """What the pairing agreed on, keys included; for another library on the same phone."""
        return dict(self._pair_record or {})

    @property
    def facts(self) -> PhoneFacts:
        return self._facts

    @contextmanager
    def _session_in_doubt(self) -> Iterator[None]:
        """After a cut the session is renewed, which also tells whether the phone still trusts this host."""
        try:
            yield
        except BrokenConnection:
            self._doubtful = True
            raise

    async def _renew_session(self) -> None:
        """Comes before whatever lockdownd is asked for.

        When a cable is pulled in the middle of a handshake, the library throws the pair record away and goes on as a
        stranger; the record is as good as before.
        """
        if self._lockdown.paired and not self._doubtful:
            return
        with step("renew the session", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.NOT_READY):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                self._lockdown.pair_record = self._pair_record
                await self._lockdown.areestablish_connection()
        self._doubtful = False
        if not self._lockdown.paired:
            text = "the phone does not trust this host any more"
            remedy = "Unlock the phone, tap Trust on it, and run again"
            raise StepError("renew the session", self._facts.udid, text, remedy, Outcome.NOT_READY)

    async def installed_app(self, bundle_id: str) -> InstalledApp | None:
        await self._renew_session()
        with (
            self._session_in_doubt(),
            step("look up the runner app", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.INSTALL_FAILED),
        ):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S), InstallationProxyService(self._lockdown) as proxy:
                app = (await proxy.get_apps(bundle_identifiers=[bundle_id])).get(bundle_id)
            if app is None:
                return None
            build = app.get("CFBundleVersion")
            process = app.get("CFBundleExecutable")
            entitlements = {str(key): plain(value) for key, value in dict(app.get("Entitlements", {})).items()}
        return InstalledApp(
            bundle_id,
            build=None if build is None else str(build),
            entitlements=entitlements,
            process=process if isinstance(process, str) and process else None,
        )

    async def install(self, ipa: Path, progress: Progress) -> None:
        udid = self._facts.udid
        remedy = "Is the app signed for this phone (docs/real-iphone.md), and is there free storage?"
        staged = f"/PublicStaging/{ipa.name}"
        total = ByteCount(ipa.stat().st_size)
        await self._renew_session()
        with self._session_in_doubt(), step("install", udid, limits.INSTALL_LIMIT_S, Outcome.INSTALL_FAILED, remedy):
            async with asyncio.timeout(limits.INSTALL_LIMIT_S):
                media_files = service_files(self._lockdown, udid, AfcService.SERVICE_NAME, Outcome.INSTALL_FAILED)
                async with media_files as media:
                    await media.make_folder("/PublicStaging")
                    await media.write(staged, ipa, progress=lambda done: progress("upload app", ByteCount(done), total))
                async with InstallationProxyService(self._lockdown) as proxy:
                    # spoken here, since the library's own call draws a progress bar of its own
                    command: dict[str, Any] = {
                        "Command": "Install",
                        "PackagePath": staged,
                        "ClientOptions": {"PackageType": "Developer"},
                    }
                    await proxy.service.send_plist(command)
                    while (answer := await proxy.service.recv_plist()).get("Status") != "Complete":
                        if "Error" in answer:
                            told = ", ".join(str(answer[key]) for key in ("Error", "ErrorDescription") if key in answer)
                            text = f"the phone refused {ipa.name}: {told}"
                            raise StepError("install", udid, text, remedy, Outcome.INSTALL_FAILED)
                        progress("install app", whole(answer.get("PercentComplete")) or 0, 100)

    @asynccontextmanager
    async def container(self, bundle_id: str) -> AsyncIterator[Container]:
        await self._renew_session()
        with self._session_in_doubt():
            async with app_container(self._lockdown, self._facts.udid, bundle_id) as files:
                yield files

    async def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        return await self._developer.launch(bundle_id, environment)

    async def kill(self, pid: int) -> None:
        await self._developer.kill(pid)

    async def is_running(self, pid: int) -> bool:
        return await self._developer.is_running(pid)

    def watch_process(self, pid: int, interval_ms: int) -> AsyncIterator[Reading]:
        return self._developer.watch_process(pid, interval_ms)

    async def report_names(self) -> frozenset[str]:
        await self._renew_session()
        with self._session_in_doubt():
            return await self._reports.names()

    async def read_report(self, name: str, max_bytes: int) -> bytes:
        await self._renew_session()
        return await self._reports.read(name, max_bytes)

    async def connect(self, port: int) -> Connection | None:
        with step("connect to the runner", self._facts.udid, limits.SERVICE_LIMIT_S, Outcome.LAUNCH_FAILED):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                return await to_its_end(self._connect(port), _hang_up)

    async def _connect(self, port: int) -> Connection | None:
        device = await usbmux.select_device(self._facts.udid, usbmux_address=self._usbmux_address)
        if device is None:
            raise StepError("connect", self._facts.udid, "the phone is not attached", REPLUG, Outcome.LOST)
        try:
            sock = await device.connect(port, usbmux_address=self._usbmux_address)
        except ConnectionFailedError:
            return None
        return await asyncio.open_connection(sock=sock)

    async def condition(self) -> PhoneCondition:
        await self._renew_session()
        with self._session_in_doubt():
            return await self._condition.read()

    async def wait_ended(self, pid: int) -> str | None:
        return await self._developer.wait_ended(pid)

    async def is_present(self) -> bool:
        return self._facts.udid in {phone.udid for phone in await attached_phones(self._usbmux_address)}

    async def close(self) -> None:
        await self._developer.close()
        await self._condition.close()
        with contextlib.suppress(PyMobileDevice3Exception, OSError, TimeoutError):
            async with asyncio.timeout(limits.SERVICE_LIMIT_S):
                await self._lockdown.close()
        restore_address(self._former_address)


def _hang_up(connection: Connection | None) -> None:
    if connection is not None:
        connection[1].close()
