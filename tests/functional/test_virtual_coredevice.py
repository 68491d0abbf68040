"""CoreDevice services and the newer instruments, by a real client; and what breaks the way to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3.exceptions import CoreDeviceError, InvalidServiceError, PyMobileDevice3Exception
from pymobiledevice3.remote.core_device.app_service import AppServiceService
from pymobiledevice3.remote.core_device.open_stdio_socket import OpenStdioSocketService
from pymobiledevice3.remote.remote_service_discovery import RemoteServiceDiscoveryService
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.dvt.instruments.condition_inducer import ConditionInducer
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.graphics import Graphics
from pymobiledevice3.services.dvt.instruments.notifications import Notifications
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.installation_proxy import InstallationProxyService

if TYPE_CHECKING:
    from harness.virtual.running import RunningPhone

pytestmark = pytest.mark.anyio

BUNDLE_ID = "com.example.probe"
LIMIT_S = 60.0
"""Of a whole test body; only a hanging conversation reaches it."""
SPEAKER = """#!/bin/sh
echo "out: $1 $PROBE_WORD"
printf 'raw: \\377\\376 end' >&2
exit 5
"""
WAITER = """#!/bin/sh
echo started
while :; do sleep 0.02; done
"""


@asynccontextmanager
async def tunnel(phone: RunningPhone) -> AsyncIterator[RemoteServiceDiscoveryService]:
    async with (
        asyncio.timeout(LIMIT_S),
        UserspaceRsdTunnel(serial=phone.udid, autopair=True, remotepairing_fallback=False) as rsd,
    ):
        yield rsd


async def install(rsd: RemoteServiceDiscoveryService, ipa: Path) -> None:
    async with InstallationProxyService(rsd) as installer:
        await installer.install_from_local(ipa)


async def read_to_the_end(stdio: OpenStdioSocketService) -> bytes:
    said = b""
    while data := await stdio.read():
        said += data
    return said


async def read_until(stdio: OpenStdioSocketService, wanted: bytes) -> bytes:
    said = b""
    while wanted not in said:
        said += await stdio.read()
    return said


async def test_an_app_is_launched_with_its_output_and_its_end_is_told(
    virtual_phone: RunningPhone, make_ipa: Callable[..., Path]
) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(SPEAKER))
        async with AppServiceService(rsd) as apps, OpenStdioSocketService(rsd) as stdio:
            answer: Any = await apps.launch_application(
                BUNDLE_ID, ["one"], environment={"PROBE_WORD": "yes"}, stdio_identifier=stdio.identifier
            )
            said = await read_to_the_end(stdio)
        assert b"out: one yes\r\n" in said
        assert b"raw: \xff\xfe end" in said  # bytes, not text: what is no UTF-8 arrives as well
    pid = answer["processToken"]["processIdentifier"]
    ends = [(entry["pid"], entry["exit_code"]) for entry in virtual_phone.truth() if entry["event"] == "end"]
    assert ends == [(pid, 5)]


async def test_apps_and_processes_are_listed_and_signalled(
    virtual_phone: RunningPhone, make_ipa: Callable[..., Path]
) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(WAITER))
        async with (
            AppServiceService(rsd) as apps,
            AppServiceService(rsd) as watcher,
            OpenStdioSocketService(rsd) as stdio,
        ):
            rows = {row["bundleIdentifier"]: row for row in await apps.list_apps()}
            assert (rows[BUNDLE_ID]["name"], rows[BUNDLE_ID]["isFirstParty"]) == ("Probe", False)
            assert rows["com.apple.Preferences"]["isFirstParty"]
            answer: Any = await apps.launch_application(BUNDLE_ID, stdio_identifier=stdio.identifier)
            pid = answer["processToken"]["processIdentifier"]
            assert await read_until(stdio, b"\n") == b"started\r\n"
            tokens = {row["processIdentifier"]: row["executableURL"]["relative"] for row in await apps.list_processes()}
            assert tokens[1] == "file:///sbin/launchd"
            assert tokens[pid].endswith("/Probe.app/Probe")
            monitoring = asyncio.create_task(watcher.monitor_process_termination(pid))
            # it goes over a connection of its own: two round trips here and it has been heard there
            for _ in range(2):
                await apps.list_processes()
            assert isinstance((await apps.send_signal_to_process(pid, 9))["deviceTimestamp"], float)
            assert (await monitoring)["terminationStatus"] == 9
            assert await read_to_the_end(stdio) == b""


async def test_what_cannot_be_done_is_a_core_device_error(
    virtual_phone: RunningPhone, make_ipa: Callable[..., Path]
) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(WAITER))
        async with AppServiceService(rsd) as apps, OpenStdioSocketService(rsd) as stdio:
            with pytest.raises(CoreDeviceError, match=r"failed to launch.*org\.example\.absent") as caught:
                await apps.launch_application("org.example.absent", stdio_identifier=stdio.identifier)
            assert caught.value.code == 10002
            with pytest.raises(CoreDeviceError, match="debugger"):
                await apps.launch_application(BUNDLE_ID, start_suspended=True)
            with pytest.raises(CoreDeviceError, match="No such process"):
                await apps.send_signal_to_process(999_999_999, 9)
            with pytest.raises(CoreDeviceError, match="from 1 to 31"):
                await apps.send_signal_to_process(1, 77)
            with pytest.raises(CoreDeviceError, match="No such process"):
                await apps.monitor_process_termination(999_999_999)
            with pytest.raises(CoreDeviceError, match="must be a dictionary"):
                await apps.invoke("com.apple.coredevice.feature.launchapplication", {"applicationSpecifier": "x"})
            # the socket of the launch that failed may be used for another, once
            await apps.launch_application(BUNDLE_ID, stdio_identifier=stdio.identifier)
            await read_until(stdio, b"started")
            with pytest.raises(CoreDeviceError, match="no open socket"):
                await apps.launch_application(BUNDLE_ID, stdio_identifier=stdio.identifier)


async def test_from_ios_26_lists_come_in_pieces(phone_starter: Callable[..., RunningPhone]) -> None:
    phone = phone_starter({"ios": "26.0"})
    async with tunnel(phone) as rsd, AppServiceService(rsd) as apps:
        assert "com.apple.Preferences" in {row["bundleIdentifier"] for row in await apps.list_apps()}
        assert 1 in [row["processIdentifier"] async for row in apps.stream_processes()]


async def test_without_the_developer_image_there_is_neither(virtual_phone: RunningPhone) -> None:
    virtual_phone.control("developer_image", mounted=False)
    async with tunnel(virtual_phone) as rsd:
        for name in ("com.apple.coredevice.appservice", "com.apple.instruments.dtservicehub"):
            with pytest.raises(InvalidServiceError):
                rsd.get_service_port(name)


async def test_a_condition_warms_the_phone_for_as_long_as_its_client_stays(virtual_phone: RunningPhone) -> None:
    def thermal() -> object:
        return virtual_phone.control("conditions")["thermal"]

    def told() -> object:
        return json.loads((virtual_phone.home / "system_state.json").read_text(encoding="utf-8"))["thermal"]

    async with tunnel(virtual_phone) as rsd:
        assert thermal() == "nominal"
        async with DvtProvider(rsd) as dvt, ConditionInducer(dvt) as conditions:
            await conditions.set("ThermalSerious")
            assert (thermal(), told()) == ("serious", 2)
            (group,) = await conditions.list()
            assert (group["isActive"], group["activeProfile"]) == (True, "ThermalSerious")
            await conditions.clear()  # type: ignore[no-untyped-call]  # the client leaves it untyped
            (group,) = await conditions.list()
            assert (group["isActive"], thermal()) == (False, "nominal")
            with pytest.raises(PyMobileDevice3Exception, match="ThermalMelting"):
                await conditions.set("ThermalMelting")
            virtual_phone.control("thermal", state="fair")
            await conditions.set("ThermalCritical")
            assert thermal() == "critical"
        while thermal() != "fair":  # noqa: ASYNC110  # the phone notices the end of the connection by itself
            await asyncio.sleep(0.01)


async def test_graphics_say_truly_that_nothing_is_drawn(virtual_phone: RunningPhone) -> None:
    async with tunnel(virtual_phone) as rsd, DvtProvider(rsd) as dvt, Graphics(dvt) as graphics:
        async for sample in graphics:
            assert sample["CoreAnimationFramesPerSecond"] == sample["Device Utilization %"] == 0
            break


async def test_starts_and_ends_of_apps_are_notified(virtual_phone: RunningPhone, make_ipa: Callable[..., Path]) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(WAITER))
        async with DvtProvider(rsd) as dvt, ProcessControl(dvt) as control, Notifications(dvt) as notifications:
            # the switches ask for no reply: a question on the same channel would, and there is none; so launch twice
            pid = await control.launch(BUNDLE_ID)
            await control.kill(pid)
            heard: list[tuple[object, ...]] = []
            async for selector, (words,) in notifications:
                assert selector == "applicationStateNotification:"
                if words["pid"] == pid:
                    heard.append((words["displayID"], words["appName"], words["state_description"]))
                if len(heard) == 2:
                    break
    assert heard == [(BUNDLE_ID, "Probe", "Foreground Running"), (BUNDLE_ID, "Probe", "Terminated")]


async def test_a_client_that_finds_smaller_packets_gets_through_where_large_ones_are_lost(
    virtual_phone: RunningPhone,
) -> None:
    content = bytes(range(256)) * 2_000
    virtual_phone.control("drop_large_packets", on=True)
    async with tunnel(virtual_phone) as rsd, AfcService(rsd) as files:
        await files.set_file_contents("Downloads/large.bin", content)
    assert (virtual_phone.home / "Media/Downloads/large.bin").read_bytes() == content


async def test_a_client_that_keeps_to_small_windows_gets_through(virtual_phone: RunningPhone) -> None:
    virtual_phone.control("strict_http2_windows", on=True)
    async with tunnel(virtual_phone) as rsd, AppServiceService(rsd) as apps:
        with pytest.raises(CoreDeviceError, match="failed to launch"):
            await apps.launch_application("org.example.absent", ["x" * 1000] * 200)
        assert len(await apps.list_processes()) > 1


async def test_a_dropped_tunnel_leaves_a_phone_that_takes_another(
    virtual_phone: RunningPhone, make_ipa: Callable[..., Path]
) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(WAITER))
        async with DvtProvider(rsd) as dvt, ProcessControl(dvt) as control:
            pid = await control.launch(BUNDLE_ID)
            assert virtual_phone.control("drop_tunnels") == {"tunnels": 1}
            while virtual_phone.control("drop_tunnels") != {"tunnels": 0}:  # noqa: ASYNC110  # the phone's own pace
                await asyncio.sleep(0.01)
            # whichever of its errors the client chooses, or none: it may wait for an answer that never comes
            with contextlib.suppress(Exception):
                await asyncio.wait_for(control.process_identifier_for_bundle_identifier(BUNDLE_ID), 2.0)
    async with tunnel(virtual_phone) as rsd, DvtProvider(rsd) as dvt, DeviceInfo(dvt) as info:
        assert await info.is_running_pid(pid)
