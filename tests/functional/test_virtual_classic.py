"""The classic services of a virtual phone, met by pymobiledevice3 as it would meet a real one."""

from __future__ import annotations

import contextlib
import json
import os
import plistlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import (
    AfcException,
    AppInstallError,
    AppNotInstalledError,
    InvalidServiceError,
    MissingValueError,
    PairingDialogResponsePendingError,
    PasswordRequiredError,
    PyMobileDevice3Exception,
    UserDeniedPairingError,
)
from pymobiledevice3.lockdown import UsbmuxLockdownClient, create_using_usbmux
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.crash_reports import CrashReportsManager
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from harness.virtual.running import RunningPhone
from tests.functional.classic_clients import BUNDLE_ID, installed, lockdown

if TYPE_CHECKING:
    from tests.functional.conftest import MakeIpa, StartPhone

pytestmark = pytest.mark.anyio
NO_SPACE, NOT_FOUND, PERMISSION = 18, 8, 10


def afc_status(error: BaseException) -> int:
    assert isinstance(error, AfcException)
    assert error.status is not None
    return int(error.status)


# -- identity and trust


async def test_the_phone_is_listed_and_tells_a_stranger_little(virtual_phone: RunningPhone) -> None:
    (device,) = await usbmux.list_devices()
    assert (device.serial, device.connection_type) == (virtual_phone.udid, "USB")
    async with lockdown(virtual_phone, autopair=False) as client:
        assert not client.paired
        assert client.product_version == "18.5"
        assert "SerialNumber" not in client.all_values


async def test_pairing_opens_a_session_with_every_value(virtual_phone: RunningPhone) -> None:
    async with lockdown(virtual_phone) as client:
        assert client.paired
        assert client.all_values["ProductType"] == "iPhone17,1"
        assert client.all_values["BuildVersion"] == "22F76"
        assert client.all_values["HardwareModel"] == "D93AP"
        assert client.ecid == int(virtual_phone.udid.partition("-")[2], 16)
        assert await client.get_developer_mode_status()
        assert await client.get_value("com.apple.mobile.battery", "BatteryCurrentCapacity") == 87
        with pytest.raises(MissingValueError):
            await client.get_value(key="NoSuchKey")
        with pytest.raises(InvalidServiceError):
            await client.start_lockdown_service("com.example.no.such.service")


async def test_a_name_is_kept_over_a_restart_and_so_is_trust(phone_starter: StartPhone) -> None:
    phone = phone_starter()
    async with lockdown(phone) as client:
        await client.set_value("Paperweight", key="DeviceName")
    assert phone.stop() == 0
    again = phone_starter()
    assert again.udid == phone.udid
    again.control("trust", state="denied")  # a new pairing would fail, so this is the old one
    async with lockdown(again) as client:
        assert client.paired
        assert await client.get_value(key="DeviceName") == "Paperweight"


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("pending", PairingDialogResponsePendingError),
        ("denied", UserDeniedPairingError),
        ("locked", PasswordRequiredError),
    ],
)
async def test_a_phone_that_does_not_trust_says_why(
    virtual_phone: RunningPhone, state: str, error: type[Exception]
) -> None:
    virtual_phone.control("trust", state=state)
    with pytest.raises(error):
        async with lockdown(virtual_phone, pair_timeout=0):
            pass


async def test_a_forgotten_host_has_to_pair_again(virtual_phone: RunningPhone) -> None:
    async with lockdown(virtual_phone):
        pass
    virtual_phone.control("forget_hosts")
    async with lockdown(virtual_phone, autopair=False) as client:
        assert not client.paired


async def test_a_host_with_a_known_id_but_other_keys_gets_no_session(virtual_phone: RunningPhone) -> None:
    async with lockdown(virtual_phone) as client:
        older = client.pair_record
    virtual_phone.control("forget_hosts")
    async with lockdown(virtual_phone) as client:
        newer = client.pair_record
    assert older is not None
    assert newer is not None
    assert older["HostPrivateKey"] != newer["HostPrivateKey"]
    forged = {**newer, "HostCertificate": older["HostCertificate"], "HostPrivateKey": older["HostPrivateKey"]}
    mux: Any = await usbmux.create_mux()
    try:
        await mux.save_pair_record(virtual_phone.udid, 1, plistlib.dumps(forged))
    finally:
        await mux.close()
    stranger: UsbmuxLockdownClient | None = None
    with contextlib.suppress(PyMobileDevice3Exception, OSError):  # a handshake that fails is as good an answer
        stranger = await create_using_usbmux(serial=virtual_phone.udid, autopair=False)
    if stranger is not None:
        paired = stranger.paired
        await stranger.close()
        assert not paired


# -- installation


async def test_an_app_is_installed_listed_and_removed(virtual_phone: RunningPhone, make_ipa: MakeIpa) -> None:
    progress: list[int] = []
    async with lockdown(virtual_phone) as client, InstallationProxyService(client) as installer:
        await installer.install_from_local(
            make_ipa(), developer=True, handler=lambda percent, *rest: progress.append(percent)
        )
        assert progress == sorted(progress)
        assert len(progress) > 5
        (app,) = (await installer.get_apps(application_type="User", bundle_identifiers=[BUNDLE_ID])).values()
        assert app["Path"].startswith("/private/var/containers/Bundle/Application/")
        assert app["Container"].startswith("/private/var/mobile/Containers/Data/Application/")
        assert app["Entitlements"]["get-task-allow"] is True
        assert (app["CFBundleVersion"], app["UIFileSharingEnabled"]) == ("1", True)
        (row,) = await installer.browse({"ApplicationType": "User"}, attributes=["CFBundleIdentifier"])
        assert row == {"CFBundleIdentifier": BUNDLE_ID}
        assert "com.apple.Preferences" in await installer.get_apps(application_type="System")
        await installer.uninstall(BUNDLE_ID)
        assert await installer.get_apps(application_type="User") == {}
    assert not (virtual_phone.home / "Containers" / BUNDLE_ID).exists()


async def test_an_upgrade_keeps_the_data_and_takes_the_new_entitlements(
    virtual_phone: RunningPhone, make_ipa: MakeIpa
) -> None:
    wanted = {"com.apple.developer.kernel.increased-memory-limit": True}
    signed = {"Payload/Probe.app/archived-expanded-entitlements.xcent": plistlib.dumps(wanted)}
    async with installed(virtual_phone, make_ipa()) as client:
        async with await HouseArrestService.create(client, BUNDLE_ID) as house:
            await house.set_file_contents("/Documents/kept", b"data")
        pid = virtual_phone.control("launch", bundle_id=BUNDLE_ID)["pid"]
        async with InstallationProxyService(client) as installer:
            await installer.install_from_local(make_ipa(version="2", files=signed), cmd="Upgrade")
            (app,) = (await installer.get_apps(bundle_identifiers=[BUNDLE_ID])).values()
        assert app["CFBundleVersion"] == "2"
        assert app["Entitlements"]["com.apple.developer.kernel.increased-memory-limit"] is True
        async with await HouseArrestService.create(client, BUNDLE_ID) as house:
            assert await house.get_file_contents("/Documents/kept") == b"data"
    assert pid not in [row["pid"] for row in virtual_phone.control("processes")["processes"]]
    assert len(list((virtual_phone.home / "Bundles" / BUNDLE_ID).iterdir())) == 2  # the bundle and the link to it


async def test_what_is_no_app_is_refused_and_leaves_nothing(
    virtual_phone: RunningPhone, make_ipa: MakeIpa, tmp_path: Path
) -> None:
    escape = make_ipa(version="8", files={"Payload/Probe.app/../../../../evil": b"x"})
    other = make_ipa(version="9", info={"CFBundleExecutable": "Missing"})
    named = make_ipa(version="10", info={"CFBundleIdentifier": "../evil"})
    garbage = tmp_path / "garbage.ipa"
    garbage.write_bytes(b"PK\x03\x04 no archive")
    link = tmp_path / "link.ipa"
    with zipfile.ZipFile(make_ipa(version="11")) as source, zipfile.ZipFile(link, "w") as target:
        for entry in source.infolist():
            target.writestr(entry, source.read(entry))
        entry = zipfile.ZipInfo("Payload/Probe.app/link")
        entry.external_attr = 0o120777 << 16
        target.writestr(entry, "/etc/passwd")
    async with lockdown(virtual_phone) as client:
        for package in (escape, other, named, garbage, link):
            async with AfcService(client) as afc:
                await afc.set_file_contents("/PublicStaging/bad.ipa", package.read_bytes())
            async with InstallationProxyService(client) as installer:
                with pytest.raises(AppInstallError):
                    await installer.send_package("Install", {}, lambda *_: None, "/PublicStaging/bad.ipa")
        async with InstallationProxyService(client) as installer:
            assert await installer.get_apps(application_type="User") == {}
            with pytest.raises(AppInstallError):
                await installer.send_package("Install", {}, lambda *_: None, "/../device_key.pem")
    assert not list(virtual_phone.home.rglob("evil"))
    assert not list((virtual_phone.home / "Staging").iterdir())


# -- files


async def test_files_are_pushed_continued_hashed_and_read(
    virtual_phone: RunningPhone, make_ipa: MakeIpa, tmp_path: Path
) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(os.urandom(9 * 1024 * 1024 + 17))
    async with (
        installed(virtual_phone, make_ipa()) as client,
        await HouseArrestService.create(client, BUNDLE_ID, documents_only=True) as house,
    ):
        await house.makedirs("/Documents/models")
        await house.push(str(model), "/Documents/models/m.bin", progress_bar=False)
        assert (await house.stat("/Documents/models/m.bin"))["st_size"] == model.stat().st_size
        assert await house.get_file_contents("/Documents/models/m.bin") == model.read_bytes()
        await house.set_file_contents("/Documents/part", b"A" * 1000)
        handle = await house.fopen("/Documents/part", "r+")
        await house.fseek(handle, 1000)
        await house.fwrite(handle, b"B" * 500)
        await house.fclose(handle)
        assert await house.get_file_contents("/Documents/part") == b"A" * 1000 + b"B" * 500
        await house.rename("/Documents/part", "/Documents/models/part")
        assert sorted(await house.listdir("/Documents/models")) == ["m.bin", "part"]
        await house.rm("/Documents/models")
        assert not await house.exists("/Documents/models")


async def test_nothing_outside_what_is_vended_can_be_reached(virtual_phone: RunningPhone, make_ipa: MakeIpa) -> None:
    async with installed(virtual_phone, make_ipa()) as client:
        container = virtual_phone.home / "Containers" / BUNDLE_ID
        (container / "Documents" / "out").symlink_to("/etc")
        (container / "Documents" / "file").symlink_to("/etc/hostname")
        (container / "Documents" / "up").symlink_to("../Library")
        async with await HouseArrestService.create(client, BUNDLE_ID, documents_only=True) as house:
            assert await house.listdir("/") == ["Documents"]
            for path in ("/Library", "/Documents/../Library", "/Documents/out", "/Documents/up", "/Documents/out/apt"):
                with pytest.raises(AfcException) as caught:
                    await house.listdir(path)
                assert afc_status(caught.value) == PERMISSION
            for mode in ("r", "w"):
                with pytest.raises(AfcException) as caught:
                    await house.fopen("/Documents/file", mode)
                assert afc_status(caught.value) == PERMISSION
            with pytest.raises(AfcException) as caught:
                await house.link("../../../../../etc", "/Documents/new", type_=2)
            assert afc_status(caught.value) == PERMISSION
            with pytest.raises(AfcException) as caught:
                await house.fopen("/Documents/absent", "r")
            assert afc_status(caught.value) == NOT_FOUND
    assert Path("/etc/hostname").read_text(encoding="ascii")


async def test_containers_are_vended_only_to_whom_they_are_due(virtual_phone: RunningPhone, make_ipa: MakeIpa) -> None:
    closed = {"UIFileSharingEnabled": False}
    store = {"Payload/Probe.app/archived-expanded-entitlements.xcent": plistlib.dumps({"get-task-allow": False})}
    async with installed(virtual_phone, make_ipa(info=closed, files=store)) as client:
        with pytest.raises(AppNotInstalledError):
            await HouseArrestService.create(client, "com.example.absent")
        for documents_only in (True, False):
            with pytest.raises(PyMobileDevice3Exception):
                await HouseArrestService.create(client, BUNDLE_ID, documents_only=documents_only)


async def test_a_full_disk_is_reported_as_such(virtual_phone: RunningPhone) -> None:
    virtual_phone.control("disk", free_bytes=1000)
    async with lockdown(virtual_phone) as client, AfcService(client) as afc:
        await afc.set_file_contents("/Downloads/small", b"x" * 900)
        with pytest.raises(AfcException) as caught:
            await afc.set_file_contents("/Downloads/large", b"x" * 200)
        assert afc_status(caught.value) == NO_SPACE
        assert await client.get_value("com.apple.disk_usage", "AmountDataAvailable") == 100
        virtual_phone.control("disk", free_bytes=None)
        await afc.set_file_contents("/Downloads/large", b"x" * 200)


# -- reports, battery


async def test_crash_reports_can_be_collected(
    virtual_phone: RunningPhone, make_ipa: MakeIpa, tmp_path: Path, eventually: Callable[[Callable[[], object]], None]
) -> None:
    script = "#!/bin/sh\necho boom >&2\nkill -SEGV $$\n"
    async with installed(virtual_phone, make_ipa(script)) as client:
        virtual_phone.control("launch", bundle_id=BUNDLE_ID)
        eventually(lambda: not virtual_phone.control("processes")["processes"])
        # as CrashReportsManager.flush does it, which leaves its connection open
        async with await client.start_lockdown_service(CrashReportsManager.CRASH_MOVER_NAME) as mover:
            assert await mover.recvall(5) == b"ping\0"
        async with CrashReportsManager(client) as reports:
            (name,) = [name for name in await reports.ls("/") if name.startswith("/Probe-")]
            (tmp_path / "pulled").mkdir()
            await reports.pull(str(tmp_path / "pulled"), progress_bar=False)
            (report,) = await reports.parse_latest(match=["Probe"])
        assert str(report.bug_type.value) == "309"
        text = (tmp_path / "pulled" / name.lstrip("/")).read_text(encoding="utf-8")
        header, body = json.loads(text.partition("\n")[0]), json.loads(text.partition("\n")[2])
        assert header["bundleID"] == BUNDLE_ID
        assert body["exception"] == {**body["exception"], "type": "EXC_BAD_ACCESS", "signal": "SIGSEGV"}
        assert body["asi"]["Probe"] == ["boom"]


async def test_battery_and_temperature_can_be_read(virtual_phone: RunningPhone) -> None:
    async with lockdown(virtual_phone) as client, DiagnosticsService(client) as diagnostics:
        reader: Any = diagnostics
        assert (await reader.get_battery())["Temperature"] == 2950
        virtual_phone.control("battery", percent=12, charging=False, temperature_celsius=41.25)
        battery = await reader.get_battery()
        assert (battery["Temperature"], battery["CurrentCapacity"], battery["IsCharging"]) == (4125, 12, False)
        assert (await reader.ioregistry(ioclass="AppleSmartBattery"))["Temperature"] == 4125
