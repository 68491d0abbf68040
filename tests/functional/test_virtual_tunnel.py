"""iOS 17's way in, by a real client: the tunnel, service discovery, and the instruments behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3.dtx import DTXNsError
from pymobiledevice3.exceptions import InvalidServiceError, UnrecognizedSelectorError
from pymobiledevice3.remote.remote_service_discovery import RemoteServiceDiscoveryService
from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.afc import AfcService
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.dvt.instruments.sysmontap import Sysmontap
from pymobiledevice3.services.installation_proxy import InstallationProxyService

if TYPE_CHECKING:
    from harness.virtual.running import RunningPhone

pytestmark = pytest.mark.anyio

BUNDLE_ID = "com.example.probe"
LIMIT_S = 60.0
"""Of a whole test body; only a hanging conversation reaches it."""
TALKATIVE = """#!/bin/sh
trap 'exit 3' TERM
echo "arguments: $*"
echo "variable: $PROBE_WORD"
while :; do sleep 0.02; done
"""
CLIENT_LOG = "pymobiledevice3.services.dvt.instruments.process_control.dtx"
"""Where the client tells of terminated processes; it has no other way."""


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


async def until(condition: Callable[[], Any]) -> None:
    """Waits until `condition` holds; the limit is the tunnel's."""
    while not condition():  # noqa: ASYNC110  # the client tells of it only in its log
        await asyncio.sleep(0.01)


async def output_until(control: ProcessControl, wanted: str) -> tuple[str, set[int]]:
    """All output until `wanted` is in it, and the pids it came from."""
    text, pids = "", set()
    while wanted not in text:
        message, pid, _ = await control.service.output_events.get()
        text += message
        pids.add(pid)
    return text, pids


async def test_discovery_tells_who_the_phone_is(virtual_phone: RunningPhone) -> None:
    async with tunnel(virtual_phone) as rsd:
        assert rsd.udid == virtual_phone.udid
        assert (rsd.product_type, rsd.product_version, rsd.product_build_version) == ("iPhone17,1", "18.5", "22F76")
        assert rsd.peer_info is not None
        services = rsd.peer_info["Services"]
        assert "com.apple.instruments.dtservicehub" in services
        for name in ("com.apple.afc", "com.apple.mobile.installation_proxy", "com.apple.crashreportcopymobile"):
            assert f"{name}.shim.remote" in services
        assert await rsd.get_value(key="UniqueDeviceID") == virtual_phone.udid
        assert await rsd.get_value("com.apple.mobile.battery", "BatteryCurrentCapacity") == 87


async def test_classic_services_answer_behind_the_tunnel(virtual_phone: RunningPhone) -> None:
    content = bytes(range(256)) * 12_000  # about 3 MB: more than any window or buffer on the way
    async with tunnel(virtual_phone) as rsd:
        async with InstallationProxyService(rsd) as installer:
            assert "com.apple.Preferences" in await installer.get_apps()
        async with AfcService(rsd) as files:
            await files.set_file_contents("Downloads/blob.bin", content)
            assert await files.get_file_contents("Downloads/blob.bin") == content
    assert (virtual_phone.home / "Media/Downloads/blob.bin").read_bytes() == content


async def test_an_app_is_launched_watched_and_killed(
    virtual_phone: RunningPhone, make_ipa: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(TALKATIVE))
        async with DvtProvider(rsd) as dvt, DeviceInfo(dvt) as info, ProcessControl(dvt) as control:
            pid = await control.launch(BUNDLE_ID, ["one", "two words"], environment={"PROBE_WORD": "yes"})
            await control.service.startObservingPid_(pid)
            text, pids = await output_until(control, "variable: yes\n")
            assert text == "arguments: one two words\nvariable: yes\n"
            assert pids == {pid}

            row = next(row for row in await info.proclist() if row["pid"] == pid)
            assert (row["name"], row["isApplication"]) == ("Probe", True)
            assert await info.is_running_pid(pid)
            assert (await info.execname_for_pid(pid)).endswith("/Probe.app/Probe")
            assert await control.process_identifier_for_bundle_identifier(BUNDLE_ID) == pid

            with caplog.at_level(logging.WARNING, CLIENT_LOG):
                await control.kill(pid)
                await until(lambda: f"PID {pid} terminated with exit code None or crashing signal 9" in caplog.text)
            assert not await info.is_running_pid(pid)
            assert await control.process_identifier_for_bundle_identifier(BUNDLE_ID) == 0
    assert [entry["signal"] for entry in virtual_phone.truth() if entry["event"] == "end"] == [9]


async def test_an_exit_code_is_told_and_killing_what_exists_makes_room(
    virtual_phone: RunningPhone, make_ipa: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(TALKATIVE))
        async with DvtProvider(rsd) as dvt, ProcessControl(dvt) as control:
            first = await control.launch(BUNDLE_ID, environment={"PROBE_WORD": "first"})
            await output_until(control, "variable: first")
            second = await control.launch(BUNDLE_ID, environment={"PROBE_WORD": "second"}, kill_existing=True)
            assert second != first
            await control.service.startObservingPid_(second)
            _, pids = await output_until(control, "variable: second")
            assert pids == {second}
            with caplog.at_level(logging.WARNING, CLIENT_LOG):
                await control.signal(second, 15)
                await until(lambda: f"PID {second} terminated with exit code 3 or crashing signal None" in caplog.text)
            assert f"PID {first}" not in caplog.text  # nobody observed that one


async def test_sysmontap_reads_the_memory_of_the_real_process(
    virtual_phone: RunningPhone, make_ipa: Callable[..., Path]
) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(TALKATIVE))
        async with DvtProvider(rsd) as dvt, DeviceInfo(dvt) as info, ProcessControl(dvt) as control:
            pid = await control.launch(BUNDLE_ID)
            await output_until(control, "variable")
            attributes = list(await info.sysmon_process_attributes())
            assert {"pid", "physFootprint", "cpuUsage"} <= set(attributes)
            async with Sysmontap(dvt, [*attributes, "unheardOf"], ["physMemSize"], interval_ms=20) as tap:
                samples: list[dict[str, Any]] = []
                system: list[Any] = []
                async for row in tap:
                    if "Processes" not in row:
                        assert row["CPUCount"] == 6
                        continue
                    system = row["System"]
                    samples.append(dict(zip([*attributes, "unheardOf"], row["Processes"][pid], strict=True)))
                    if len(samples) == 3:
                        launchd = dict(zip([*attributes, "unheardOf"], row["Processes"][1], strict=True))
                        break
            memory = virtual_phone.control("memory", pid=pid)["memory"]
            assert samples[0]["name"] == "Probe"
            # the shell does not grow by a page between two looks, but a kernel may count one later
            assert abs(samples[2]["physFootprint"] - memory["footprint_bytes"]) < 1024 * 1024
            assert 0 < samples[0]["physFootprint"] < samples[0]["memVirtualSize"]
            assert samples[0]["cpuUsage"] is None  # there is nothing before it to compare with
            assert samples[1]["cpuUsage"] >= 0.0
            assert samples[2]["procAge"] > samples[1]["procAge"] > 0
            assert samples[0]["unheardOf"] is None
            assert system == [8 * 1024**3]
            assert (launchd["name"], launchd["physFootprint"]) == ("launchd", None)


async def test_what_is_wrong_is_refused_and_the_connection_lives_on(virtual_phone: RunningPhone) -> None:
    async with (
        tunnel(virtual_phone) as rsd,
        DvtProvider(rsd) as dvt,
        DeviceInfo(dvt) as info,
        ProcessControl(dvt) as control,
    ):
        with pytest.raises(DTXNsError, match=r"org\.example\.absent"):
            await control.launch("org.example.absent")
        with pytest.raises(DTXNsError, match="debugger"):
            await control.launch(BUNDLE_ID, start_suspended=True)
        for pid in (999_999_999, 1):  # nobody, and a process of the system
            with pytest.raises(DTXNsError, match="No such process"):
                await control.kill(pid)
        with pytest.raises(DTXNsError, match="No such process"):
            await control.service.startObservingPid_(999_999_999)
        with pytest.raises(DTXNsError, match="No such process"):
            await info.execname_for_pid(999_999_999)
        with pytest.raises(DTXNsError, match="no signal 77"):
            await control.signal(1, 77)
        with pytest.raises(UnrecognizedSelectorError, match="networkInformation"):
            await info.service.network_information()
        with pytest.raises(DTXNsError, match=r"no service 'com\.example\.absent'"):
            await dvt.dtx.open_channel("com.example.absent")
        with pytest.raises(DTXNsError, match="must be a whole number"):
            await info.service.is_running_pid_("one")  # type: ignore[arg-type]  # on purpose
        assert await info.is_running_pid(1)


async def test_without_developer_mode_there_are_no_instruments(virtual_phone: RunningPhone) -> None:
    virtual_phone.control("developer_mode", on=False)
    async with tunnel(virtual_phone) as rsd:
        with pytest.raises(InvalidServiceError):
            rsd.get_service_port("com.apple.instruments.dtservicehub")


async def test_after_a_pulled_cable_a_new_tunnel_can_be_built(
    virtual_phone: RunningPhone, make_ipa: Callable[..., Path]
) -> None:
    async with tunnel(virtual_phone) as rsd:
        await install(rsd, make_ipa(TALKATIVE))
        async with DvtProvider(rsd) as dvt, ProcessControl(dvt) as control:
            pid = await control.launch(BUNDLE_ID)
            virtual_phone.control("unplug")
            # whichever of its errors the client chooses, or none: it may wait for an answer that never comes
            with contextlib.suppress(Exception):
                await asyncio.wait_for(control.process_identifier_for_bundle_identifier(BUNDLE_ID), 2.0)
    virtual_phone.control("plug")
    async with tunnel(virtual_phone) as rsd, DvtProvider(rsd) as dvt, DeviceInfo(dvt) as info:
        assert await info.is_running_pid(pid)  # a cable does not end an app
