"""Notifications, logs, heartbeat and developer image of a virtual phone, met by pymobiledevice3."""

from __future__ import annotations

import asyncio
import contextlib
import plistlib
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3.exceptions import (
    AlreadyMountedError,
    DeveloperModeIsNotEnabledError,
    NotMountedError,
    ProtocolError,
    PyMobileDevice3Exception,
)
from pymobiledevice3.lockdown import UsbmuxLockdownClient, create_using_usbmux
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.heartbeat import HeartbeatService
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.services.mobile_image_mounter import (
    DeveloperDiskImageMounter,
    MobileImageMounterService,
    PersonalizedImageMounter,
)
from pymobiledevice3.services.notification_proxy import NotificationProxyService
from pymobiledevice3.services.os_trace import OsTraceService, SyslogEntry, SyslogLogLevel
from pymobiledevice3.services.syslog import SyslogService

from harness.virtual.running import RunningPhone

if TYPE_CHECKING:
    from tests.functional.conftest import MakeIpa, StartPhone

pytestmark = pytest.mark.anyio
BUNDLE_ID = "com.example.probe"
LIMIT_S = 60.0
"""Of a whole test body; only a hanging conversation reaches it."""
TALKATIVE = """#!/bin/sh
trap 'exit 3' TERM
echo "first words"
echo "on the other descriptor" >&2
printf 'no end of line'
echo "all is said" >&2
while :; do sleep 0.02; done
"""
FLOOD = """#!/bin/sh
exec yes 'a line of this flood, and of the next line of this flood, and of the one after that: 0123456789'
"""
DTSERVICEHUB = "com.apple.instruments.dtservicehub"


@contextlib.asynccontextmanager
async def lockdown(phone: RunningPhone) -> AsyncIterator[UsbmuxLockdownClient]:
    async with asyncio.timeout(LIMIT_S):
        client = await create_using_usbmux(serial=phone.udid, autopair=True)
        try:
            yield client
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def tunnel(phone: RunningPhone) -> AsyncIterator[Any]:
    async with (
        asyncio.timeout(LIMIT_S),
        UserspaceRsdTunnel(serial=phone.udid, autopair=True, remotepairing_fallback=False) as rsd,
    ):
        yield rsd


async def install(provider: Any, ipa: Path) -> None:
    async with InstallationProxyService(provider) as installer:
        await installer.install_from_local(ipa)


# -- notifications


@pytest.mark.parametrize("insecure", [False, True])
async def test_notifications_reach_who_observes_them(virtual_phone: RunningPhone, insecure: bool) -> None:
    async with (
        lockdown(virtual_phone) as client,
        NotificationProxyService(client, insecure=insecure) as ear,
        NotificationProxyService(client) as mouth,
    ):
        await ear.notify_register_dispatch("org.example.second")
        await ear.notify_post("org.example.second")
        heard = ear.receive_notification()
        assert (await anext(heard))["Name"] == "org.example.second"
        # posted by another client, and one that nobody observes before it
        await mouth.notify_post("org.example.first")
        await mouth.notify_post("org.example.second")
        assert await anext(heard) == {"Command": "RelayNotification", "Name": "org.example.second"}


async def test_the_phone_posts_what_it_does(virtual_phone: RunningPhone, make_ipa: MakeIpa) -> None:
    names = [
        "com.apple.mobile.application_installed",
        "com.apple.mobile.application_uninstalled",
        "com.apple.mobile.lockdown.device_name_changed",
    ]
    async with lockdown(virtual_phone) as client, NotificationProxyService(client) as ear:
        for name in names:
            await ear.notify_register_dispatch(name)
        # its answer shows that the observations before it have been heard
        await ear.notify_register_dispatch("org.example.ready")
        await ear.notify_post("org.example.ready")
        heard = ear.receive_notification()
        assert (await anext(heard)).name == "org.example.ready"
        await install(client, make_ipa())
        async with InstallationProxyService(client) as installer:
            await installer.uninstall(BUNDLE_ID)
        await client.set_value("Renamed", key="DeviceName")
        assert [(await anext(heard)).name for _ in names] == names


async def test_a_shutdown_is_answered_and_nonsense_is_not(virtual_phone: RunningPhone) -> None:
    async with lockdown(virtual_phone) as client, NotificationProxyService(client) as proxy:
        nonsense: list[dict[str, Any]] = [
            {"Command": "ObserveNotification"},
            {"Command": "PostNotification", "Name": 7},
            {"Name": "x"},
        ]
        for request in nonsense:
            await proxy.service.send_plist(request)
        await proxy.service.send_plist({"Command": "ObserveNotification", "Name": "x" * 256})
        await proxy.service.send_plist({"Command": "PostNotification", "Name": "x" * 256})
        await proxy.service.send_plist({"Command": "Shutdown"})
        assert await proxy.service.recv_plist() == {"Command": "ProxyDeath"}


async def test_notifications_through_the_tunnel(virtual_phone: RunningPhone) -> None:
    async with tunnel(virtual_phone) as rsd, NotificationProxyService(rsd) as ear:
        await ear.notify_register_dispatch("org.example.word")
        await ear.notify_post("org.example.word")
        assert (await anext(ear.receive_notification())).name == "org.example.word"


# -- logs


async def entries_until(entries: Any, wanted: str) -> list[SyslogEntry]:
    found: list[SyslogEntry] = []
    async for entry in entries:
        found.append(entry)
        if wanted in entry.message:
            return found
    raise AssertionError("the stream ended")


async def test_what_an_app_prints_is_in_the_log(virtual_phone: RunningPhone, make_ipa: MakeIpa) -> None:
    async with lockdown(virtual_phone) as client, OsTraceService(client) as trace:
        await install(client, make_ipa(TALKATIVE))
        entries = trace.syslog()
        first = asyncio.ensure_future(anext(entries))
        pid = 0
        while not first.done():  # the stream is set up by its first reading: launch until something is heard
            pid = virtual_phone.control("launch", bundle_id=BUNDLE_ID)["pid"]
            await asyncio.wait({first}, timeout=1.0)
        assert first.result().message
        pid = virtual_phone.control("launch", bundle_id=BUNDLE_ID)["pid"]
        await entries_until(entries, f":{pid}] launched")
        seen = await entries_until(entries, "all is said")
        virtual_phone.control("kill", pid=pid, signal=15)
        seen += await entries_until(entries, f"Probe:{pid}] ended with exit code 3")
        said = [entry for entry in seen if entry.pid == pid]
        words = {"first words", "on the other descriptor", "no end of line", "all is said"}
        assert {entry.message for entry in said} == words
        assert {entry.filename.rpartition("/")[2] for entry in said} == {"Probe"}
        assert seen[-1].filename.endswith("SpringBoard")
        assert seen[-1].level == SyslogLogLevel.NOTICE


async def test_the_log_of_one_process(virtual_phone: RunningPhone, make_ipa: MakeIpa) -> None:
    async with lockdown(virtual_phone) as client:
        await install(client, make_ipa("#!/bin/sh\nwhile echo again; do sleep 0.02; done\n"))
        pid = virtual_phone.control("launch", bundle_id=BUNDLE_ID)["pid"]
        async with OsTraceService(client) as trace:
            entries = trace.syslog(pid=pid)
            for _ in range(3):
                entry = await anext(entries)
                assert (entry.pid, entry.message) == (pid, "again")


async def test_names_of_processes_and_no_archive(virtual_phone: RunningPhone, tmp_path: Path) -> None:
    async with lockdown(virtual_phone) as client:
        async with OsTraceService(client) as trace:
            listing = await trace.get_pid_list()  # type: ignore[no-untyped-call]  # untyped in the client
            assert listing["Payload"]["1"] == {"ProcessName": "launchd"}
        async with OsTraceService(client) as trace:
            with pytest.raises(ProtocolError, match="RequestFailed"), (tmp_path / "archive").open("wb") as out:
                await trace.create_archive(out)


@pytest.mark.parametrize("request_", [{"Request": "StartActivity", "Pid": "all"}, {"Request": "Nonsense"}, {}])
async def test_a_wrong_request_is_told_so(virtual_phone: RunningPhone, request_: dict[str, Any]) -> None:
    async with lockdown(virtual_phone) as client:
        service = await client.start_lockdown_service(OsTraceService.SERVICE_NAME)
        await service.send_plist(request_)
        if "Pid" in request_:
            assert struct.unpack("<I", await service.recvall(4)) == (4,)
            (size,) = struct.unpack("<I", await service.recvall(4))
        else:
            (size,) = struct.unpack(">xI", await service.recvall(5))
        assert plistlib.loads(await service.recvall(size))["Status"] == "RequestFailed"
        await service.close()


async def test_syslog_relay_gives_lines(virtual_phone: RunningPhone, make_ipa: MakeIpa) -> None:
    async with lockdown(virtual_phone) as client:
        await install(client, make_ipa("#!/bin/sh\nwhile echo again; do sleep 0.02; done\n"))
        pid = virtual_phone.control("launch", bundle_id=BUNDLE_ID)["pid"]
        async with SyslogService(client) as syslog:
            lines = (str(line) async for line in syslog.watch())
            line = await anext(lines)
            assert line.endswith(f" Virtual-iPhone-16-Pro Probe[{pid}] <Notice>: again")


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


async def test_a_slow_reader_loses_lines_and_the_phone_no_memory(
    virtual_phone: RunningPhone, make_ipa: MakeIpa, eventually: Callable[[Callable[[], object]], None]
) -> None:
    async with lockdown(virtual_phone) as client, SyslogService(client) as syslog:
        await install(client, make_ipa(FLOOD))
        lines = syslog.watch()
        first = asyncio.ensure_future(anext(lines))
        pid = 0
        while not first.done():
            pid = virtual_phone.control("launch", bundle_id=BUNDLE_ID)["pid"]
            await asyncio.wait({first}, timeout=1.0)
        before = resident_bytes(virtual_phone.pid)
        # nobody reads now; an app that has printed 200 MB has printed far more than any buffer on the way holds
        printed = Path(f"/proc/{pid}/io")
        await asyncio.to_thread(
            eventually, lambda: int(printed.read_text().split("wchar: ")[1].split()[0]) > 200_000_000
        )
        assert resident_bytes(virtual_phone.pid) < before + 64 * 1024 * 1024
        virtual_phone.control("kill", pid=pid)
        async for line in lines:
            if "lines are lost: this client reads too slowly" in str(line):
                assert int(str(line).rpartition(": ")[0].rpartition(": ")[2].split()[0]) > 100_000
            if f"{pid}] ended with signal 9" in str(line):
                break


# -- heartbeat


async def beat(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One beat of the real client, which leaves its connection open."""
    start = client.start_lockdown_service

    async def start_and_remember(name: str) -> Any:
        services.append(await start(name))
        return services[-1]

    services: list[Any] = []
    monkeypatch.setattr(client, "start_lockdown_service", start_and_remember)
    await HeartbeatService(client).start(interval=0)
    (service,) = services
    await service.close()


async def test_a_heartbeat_is_called(virtual_phone: RunningPhone, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lockdown(virtual_phone) as client:
        await beat(client, monkeypatch)
        service = await client.start_lockdown_service(HeartbeatService.SERVICE_NAME)
        call = await service.recv_plist()
        assert (call["Command"], call["Interval"]) == ("Marco", 10)
        await service.send_plist({"Command": "Pong"})
        assert await service.recv_any() == b"", "hung up on"
        await service.close()


async def test_a_heartbeat_through_the_tunnel(virtual_phone: RunningPhone, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tunnel(virtual_phone) as rsd:
        await beat(rsd, monkeypatch)


# -- the developer image


def image_files(folder: Path) -> tuple[Path, Path, Path]:
    """What is nobody's image: the phone throws it away."""
    image, manifest, trust_cache = (folder / name for name in ("Image.dmg", "BuildManifest.plist", "Image.trustcache"))
    image.write_bytes(bytes(3_000_001))
    manifest.write_bytes(plistlib.dumps({"BuildIdentities": []}))
    trust_cache.write_bytes(b"no trust cache")
    return image, manifest, trust_cache


async def services_of(phone: RunningPhone) -> set[str]:
    async with tunnel(phone) as rsd:
        assert rsd.peer_info is not None
        return set(rsd.peer_info["Services"])


async def test_mounting_brings_the_developer_services(phone_starter: StartPhone, tmp_path: Path) -> None:
    phone = phone_starter({"developer_image": "missing"})
    assert DTSERVICEHUB not in await services_of(phone)
    async with lockdown(phone) as client, NotificationProxyService(client) as ear:
        await ear.notify_register_dispatch("com.apple.mobile.developer_image_mounted")
        async with PersonalizedImageMounter(client) as mounter:
            assert await mounter.copy_devices() == []
            with pytest.raises(NotMountedError):
                await mounter.lookup_image("Personalized")
            await mounter.mount(*image_files(tmp_path))
            assert await mounter.is_image_mounted("Personalized")
            assert not await mounter.is_image_mounted("Developer")
            with pytest.raises(AlreadyMountedError):
                await mounter.mount(*image_files(tmp_path))
        assert (await anext(ear.receive_notification())).name == "com.apple.mobile.developer_image_mounted"
    assert DTSERVICEHUB in await services_of(phone)


async def test_unmounting_takes_them_away(virtual_phone: RunningPhone) -> None:
    async with lockdown(virtual_phone) as client, PersonalizedImageMounter(client) as mounter:
        (entry,) = await mounter.list_images()
        assert (entry["DiskImageType"], entry["MountPath"]) == ("Personalized", "/System/Developer")
        with pytest.raises(NotMountedError):
            await mounter.unmount_image("/Developer")
        await mounter.umount()
        with pytest.raises(NotMountedError):
            await mounter.umount()
    assert DTSERVICEHUB not in await services_of(virtual_phone)


async def test_before_ios_17_the_image_is_shared(phone_starter: StartPhone, tmp_path: Path) -> None:
    phone = phone_starter({"developer_image": "missing", "ios": "16.7"}, profile="iphone-14-pro")
    image, signature, _ = image_files(tmp_path)
    async with lockdown(phone) as client, DeveloperDiskImageMounter(client) as mounter:
        await mounter.mount(image, signature)
        (entry,) = await mounter.copy_devices()
        assert (entry["DiskImageType"], entry["MountPath"]) == ("Developer", "/Developer")
        await mounter.umount()


async def test_what_personalisation_asks_for(virtual_phone: RunningPhone) -> None:
    async with lockdown(virtual_phone) as client, PersonalizedImageMounter(client) as mounter:
        assert await mounter.query_developer_mode_status() is True
        identifiers = await mounter.query_personalization_identifiers()
        assert identifiers["ChipID"] == 0x8140
        assert identifiers["UniqueChipID"] == int(virtual_phone.udid.partition("-")[2], 16)
        nonce = await mounter.query_nonce("DeveloperDiskImage")
        assert len(nonce) == 32
        assert await mounter.query_nonce() == nonce
        await mounter.roll_personalization_nonce()
        assert await mounter.query_nonce() != nonce
        assert b"no ticket of Apple's" in await mounter.query_personalization_manifest("DeveloperDiskImage", bytes(48))


async def test_mounting_is_refused_as_a_phone_would(phone_starter: StartPhone, tmp_path: Path) -> None:
    phone = phone_starter({"developer_image": "missing", "developer_mode": "false"})
    async with lockdown(phone) as client, PersonalizedImageMounter(client) as mounter:
        with pytest.raises(DeveloperModeIsNotEnabledError):
            await mounter.mount(*image_files(tmp_path))
        with pytest.raises(DeveloperModeIsNotEnabledError):
            await mounter.mount_image("Personalized", b"x")
        phone.control("developer_mode", on=True)
        with pytest.raises(PyMobileDevice3Exception, match="no image of this type has been received"):
            await mounter.mount_image("Personalized", b"x")
        with pytest.raises(PyMobileDevice3Exception, match="takes images of type Personalized"):
            await mounter.mount_image("Developer", b"x")
        with pytest.raises(PyMobileDevice3Exception, match="MissingImageSignature"):
            await mounter.mount_image("Personalized", b"")
        await mounter.upload_image("Personalized", bytes(100), b"x")
        phone.control("trust", state="locked")
        with pytest.raises(PyMobileDevice3Exception, match="DeviceLocked"):
            await mounter.mount_image("Personalized", b"x")
        phone.control("trust", state="trusted")
        await mounter.mount_image("Personalized", b"x")


async def test_images_have_a_limit_and_the_conversation_goes_on(virtual_phone: RunningPhone) -> None:
    async with lockdown(virtual_phone) as client, MobileImageMounterService(client) as mounter:
        for size in (2 * 1024**3, 0, -1, "1"):
            answer = await mounter.service.send_recv_plist(
                {"Command": "ReceiveBytes", "ImageType": "Personalized", "ImageSize": size, "ImageSignature": b"x"}
            )
            assert "Error" in answer
        assert (await mounter.service.send_recv_plist({"Command": "Dance"}))["Error"] == "UnknownCommand"
        assert await mounter.service.send_recv_plist({"Command": "Hangup"}) == {"Goodbye": True}
