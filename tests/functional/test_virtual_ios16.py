"""iOS 16: the same instruments behind lockdownd, by pymobiledevice3 and by tidevice, which knows no later way."""

from __future__ import annotations

import asyncio
import gc
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3.exceptions import InvalidServiceError
from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.services.dvt.instruments.device_info import DeviceInfo
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl
from pymobiledevice3.services.dvt.instruments.sysmontap import Sysmontap
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from tidevice._device import Device  # type: ignore[import-untyped]  # ships no types
from tidevice._perf import DataType, Performance  # type: ignore[import-untyped]  # ships no types
from tidevice._usbmux import Usbmux  # type: ignore[import-untyped]  # ships no types
from tidevice.exceptions import ServiceError  # type: ignore[import-untyped]  # ships no types

from harness.device.tidevice_.instruments import Replies

if TYPE_CHECKING:
    from harness.virtual.running import RunningPhone

pytestmark = [
    pytest.mark.anyio,
    # tidevice, unchanged since 2023: old names of ssl and datetime, sockets left to the garbage collector
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BUNDLE_ID = "com.example.probe"
PROFILE_SETTINGS = {"ios": "16.7"}
DVT_PROXY = "com.apple.instruments.remoteserver.DVTSecureSocketProxy"
LIMIT_S = 60.0
JOIN_LIMIT_S = 10.0
# tidevice's meters have none of their own
MEASURE_LIMIT_S = 60.0
WAITER = """#!/bin/sh
echo "word: $PROBE_WORD, arguments: $*"
while :; do sleep 0.02; done
"""


@pytest.fixture
def old_phone(phone_starter: Callable[..., RunningPhone]) -> RunningPhone:
    """A phone of the last generation that has iOS 16."""
    return phone_starter(PROFILE_SETTINGS, profile="iphone-14")


async def pair_and_install(ipa: Path) -> None:
    """tidevice does not pair by itself; it uses the record that pymobiledevice3 leaves in usbmuxd."""
    async with await create_using_usbmux(autopair=True) as lockdown, InstallationProxyService(lockdown) as installer:
        await installer.install_from_local(ipa)


@pytest.fixture
def device(old_phone: RunningPhone, make_ipa: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Device:
    """The phone as tidevice sees it, with the app on it.

    tidevice loses an answer that comes just as it begins to wait for it; what mends that for ours is lent to it here.
    """
    monkeypatch.setattr("tidevice._instruments.defaultdict", lambda make: Replies())
    asyncio.run(pair_and_install(make_ipa(WAITER)))
    return Device(old_phone.udid, usbmux=Usbmux(old_phone.usbmux))


@pytest.fixture(autouse=True)
def no_litter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """tidevice's threads end when their connection does, some with a traceback that means nothing.

    It also leaves sockets to the garbage collector, which must find them here: in a later test they would be errors.
    Being used by itself, this comes last, when the phone has ended and with it every connection.
    """
    monkeypatch.setattr(threading, "excepthook", lambda details: None)
    logging.getLogger("tidevice").setLevel(logging.CRITICAL)
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + JOIN_LIMIT_S
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, deadline - time.monotonic()))
    gc.collect()


async def test_pymobiledevice3_goes_through_lockdownd(old_phone: RunningPhone, make_ipa: Callable[..., Path]) -> None:
    async with asyncio.timeout(LIMIT_S):
        await pair_and_install(make_ipa(WAITER))
        async with await create_using_usbmux() as lockdown:
            assert lockdown.product_version == "16.7"
            async with DvtProvider(lockdown) as dvt, DeviceInfo(dvt) as info, ProcessControl(dvt) as control:
                pid = await control.launch(BUNDLE_ID, ["a"], environment={"PROBE_WORD": "x"})
                text, speaker, _ = await control.service.output_events.get()
                assert (text, speaker) == ("word: x, arguments: a\n", pid)
                assert await info.is_running_pid(pid)
                async with Sysmontap(dvt, ["pid", "physFootprint"], [], interval_ms=20) as tap:
                    async for rows in tap.iter_processes():
                        assert pid in {row["pid"] for row in rows}
                        break
                await control.kill(pid)
            with pytest.raises(InvalidServiceError):
                await lockdown.start_lockdown_service("com.apple.internal.devicecompute.CoreDeviceProxy")


async def test_a_phone_of_ios_18_does_not_offer_it(virtual_phone: RunningPhone) -> None:
    async with asyncio.timeout(LIMIT_S), await create_using_usbmux(autopair=True) as lockdown:
        with pytest.raises(InvalidServiceError):
            await lockdown.start_lockdown_service(DVT_PROXY)


def test_tidevice_launches_lists_and_kills(
    old_phone: RunningPhone, device: Device, eventually: Callable[[Callable[[], object]], None]
) -> None:
    with device.connect_instruments() as instruments:
        pid = instruments.app_launch(BUNDLE_ID, {"PROBE_WORD": "tide"}, ["--tide", "2"])
        rows = {row["pid"]: row for row in instruments.app_running_processes()}
        assert (rows[pid]["name"], rows[pid]["isApplication"]) == ("Probe", True)
        assert instruments.is_running_pid(pid)
        with pytest.raises(ServiceError):
            instruments.app_launch("org.example.absent")
        apps = list(device.installation.iter_installed(app_type=None))
        assert [p["pid"] for p in instruments.app_process_list(apps) if p["bundle_id"] == BUNDLE_ID] == [pid]
        instruments.app_kill(pid)
        eventually(lambda: not instruments.is_running_pid(pid))
    assert [entry["signal"] for entry in old_phone.truth() if entry["event"] == "end"] == [9]


def measure(device: Device) -> dict[str, dict[str, Any]]:
    """The latest value of each meter; raises queue.Empty when one of them stays silent."""
    heard: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
    performance = Performance(device, [DataType.CPU, DataType.MEMORY, DataType.FPS, DataType.GPU])
    performance.start(BUNDLE_ID, lambda kind, value: heard.put((kind.value, value)))
    latest: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + MEASURE_LIMIT_S
    try:
        while set(latest) != {"cpu", "memory", "fps", "gpu"} or latest["cpu"]["pid"] is None:
            kind, value = heard.get(timeout=max(0.0, deadline - time.monotonic()))
            latest[kind] = value
    finally:
        performance.stop()
    return latest


def test_tidevice_measures(old_phone: RunningPhone, device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    with device.connect_instruments() as instruments:
        pid = instruments.app_launch(BUNDLE_ID)
    latest = measure(device)
    memory = old_phone.control("memory", pid=pid)["memory"]
    assert latest["memory"]["pid"] == pid
    assert abs(latest["memory"]["value"] - memory["footprint_bytes"] / 2**20) < 1.0
    assert (latest["fps"]["value"], latest["gpu"]["value"]) == (0, 0)
