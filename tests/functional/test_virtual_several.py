"""Several phones behind one usbmuxd, phones on Wi-Fi, and phones of other systems, by real clients."""

from __future__ import annotations

import asyncio
import json
import plistlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import ConnectionFailedError, InvalidServiceError
from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.afc import AfcService

from harness.virtual.running import RunningPhone, start_phone

if TYPE_CHECKING:
    from tests.functional.conftest import StartPhone

pytestmark = [
    pytest.mark.anyio,
    # the client library's tunnels leave sockets to the garbage collector now and then
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LIMIT_S = 60.0
LOCKDOWN_PORT = 62078
CORE_DEVICE_PROXY = "com.apple.internal.devicecompute.CoreDeviceProxy"
DTSERVICEHUB = "com.apple.instruments.dtservicehub"


@pytest.fixture
def two_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPhone]:
    """An iPhone XR and an iPhone 16 Pro; the fixture is the first."""
    monkeypatch.setenv("HOME", str(tmp_path / "host"))
    options = ["--profile", "iphone-16-pro,battery=41"]
    with start_phone("iphone-xr,ios=17.5", home=tmp_path / "phones", options=options) as phone:
        monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", phone.usbmux)
        yield phone


async def test_each_of_two_phones_is_itself(two_phones: RunningPhone) -> None:
    xr, pro = two_phones, two_phones.other(1)
    assert [row["profile"] for row in two_phones.phones] == ["iphone-xr", "iphone-16-pro"]
    assert xr.udid != pro.udid
    assert {device.serial for device in await usbmux.list_devices()} == {xr.udid, pro.udid}
    for phone, product, version, percent in ((xr, "iPhone11,8", "17.5", 87), (pro, "iPhone17,1", "18.5", 41)):
        async with await create_using_usbmux(serial=phone.udid, autopair=True) as client:
            assert (client.product_type, client.product_version) == (product, version)
            assert await client.get_value("com.apple.mobile.battery", "BatteryCurrentCapacity") == percent
            async with AfcService(client) as afc:
                await afc.set_file_contents("/Downloads/mine", product.encode())
    assert (xr.home / "Media/Downloads/mine").read_bytes() == b"iPhone11,8"
    assert (pro.home / "Media/Downloads/mine").read_bytes() == b"iPhone17,1"


async def ask(line: socket.socket) -> bytes:
    """What lockdownd answers on this very connection; nothing when it is broken (a client would connect anew)."""
    body = plistlib.dumps({"Request": "QueryType"})
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(line, len(body).to_bytes(4, "big") + body)
        async with asyncio.timeout(LIMIT_S):
            return await loop.sock_recv(line, 1024)
    except ConnectionError:
        return b""


async def test_a_cable_pulled_is_one_phones_cable(two_phones: RunningPhone) -> None:
    xr, pro = two_phones, two_phones.other(1)
    lines = {device.serial: await device.connect(LOCKDOWN_PORT) for device in await usbmux.list_devices()}
    try:
        assert await ask(lines[xr.udid])
        xr.control("unplug")
        assert [device.serial for device in await usbmux.list_devices()] == [pro.udid]
        assert await ask(lines[pro.udid])
        assert await ask(lines[xr.udid]) == b""
    finally:
        for line in lines.values():
            line.close()
    xr.control("plug")
    devices = {device.serial: device.devid for device in await usbmux.list_devices()}
    assert devices[xr.udid] == 3, "a new number for a phone that comes back"
    assert devices[pro.udid] == 2


async def test_pair_records_lie_with_their_phones(two_phones: RunningPhone) -> None:
    xr, pro = two_phones, two_phones.other(1)
    async with await create_using_usbmux(serial=pro.udid, autopair=True):
        pass
    assert list((xr.home / "PairedHosts" / xr.udid).iterdir()) == []
    assert len(list((pro.home / "PairedHosts" / pro.udid).iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--count", "0"], "1…64"),
        (["--count", "65"], "1…64"),
        (["--profile", "iphone-3g"], "no profile"),
        (["--profile", "iphone-xr,ios=26"], "knows no ios=26"),
        (["--set", "udid=00008140-0123456789ABCDEF", "--count", "2"], "one udid"),
    ],
)
def test_wrong_use_is_told(words: list[str], complaint: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.virtual", "--home", str(tmp_path / "home"), *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint in ended.stderr


def test_phones_that_share_a_seed_are_not_one(tmp_path: Path) -> None:
    with start_phone(settings={"seed": "7"}, home=tmp_path / "two", options=["--count", "2"]) as two:
        udids = [row["udid"] for row in two.phones]
    with start_phone(settings={"seed": "7"}, home=tmp_path / "one") as one:
        assert one.udid == udids[0]
    assert len(set(udids)) == 2


async def test_a_phone_on_wifi_is_listed_and_refuses(phone_starter: StartPhone) -> None:
    phone = phone_starter({"connection": "wifi"})
    (device,) = await usbmux.list_devices()
    assert (device.serial, device.connection_type, device.is_network) == (phone.udid, "Network", True)
    with pytest.raises(ConnectionFailedError):
        await create_using_usbmux(serial=phone.udid, autopair=True)


def test_libimobiledevice_lists_a_phone_on_wifi_and_is_refused_at_once(phone_starter: StartPhone) -> None:
    phone = phone_starter({"connection": "wifi"})

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)

    assert run("idevice_id", "-l").stdout == ""
    assert run("idevice_id", "-n").stdout.split()[0] == phone.udid
    refused = run("ideviceinfo", "-n", "-u", phone.udid)
    assert refused.returncode != 0
    assert "ProductType" not in refused.stdout


@pytest.mark.parametrize(("ios", "works"), [("17.0", False), ("17.3", False), ("17.4", True), ("26.0", True)])
async def test_the_tunnel_through_lockdownd_begins_with_ios_17_4(
    phone_starter: StartPhone, ios: str, works: bool
) -> None:
    phone_starter({"ios": ios}, profile="iphone-15-pro")
    async with await create_using_usbmux(autopair=True) as client:
        assert client.product_version == ios
        if works:
            (await client.start_lockdown_service(CORE_DEVICE_PROXY)).writer.close()
            return
        with pytest.raises(InvalidServiceError):
            await client.start_lockdown_service(CORE_DEVICE_PROXY)


async def test_without_the_developer_image_there_are_no_developer_services(phone_starter: StartPhone) -> None:
    phone = phone_starter({"developer_image": "missing"})

    async def services() -> dict[str, Any]:
        async with (
            asyncio.timeout(LIMIT_S),
            UserspaceRsdTunnel(serial=phone.udid, autopair=True, remotepairing_fallback=False) as rsd,
        ):
            assert rsd.peer_info is not None
            return dict(rsd.peer_info["Services"])

    missing = await services()
    assert DTSERVICEHUB not in missing
    assert not [name for name in missing if name.startswith("com.apple.coredevice")]
    assert "com.apple.afc.shim.remote" in missing
    phone.control("developer_image", mounted=True)
    assert DTSERVICEHUB in await services(), "the next tunnel has them"


def test_the_first_line_tells_of_all_phones(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.virtual", "--home", str(tmp_path / "home"), "--count", "2"]
    with subprocess.Popen([*command, "--profile", "iphone-13"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(LIMIT_S) == 0
    first, second = line["phones"]
    assert {key: line[key] for key in ("udid", "home", "profile")} == first
    assert (Path(first["home"]).name, Path(second["home"]).name) == ("1", "2")
    assert first["profile"] == second["profile"] == "iphone-13"


async def test_a_home_that_is_used_with_another_seed_forgets_nobody(phone_starter: StartPhone) -> None:
    udids = []
    for settings in ({}, {"seed": "7"}, {}):
        phone = phone_starter(settings)
        async with await create_using_usbmux(serial=phone.udid, autopair=True) as lockdown:
            assert lockdown.paired
        udids.append(phone.udid)
        phone.stop()
    assert udids[0] == udids[2] != udids[1]
