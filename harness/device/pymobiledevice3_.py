"""A phone through pymobiledevice3's public API; the only file that imports it.

One file for one library, so that a change of its API is met in one place. Two facts shape it: the library holds one
userspace tunnel per process, and finds usbmuxd through an environment variable where it offers no argument. So a
process of ours drives one phone at a time, and `open` sets that variable for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import (
    AfcFileNotFoundError,
    ConnectionFailedError,
    ConnectionFailedToUsbmuxdError,
    DeveloperModeIsNotEnabledError,
    DeviceNotFoundError,
    InvalidServiceError,
    NoDeviceConnectedError,
    NotMountedError,
    NotPairedError,
    NotTrustedError,
    PairingError,
    PasscodeRequiredError,
    PyMobileDevice3Exception,
)
from pymobiledevice3.lockdown import LockdownClient, create_using_usbmux
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.crash_reports import CrashReportsManager
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.dvt.instruments.sysmontap import Sysmontap
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts, PhoneKind
from harness.core.telemetry import Reading, Source
from harness.device.errors import PhoneNotFound, StepError
from harness.device.interface import Container, FileContents, InstalledApp, Progress

SOCKET_VARIABLE = "USBMUXD_SOCKET_ADDRESS"
# AFC requests of this size were the fastest of those measured (docs/decisions/0003).
CHUNK_BYTES = 4 * 1024 * 1024
MAX_REPORT_NAMES = 20_000
# the sum of two figures still fits 64 bits with a sign
MAX_FIGURE = 2**62 - 1

ATTACH_LIMIT_S = 10.0
PAIR_LIMIT_S = 60.0
SERVICE_LIMIT_S = 20.0
TRANSFER_LIMIT_S = 60.0
INSTALL_LIMIT_S = 300.0
TUNNEL_LIMIT_S = 30.0
TUNNEL_ATTEMPTS = 3
KILL_LIMIT_S = 10.0

_REPLUG = "Unlock the phone, check the cable, and try again"

# What a person must do something about on the phone, and what says that the phone itself is gone.
_NOT_READY = (
    PairingError,
    NotPairedError,
    NotTrustedError,
    PasscodeRequiredError,
    DeveloperModeIsNotEnabledError,
    NotMountedError,
)
_ABSENT = (DeviceNotFoundError, NoDeviceConnectedError)

# A tap's late samples are logged as warnings of 30 KB each after it is closed; the library offers no other switch.
logging.getLogger("pymobiledevice3.dtx").setLevel(logging.ERROR)


@dataclass(frozen=True)
class AttachedPhone:
    udid: str
    connection: str
    """`USB` or `Network`."""


async def attached_phones(usbmux_address: str | None = None) -> list[AttachedPhone]:
    """The phones that usbmuxd lists; raises StepError when there is no usbmuxd."""
    with _step("list", "usbmuxd", ATTACH_LIMIT_S, Outcome.LOST, "Start usbmuxd (Linux: `systemctl start usbmuxd`)"):
        async with asyncio.timeout(ATTACH_LIMIT_S):
            devices = await usbmux.list_devices(usbmux_address=usbmux_address)
    return [AttachedPhone(device.serial, device.connection_type) for device in devices]


@contextmanager
def _step(step: str, phone: str, limit_s: float, outcome: Outcome, remedy: str = _REPLUG) -> Iterator[None]:
    """Turns every failure of the library into a StepError that names the step, the phone and the remedy.

    An asyncio time limit is set where the step is awaited; here it only gets its words.
    """
    try:
        yield
    except StepError:
        raise
    except TimeoutError:
        raise StepError(step, phone, f"no answer within {limit_s:g} s", remedy, outcome) from None
    except ConnectionFailedToUsbmuxdError as error:
        raise StepError(step, phone, "no usbmuxd answers", remedy, Outcome.LOST) from error
    except _NOT_READY as error:
        raise StepError(step, phone, _words(error), remedy, Outcome.NOT_READY) from error
    except _ABSENT as error:
        raise StepError(step, phone, _words(error), remedy, Outcome.LOST) from error
    except Exception as error:
        # its DTX and plist errors have no base in common, and what a phone sends may meet any of its assertions
        raise StepError(step, phone, _words(error), remedy, outcome) from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


class _AfcContainer:
    """`Container` over house_arrest."""

    def __init__(self, afc: AfcService, phone: str) -> None:
        self._afc = afc
        self._phone = phone

    async def size(self, path: str) -> int | None:
        with _step(f"stat {path}", self._phone, SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
            async with asyncio.timeout(SERVICE_LIMIT_S):
                try:
                    return int((await self._afc.stat(path))["st_size"])
                except AfcFileNotFoundError:
                    return None

    async def make_folder(self, path: str) -> None:
        with _step(f"make folder {path}", self._phone, SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
            async with asyncio.timeout(SERVICE_LIMIT_S):
                await self._afc.makedirs(path)

    async def write(self, path: str, source: Path, progress: Callable[[int], None]) -> None:
        await _write_file(self._afc, self._phone, path, source, progress, Outcome.PUSH_FAILED)

    async def rename(self, path: str, to: str) -> None:
        with _step(f"rename {path}", self._phone, SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
            async with asyncio.timeout(SERVICE_LIMIT_S):
                await self._afc.rename(path, to)

    async def read(self, path: str, max_bytes: int, *, from_end: bool = False) -> FileContents | None:
        with _step(f"read {path}", self._phone, TRANSFER_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(TRANSFER_LIMIT_S):
                return await _read_file(self._afc, path, max_bytes, from_end=from_end)

    async def remove(self, path: str) -> None:
        with _step(f"remove {path}", self._phone, SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(SERVICE_LIMIT_S):
                with contextlib.suppress(AfcFileNotFoundError):
                    await self._afc.rm_single(path)


async def _write_file(
    afc: AfcService, phone: str, path: str, source: Path, progress: Callable[[int], None], outcome: Outcome
) -> None:
    """Chunk by chunk, each with its own time limit: a slow push is fine, a stalled one is not."""
    remedy = "Check the phone's free storage and the cable, and run again"
    with _step(f"write {path}", phone, TRANSFER_LIMIT_S, outcome, remedy), source.open("rb") as file:
        async with asyncio.timeout(SERVICE_LIMIT_S):
            handle = await afc.fopen(path, "w")
        try:
            done_bytes = 0
            while chunk := file.read(CHUNK_BYTES):
                async with asyncio.timeout(TRANSFER_LIMIT_S):
                    await afc.fwrite(handle, chunk)
                done_bytes += len(chunk)
                progress(done_bytes)
        finally:
            async with asyncio.timeout(SERVICE_LIMIT_S):
                await afc.fclose(handle)


async def _read_file(afc: AfcService, path: str, max_bytes: int, *, from_end: bool = False) -> FileContents | None:
    try:
        size = int((await afc.stat(path))["st_size"])
        handle = await afc.fopen(path, "r")
    except AfcFileNotFoundError:
        return None
    try:
        if from_end and size > max_bytes:
            await afc.fseek(handle, size - max_bytes)
        return FileContents(bytes(await afc.fread(handle, min(size, max_bytes))), size)
    finally:
        await afc.fclose(handle)


@dataclass
class _Instruments:
    """The developer services, and the stack that closes them with what carries them."""

    stack: AsyncExitStack
    provider: DvtProvider
    info: DeviceInfo
    control: ProcessControl
    disconnected: asyncio.Task[None]
    """Done once the connection has ended from the other side."""

    @property
    def broken(self) -> bool:
        return self.disconnected.done()

    async def close(self) -> None:
        self.disconnected.cancel()
        await self.stack.aclose()


class Pymobiledevice3Transport:
    """`Transport` (harness.device.interface) over pymobiledevice3; make one with `open`."""

    def __init__(
        self, lockdown: LockdownClient, facts: PhoneFacts, usbmux_address: str | None, former_address: str | None
    ) -> None:
        self._lockdown = lockdown
        self._facts = facts
        self._usbmux_address = usbmux_address
        self._former_address = former_address
        self._instruments: _Instruments | None = None

    @classmethod
    async def open(
        cls,
        udid: str,
        *,
        usbmux_address: str | None = None,
        settings: str = "",
        pair_records: Path | None = None,
    ) -> Pymobiledevice3Transport:
        """Pairs if need be (the person may have to tap Trust) and reads who the phone is.

        Raises PhoneNotFound when it is not attached, StepError (outcome not_ready) when it does not trust this host.
        """
        former = os.environ.get(SOCKET_VARIABLE)
        if usbmux_address is not None:
            os.environ[SOCKET_VARIABLE] = usbmux_address
        try:
            return await cls._open(udid, usbmux_address, settings, pair_records, former)
        except BaseException:
            _restore_address(former)
            raise

    @classmethod
    async def _open(
        cls, udid: str, usbmux_address: str | None, settings: str, pair_records: Path | None, former: str | None
    ) -> Pymobiledevice3Transport:
        if udid not in {phone.udid for phone in await attached_phones(usbmux_address)}:
            raise PhoneNotFound(f"phone {udid} is not attached; `harness devices` lists those that are")
        remedy = "Unlock the phone, tap Trust on it, and run again"
        with _step("pair", udid, PAIR_LIMIT_S, Outcome.NOT_READY, remedy):
            async with asyncio.timeout(PAIR_LIMIT_S):
                lockdown = await create_using_usbmux(
                    serial=udid,
                    autopair=True,
                    pair_timeout=PAIR_LIMIT_S / 2,
                    usbmux_address=usbmux_address,
                    pairing_records_cache_folder=pair_records,
                )
        values = lockdown.all_values
        facts = PhoneFacts(
            udid=udid,
            kind=PhoneKind.VIRTUAL if values.get("VirtualDevice") is True else PhoneKind.PHYSICAL,
            product_type=str(values.get("ProductType", "")),
            os_version=str(values.get("ProductVersion", "")),
            os_build=str(values.get("BuildVersion", "")),
            name=str(values.get("DeviceName", "")),
            settings=settings,
        )
        return cls(lockdown, facts, usbmux_address, former)

    @property
    def facts(self) -> PhoneFacts:
        return self._facts

    async def installed_app(self, bundle_id: str) -> InstalledApp | None:
        with _step("look up the runner app", self._facts.udid, SERVICE_LIMIT_S, Outcome.INSTALL_FAILED):
            async with asyncio.timeout(SERVICE_LIMIT_S), InstallationProxyService(self._lockdown) as proxy:
                app = (await proxy.get_apps(bundle_identifiers=[bundle_id])).get(bundle_id)
            if app is None:
                return None
            build = app.get("CFBundleVersion")
            entitlements = {str(key): _plain(value) for key, value in dict(app.get("Entitlements", {})).items()}
        return InstalledApp(bundle_id, None if build is None else str(build), entitlements)

    async def install(self, ipa: Path, progress: Progress) -> None:
        udid = self._facts.udid
        remedy = "Is the app signed for this phone (docs/real-iphone.md), and is there free storage?"
        staged = f"/PublicStaging/{ipa.name}"
        total = ipa.stat().st_size
        with _step("install", udid, INSTALL_LIMIT_S, Outcome.INSTALL_FAILED, remedy):
            async with asyncio.timeout(INSTALL_LIMIT_S):
                async with AfcService(self._lockdown) as afc:
                    await afc.makedirs("/PublicStaging")
                    await _write_file(
                        afc, udid, staged, ipa, lambda done: progress("upload app", done, total), Outcome.INSTALL_FAILED
                    )
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
                        progress("install app", _whole(answer.get("PercentComplete")) or 0, 100)

    @asynccontextmanager
    async def container(self, bundle_id: str) -> AsyncIterator[Container]:
        with _step("open the app's files", self._facts.udid, SERVICE_LIMIT_S, Outcome.PUSH_FAILED):
            async with asyncio.timeout(SERVICE_LIMIT_S):
                afc = await HouseArrestService.create(self._lockdown, bundle_id, documents_only=False)
        try:
            yield _AfcContainer(afc, self._facts.udid)
        finally:
            with contextlib.suppress(PyMobileDevice3Exception, OSError, TimeoutError):
                async with asyncio.timeout(SERVICE_LIMIT_S):
                    await afc.aclose()

    async def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        remedy = "Is Developer Mode on and the developer image mounted (docs/real-iphone.md)?"
        with _step("launch", self._facts.udid, SERVICE_LIMIT_S, Outcome.LAUNCH_FAILED, remedy):
            instruments = await self._developer_services()
            async with asyncio.timeout(SERVICE_LIMIT_S):
                return int(
                    await instruments.control.launch(bundle_id, [], kill_existing=True, environment=dict(environment))
                )

    async def kill(self, pid: int) -> None:
        with _step("kill the app", self._facts.udid, KILL_LIMIT_S, Outcome.HARNESS_ERROR):
            if not await self.is_running(pid):
                return
            instruments = await self._developer_services()
            async with asyncio.timeout(KILL_LIMIT_S):
                await instruments.control.kill(pid)

    async def is_running(self, pid: int) -> bool:
        with _step("ask whether the app runs", self._facts.udid, SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            instruments = await self._developer_services()
            async with asyncio.timeout(SERVICE_LIMIT_S):
                return bool(await instruments.info.is_running_pid(pid))

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        with _step("connect to the runner", self._facts.udid, SERVICE_LIMIT_S, Outcome.LAUNCH_FAILED):
            async with asyncio.timeout(SERVICE_LIMIT_S):
                device = await usbmux.select_device(self._facts.udid, usbmux_address=self._usbmux_address)
                if device is None:
                    raise StepError("connect", self._facts.udid, "the phone is not attached", _REPLUG, Outcome.LOST)
                try:
                    sock = await device.connect(port, usbmux_address=self._usbmux_address)
                except ConnectionFailedError:
                    return None
                return await asyncio.open_connection(sock=sock)

    async def watch_process(self, pid: int, interval_ms: int) -> AsyncIterator[Reading]:
        attributes = ["pid", "physFootprint", "memResidentSize"]
        with _step("watch the app's memory", self._facts.udid, SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            instruments = await self._developer_services()
            clock = await self._mach_clock(instruments)
            async with Sysmontap(instruments.provider, attributes, [], interval_ms=interval_ms) as tap:
                async for row in tap:
                    values = _process_row(row, pid)
                    if values is not None:
                        yield Reading(
                            source=Source.HOST,
                            t_ns=clock.host_ns(row.get("EndMachAbsTime")),
                            footprint_bytes=_whole(values[1]),
                            resident_bytes=_whole(values[2]),
                        )

    async def _mach_clock(self, instruments: _Instruments) -> _MachClock:
        """Readings carry the phone's own time, since they arrive late when either side is busy."""
        async with asyncio.timeout(SERVICE_LIMIT_S):
            sent_ns = time.monotonic_ns()
            told = await instruments.info.service.mach_time_info()
            received_ns = time.monotonic_ns()
        ticks, numerator, denominator = (_whole(value) for value in list(told)[:3])
        if not ticks or not numerator or not denominator:
            text = f"the phone told a clock that is none: {told!r:.80}"
            raise StepError("read the phone's clock", self._facts.udid, text, "", Outcome.HARNESS_ERROR)
        return _MachClock(numerator, denominator, (sent_ns + received_ns) // 2 - ticks * numerator // denominator)

    async def report_names(self) -> frozenset[str]:
        with _step("list crash reports", self._facts.udid, SERVICE_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(SERVICE_LIMIT_S):
                await self._move_reports()
                async with CrashReportsManager(self._lockdown) as manager:
                    names = await manager.afc.listdir("/")
        return frozenset(name for name in names[:MAX_REPORT_NAMES] if name.endswith(".ips"))

    async def _move_reports(self) -> None:
        """Asks the phone to put pending reports where they can be read (the library's own `flush` leaks its socket)."""
        service = await self._lockdown.start_lockdown_service(CrashReportsManager.CRASH_MOVER_NAME)
        async with service:
            await service.recvall(len(b"ping\0"))

    async def read_report(self, name: str, max_bytes: int) -> bytes:
        with _step(f"read crash report {name}", self._facts.udid, TRANSFER_LIMIT_S, Outcome.HARNESS_ERROR):
            async with asyncio.timeout(TRANSFER_LIMIT_S), CrashReportsManager(self._lockdown) as manager:
                contents = await _read_file(manager.afc, f"/{name}", max_bytes)
        return b"" if contents is None else contents.data

    async def battery_celsius(self) -> float | None:
        with _step("read the battery", self._facts.udid, SERVICE_LIMIT_S, Outcome.NOT_READY):
            async with asyncio.timeout(SERVICE_LIMIT_S), DiagnosticsService(self._lockdown) as diagnostics:
                battery = await diagnostics.ioregistry(ioclass="AppleSmartBattery")
        hundredths = (battery or {}).get("Temperature")
        return hundredths / 100 if isinstance(hundredths, int) else None

    async def is_present(self) -> bool:
        return self._facts.udid in {phone.udid for phone in await attached_phones(self._usbmux_address)}

    async def close(self) -> None:
        await self._close_instruments()
        with contextlib.suppress(PyMobileDevice3Exception, OSError, TimeoutError):
            async with asyncio.timeout(SERVICE_LIMIT_S):
                await self._lockdown.close()
        _restore_address(self._former_address)

    async def _developer_services(self) -> _Instruments:
        """The developer services, opened on first use and again after the tunnel has broken."""
        if self._instruments is not None and not self._instruments.broken:
            return self._instruments
        await self._close_instruments()
        # the library gives the tunnel's first connections one second each, too little on a busy host
        for attempt in range(TUNNEL_ATTEMPTS):
            try:
                return await self._open_developer_services()
            except StepError as error:
                if error.outcome is not Outcome.LAUNCH_FAILED or attempt == TUNNEL_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _open_developer_services(self) -> _Instruments:
        remedy = "Is Developer Mode on and the developer image mounted (docs/real-iphone.md)?"
        with _step("open the developer services", self._facts.udid, TUNNEL_LIMIT_S, Outcome.LAUNCH_FAILED, remedy):
            async with asyncio.timeout(TUNNEL_LIMIT_S), AsyncExitStack() as stack:
                carrier = await self._developer_carrier(stack)
                try:
                    provider = await stack.enter_async_context(DvtProvider(carrier))
                except InvalidServiceError as error:
                    text = "the phone offers no developer services"
                    raise StepError("open", self._facts.udid, text, remedy, Outcome.NOT_READY) from error
                info = await stack.enter_async_context(DeviceInfo(provider))
                control = await stack.enter_async_context(ProcessControl(provider))
                disconnected = asyncio.create_task(provider.dtx.wait_disconnected())
                instruments = _Instruments(stack.pop_all(), provider, info, control, disconnected)
        self._instruments = instruments
        return instruments

    async def _developer_carrier(self, stack: AsyncExitStack) -> Any:
        """What the developer services are reached through: lockdown before iOS 17, a userspace tunnel since 17.4."""
        version = Version(self._facts.os_version)
        if version < Version("17.0"):
            return self._lockdown
        if version < Version("17.4"):
            text = f"iOS {version} needs a tunnel that only root can make"
            remedy = "Update the phone to iOS 17.4 or later"
            raise StepError("open the tunnel", self._facts.udid, text, remedy, Outcome.NOT_READY)
        tunnel = UserspaceRsdTunnel(serial=self._facts.udid, autopair=False, remotepairing_fallback=False)
        return await stack.enter_async_context(tunnel)

    async def _close_instruments(self) -> None:
        instruments, self._instruments = self._instruments, None
        if instruments is not None:
            with contextlib.suppress(PyMobileDevice3Exception, OSError, TimeoutError):
                async with asyncio.timeout(SERVICE_LIMIT_S):
                    await instruments.close()


@dataclass(frozen=True)
class _MachClock:
    """The phone's mach time on the host's monotonic clock."""

    numerator: int
    denominator: int
    offset_ns: int

    def host_ns(self, ticks: object) -> int:
        """Now, when the phone did not say."""
        whole = _whole(ticks)
        return time.monotonic_ns() if whole is None else whole * self.numerator // self.denominator + self.offset_ns


def _process_row(row: Any, pid: int) -> Sequence[object] | None:
    """The values of one process in a sysmontap row (pid, footprint, resident); None in rows of other kinds."""
    processes = row.get("Processes") if isinstance(row, Mapping) else None
    values = processes.get(pid) if isinstance(processes, Mapping) else None
    return values if isinstance(values, Sequence) and len(values) == 3 and values[0] == pid else None


def _whole(value: object) -> int | None:
    """A figure from the phone that fits a column, or None where it sent something else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_FIGURE else None


def _plain(value: object) -> Any:
    """A property list's value as JSON can hold it."""
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return repr(value)


def _restore_address(former: str | None) -> None:
    if former is None:
        os.environ.pop(SOCKET_VARIABLE, None)
    else:
        os.environ[SOCKET_VARIABLE] = former
