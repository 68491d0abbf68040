"""Every fault, met by a real client: it strikes, and afterwards the phone is as usable as before and holds no more.

What a fault does to a trial's record is in test_faulty_trials.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import (
    AfcException,
    ConnectionFailedError,
    PairingDialogResponsePendingError,
    PyMobileDevice3Exception,
)
from pymobiledevice3.lockdown import UsbmuxLockdownClient, create_using_usbmux
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.service_connection import ServiceConnection
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.crash_reports import CrashReportsManager
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.dvt.instruments.sysmontap import Sysmontap
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService

from harness.virtual.faults import KINDS, Moment, parse_faults
from harness.virtual.running import ControlRefused, RunningPhone
from tests.functional.app_packages import BUNDLE_ID
from tests.functional.conftest import MakeIpa, StartPhone

pytestmark = pytest.mark.anyio

LIMIT_S = 60.0
# For what must not come; what does come takes milliseconds.
SILENCE_S = 1.0
NO_SPACE = 18
# Looks at the census that must agree before it counts as standing still.
STILL = 5
CONTENT = bytes(range(256)) * 12_000
ECHO = f"""#!{sys.executable}
import os, socket
listener = socket.create_server(("127.0.0.1", int(os.environ["RUNNER_PORT"])))
while True:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)
"""


@contextlib.asynccontextmanager
async def lockdown(phone: RunningPhone) -> AsyncIterator[UsbmuxLockdownClient]:
    client = await create_using_usbmux(serial=phone.udid, autopair=True, pair_timeout=0)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def tunnel(phone: RunningPhone) -> AsyncIterator[DvtProvider]:
    async with (
        asyncio.timeout(LIMIT_S),
        UserspaceRsdTunnel(serial=phone.udid, autopair=True, remotepairing_fallback=False) as rsd,
        DvtProvider(rsd) as provider,
    ):
        yield provider


@contextlib.asynccontextmanager
async def container(phone: RunningPhone) -> AsyncIterator[HouseArrestService]:
    async with lockdown(phone) as client:
        service = await HouseArrestService.create(client, BUNDLE_ID)
        async with service:
            yield service


@contextlib.asynccontextmanager
async def open_service(phone: RunningPhone) -> AsyncIterator[ServiceConnection]:
    """A connection on which the phone has nothing to say: it only tells whether it stands."""
    async with (
        asyncio.timeout(LIMIT_S),
        lockdown(phone) as client,
        await client.start_lockdown_service("com.apple.afc") as service,
    ):
        yield service


@contextlib.asynccontextmanager
async def app_port(phone: RunningPhone, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The echoing app, running, and a connection to it."""
    device = await usbmux.select_device(phone.udid)
    assert device is not None
    phone.control("launch", bundle_id=BUNDLE_ID, environment={"RUNNER_PORT": str(port)})
    async with asyncio.timeout(LIMIT_S):
        while True:
            with contextlib.suppress(ConnectionFailedError):
                connection = await device.connect(port)
                break
            await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def use(phone: RunningPhone) -> None:
    """What any session does: finds the phone, reads who it is, pushes a file, launches the app and ends it."""
    assert phone.udid in {device.serial for device in await usbmux.list_devices()}
    async with container(phone) as files:
        await files.set_file_contents("/Documents/use.bin", CONTENT)
        assert await files.get_file_contents("/Documents/use.bin") == CONTENT
        assert files.lockdown.all_values["ProductType"] == "iPhone17,1"
    async with tunnel(phone) as provider, ProcessControl(provider) as control:
        pid = await control.launch(BUNDLE_ID, environment={"RUNNER_PORT": "1"})
        await control.kill(pid)


async def until(condition: Callable[[], Awaitable[object]], *, otherwise: Callable[[], object] = lambda: None) -> None:
    """Waits until a condition holds, with the event loop free to end what the client has closed."""
    deadline = time.monotonic() + LIMIT_S
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"the condition did not come about: {otherwise()}")
        await asyncio.sleep(0.02)


async def until_happened(phone: RunningPhone, name: str) -> None:
    async def happened() -> bool:
        return any(text.startswith(name) for text in phone.control("faults")["happened"])

    await until(happened)


async def until_back(phone: RunningPhone) -> None:
    async def back() -> bool:
        return phone.udid in {device.serial for device in await usbmux.list_devices()}

    await until(back)


async def census_at_rest(phone: RunningPhone, expected: dict[str, int] | None = None) -> dict[str, int]:
    """The census once it is `expected`; without that, once every app has ended and it stands still for a while."""
    seen: list[dict[str, int]] = []

    async def at_rest() -> bool:
        seen.append(phone.control("census")["census"])
        if expected is not None:
            return seen[-1] == expected
        return len(seen) >= STILL and all(one == seen[-1] for one in seen[-STILL:]) and not seen[-1]["app_processes"]

    await until(at_rest, otherwise=lambda: f"{seen[-1]} instead of {expected}")
    return seen[-1]


# -- each fault: what a client meets


async def unplug(phone: RunningPhone, port: int) -> None:
    (before,) = await usbmux.list_devices()
    async with open_service(phone) as service:
        phone.control("fault", name="unplug", seconds=0.3)
        assert await usbmux.list_devices() == []
        with pytest.raises((PyMobileDevice3Exception, OSError)):
            await service.recvall(1)
        await until_back(phone)
    (after,) = await usbmux.list_devices()
    assert after.devid != before.devid


async def tunnel_drop(phone: RunningPhone, port: int) -> None:
    async with tunnel(phone) as provider:
        assert phone.control("census")["census"]["tunnels"] == 1
        phone.control("fault", name="tunnel-drop")
        await provider.dtx.wait_disconnected()
        assert phone.control("census")["census"]["tunnels"] == 0


async def drop_large_packets(phone: RunningPhone, port: int) -> None:
    phone.control("fault", name="drop-large-packets")
    async with (
        UserspaceRsdTunnel(serial=phone.udid, autopair=True, remotepairing_fallback=False) as rsd,
        AfcService(rsd) as files,
    ):
        # this client sends again in smaller packets what was lost; what is lost is for the tunnel's own tests
        await files.set_file_contents("/Downloads/large.bin", CONTENT)
    assert (phone.home / "Media/Downloads/large.bin").read_bytes() == CONTENT


async def slow_link(phone: RunningPhone, port: int) -> None:
    phone.control("fault", name="slow-link", bandwidth="10MB", latency_ms=20)
    async with container(phone) as files:
        begin = time.monotonic()
        await files.set_file_contents("/Documents/slow.bin", CONTENT)
        assert time.monotonic() - begin >= len(CONTENT) / 10_000_000


async def service_refuses(phone: RunningPhone, port: int) -> None:
    phone.control("fault", name="service-refuses", service="com.apple.afc")
    async with lockdown(phone) as client:
        with pytest.raises(PyMobileDevice3Exception, match="ServiceProhibited"):
            await client.start_lockdown_service("com.apple.afc")
        async with InstallationProxyService(client) as installer:
            assert BUNDLE_ID in await installer.get_apps()


async def service_hangs(phone: RunningPhone, port: int) -> None:
    phone.control("fault", name="service-hangs", service="com.apple.mobile.installation_proxy")
    async with lockdown(phone) as client, InstallationProxyService(client) as installer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SILENCE_S):
                await installer.get_apps()


async def afc_error(phone: RunningPhone, port: int) -> None:
    phone.control("fault", name="afc-error", at="push:1000001")
    async with container(phone) as files:
        with pytest.raises(AfcException) as caught:
            await files.set_file_contents("/Documents/cut.bin", CONTENT)
        assert caught.value.status is not None
        assert int(caught.value.status) == NO_SPACE
    async with container(phone) as files:
        assert await files.get_file_contents("/Documents/cut.bin") == CONTENT[:1000001]


async def pushed_under(phone: RunningPhone, fault: str) -> bytes:
    phone.control("fault", text=fault)
    async with container(phone) as files:
        await files.set_file_contents("/Documents/harmed.bin", CONTENT)
        return await files.get_file_contents("/Documents/harmed.bin")


async def file_truncated(phone: RunningPhone, port: int) -> None:
    arrived = await pushed_under(phone, "file-truncated@push:5")
    assert len(arrived) < len(CONTENT)
    assert CONTENT.startswith(arrived)
    assert arrived == await pushed_under(phone, "file-truncated@push:5"), "the same seed, the same place"


async def file_corrupted(phone: RunningPhone, port: int) -> None:
    arrived = await pushed_under(phone, "file-corrupted")
    assert len(arrived) == len(CONTENT)
    wrong = [place for place, pair in enumerate(zip(arrived, CONTENT, strict=True)) if pair[0] != pair[1]]
    assert 0 < len(wrong) <= 16
    assert wrong[-1] - wrong[0] < 16
    assert arrived == await pushed_under(phone, "file-corrupted"), "the same seed, the same place"


async def kill_app(phone: RunningPhone, port: int) -> None:
    async with app_port(phone, port) as (reader, _):
        phone.control("fault", name="kill-app", signal=6)
        assert await reader.read() == b""

    async def told() -> bool:
        return [entry["signal"] for entry in phone.truth() if entry["event"] == "end"][-1:] == [6]

    await until(told)


async def app_silent(phone: RunningPhone, port: int) -> None:
    async with app_port(phone, port) as (reader, writer):
        writer.write(b"first\n")
        assert await reader.readline() == b"first\n"
        phone.control("fault", name="app-silent")
        writer.write(b"second\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SILENCE_S):
                await reader.read(1)
        phone.control("heal")
        writer.write(b"third\n")
        assert await reader.read() == b"", "a stream with a hole in it is ended, not gone on with"


async def app_garbage(phone: RunningPhone, port: int) -> None:
    async with app_port(phone, port) as (reader, writer):
        phone.control("fault", name="app-garbage", bytes=100, seed="7")
        writer.write(b"hello\n")
        (fault,) = parse_faults("app-garbage:bytes=100", "7")
        assert await reader.readexactly(106) == fault.chance().randbytes(100) + b"hello\n"


async def reboot(phone: RunningPhone, port: int) -> None:
    async with app_port(phone, port) as (reader, _):
        phone.control("fault", name="reboot", seconds=0.2)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    await until_back(phone)
    assert phone.control("processes")["processes"] == []


async def revoke_trust(phone: RunningPhone, port: int) -> None:
    async with open_service(phone) as service:
        phone.control("fault", name="revoke-trust")
        with pytest.raises((PyMobileDevice3Exception, OSError)):
            await service.recvall(1)
    with pytest.raises(PairingDialogResponsePendingError):
        async with lockdown(phone):
            pass


async def jetsam_other(phone: RunningPhone, port: int) -> None:
    async with lockdown(phone) as client, CrashReportsManager(client) as reports:
        before = set(await reports.ls("/"))
        phone.control("fault", name="jetsam-other", app="Podcasts")
        (new,) = set(await reports.ls("/")) - before
        body = json.loads((await reports.afc.get_file_contents(new)).partition(b"\n")[2])
    assert [row["name"] for row in body["processes"] if row.get("reason")] == ["Podcasts"]


async def sysmontap_silent(phone: RunningPhone, port: int) -> None:
    phone.control("fault", name="sysmontap-silent")
    async with tunnel(phone) as provider, Sysmontap(provider, ["pid"], [], interval_ms=50) as tap:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SILENCE_S):
                await anext(aiter(tap))


async def sysmontap_slow(phone: RunningPhone, port: int) -> None:
    phone.control("fault", name="sysmontap-slow", least=0.5, most=0.6)
    async with tunnel(phone) as provider, Sysmontap(provider, ["pid"], [], interval_ms=50) as tap:
        rows = aiter(tap)
        starts = [(await anext(rows))["StartMachAbsTime"] for _ in range(4)]
    # two rows a sample, and ticks of 1/24 µs at the most
    assert (starts[-1] - starts[0]) >= 0.5 * 1_000_000


async def clock_jump(phone: RunningPhone, port: int) -> None:
    async with lockdown(phone) as client:
        before = await client.get_value(key="TimeIntervalSince1970")
        phone.control("fault", name="clock-jump", offset=-86400)
        assert await client.get_value(key="TimeIntervalSince1970") == pytest.approx(before - 86400, abs=LIMIT_S)


STRIKES: dict[str, Callable[[RunningPhone, int], Awaitable[None]]] = {
    "unplug": unplug,
    "tunnel-drop": tunnel_drop,
    "drop-large-packets": drop_large_packets,
    "slow-link": slow_link,
    "service-refuses": service_refuses,
    "service-hangs": service_hangs,
    "afc-error": afc_error,
    "file-truncated": file_truncated,
    "file-corrupted": file_corrupted,
    "kill-app": kill_app,
    "app-silent": app_silent,
    "app-garbage": app_garbage,
    "reboot": reboot,
    "revoke-trust": revoke_trust,
    "jetsam-other": jetsam_other,
    "sysmontap-silent": sysmontap_silent,
    "sysmontap-slow": sysmontap_slow,
    "clock-jump": clock_jump,
}


def test_every_fault_has_its_test() -> None:
    assert set(STRIKES) == set(KINDS)


@pytest.mark.parametrize("name", STRIKES)
async def test_after_a_fault_the_phone_is_usable_and_nothing_leaks(
    name: str, virtual_phone: RunningPhone, make_ipa: MakeIpa, free_tcp_port: int
) -> None:
    phone = virtual_phone
    async with lockdown(phone) as client, InstallationProxyService(client) as installer:
        await installer.install_from_local(make_ipa(ECHO), developer=True)
    await use(phone)
    before = await census_at_rest(phone)

    await STRIKES[name](phone, free_tcp_port)
    assert phone.control("faults")["happened"][0].partition("@")[0].partition(":")[0] == name
    phone.control("heal")
    for row in phone.control("processes")["processes"]:
        phone.control("kill", pid=row["pid"])
    await use(phone)
    await census_at_rest(phone, before)


# -- triggers


async def begin_phase(phone: RunningPhone, port: int, name: str) -> None:
    line = json.dumps({"v": 1, "seq": 1, "t": 1, "ev": "phase", "name": name, "edge": "begin"}).encode() + b"\n"
    async with app_port(phone, port) as (reader, writer):
        writer.write(line)
        assert await reader.readline() == line, "the host hears the phase before the fault strikes"
        await until_happened(phone, "clock-jump")


async def push(phone: RunningPhone, port: int) -> None:
    async with container(phone) as files:
        await files.set_file_contents("/Documents/use.bin", CONTENT)
        assert await files.get_file_contents("/Documents/use.bin") == CONTENT


async def install(phone: RunningPhone, port: int) -> None:
    async with lockdown(phone) as client, InstallationProxyService(client) as installer:
        with pytest.raises(PyMobileDevice3Exception):
            await installer.install_from_local(Path(__file__))


async def launch(phone: RunningPhone, port: int) -> None:
    phone.control("launch", bundle_id=BUNDLE_ID, environment={"RUNNER_PORT": str(port)})


async def report(phone: RunningPhone, port: int) -> None:
    phone.control("jetsam_other", name="Podcasts")
    async with lockdown(phone) as client, CrashReportsManager(client) as reports:
        (name,) = [entry for entry in await reports.ls("/") if "Jetsam" in entry]
        assert not phone.control("faults")["happened"], "a listing reads no report"
        await reports.afc.get_file_contents(name)


async def nothing(phone: RunningPhone, port: int) -> None:
    pass


PROVOKE: dict[str, Callable[[RunningPhone, int], Awaitable[None]]] = {
    "now": nothing,
    "install": install,
    "push": push,
    "push:3000000": push,
    "launch": launch,
    "load": lambda phone, port: begin_phase(phone, port, "create_engine"),
    "generate": lambda phone, port: begin_phase(phone, port, "first_token"),
    "unload": lambda phone, port: begin_phase(phone, port, "unload"),
    "phase:hold": lambda phone, port: begin_phase(phone, port, "hold"),
    "report": report,
    "after:0.2": nothing,
}


async def test_every_trigger_fires_at_its_moment_and_once(
    phone_starter: StartPhone, make_ipa: MakeIpa, free_tcp_port: int
) -> None:
    assert {trigger.partition(":")[0] for trigger in PROVOKE} == set(Moment)
    for number, (trigger, provoke) in enumerate(PROVOKE.items()):
        if number == 0:
            phone = phone_starter()
            async with lockdown(phone) as client, InstallationProxyService(client) as installer:
                await installer.install_from_local(make_ipa(ECHO), developer=True)
        else:
            phone.stop()
            phone = phone_starter()
        (text,) = phone.control("fault", name="clock-jump", at=trigger)["faults"]
        assert phone.control("faults")["armed"] == ([] if trigger in ("now",) else [text])
        await provoke(phone, free_tcp_port)
        await until_happened(phone, "clock-jump")
        if trigger not in ("report", "now", "after:0.2"):
            await provoke(phone, free_tcp_port)
        assert phone.control("faults") == {"armed": [], "happened": [text]}


async def test_faults_of_the_device_word_are_armed_from_the_start(phone_starter: StartPhone, make_ipa: MakeIpa) -> None:
    phone = phone_starter({"fault": "service-hangs:service=com.apple.afc@now+kill-app@launch", "seed": "7"})
    assert phone.control("faults") == {
        "armed": ["kill-app@launch"],
        "happened": ["service-hangs:service=com.apple.afc@now"],
    }
    phone.control("heal")
    assert phone.control("faults")["armed"] == []
    async with lockdown(phone) as client, InstallationProxyService(client) as installer:
        await installer.install_from_local(make_ipa(ECHO), developer=True)
    await use(phone)


def test_wrong_words_are_refused_with_the_right_ones(virtual_phone: RunningPhone) -> None:
    refused: list[tuple[dict[str, object], str]] = [
        ({"name": "unplugged"}, "there are: unplug"),
        ({"name": "unplug", "at": "lunch"}, "there are: now"),
        ({"name": "unplug", "secs": 3}, "it has: seconds"),
        ({"text": "unplug@"}, "comes a trigger"),
        ({}, "name"),
    ]
    for words, said in refused:
        with pytest.raises(ControlRefused, match=said):
            virtual_phone.control("fault", **words)
