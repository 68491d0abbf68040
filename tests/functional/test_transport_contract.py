"""What every transport promises (harness.device.interface), asked of each client library on the iOS it is used with."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.combined import open_transport
from harness.device.errors import StepError
from harness.device.interface import Capability, Container, FileContents, Transport
from harness.virtual.running import RunningPhone, start_phone
from tests.functional.app_packages import BUNDLE_ID, build_ipa

pytestmark = [
    pytest.mark.anyio,
    # tidevice, unchanged since 2023, is imported with old names of datetime
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

LIMIT_S = 60.0
# A step that waits for an answer is surely waiting by then; one that is not yet fails all the same.
UNDER_WAY_S = 0.3
MIB = 1 << 20
BIG_BYTES = 40 * MIB + 7
NO_PROCESS = 99_999_999
# listens on the port it is told and repeats what it hears
ECHO = """#!/usr/bin/env python3
import os, socket
server = socket.create_server(("127.0.0.1", int(os.environ["RUNNER_PORT"])))
while True:
    connection, _ = server.accept()
    while data := connection.recv(65536):
        connection.sendall(data)
"""


@dataclass(frozen=True)
class Case:
    prefer: str
    ios: str
    profile: str
    name: str

    def __str__(self) -> str:
        return f"{self.prefer}-{self.ios}"


CASES = (
    Case("pymobiledevice3", "18.5", "iphone-16-pro", "pymobiledevice3"),
    Case("pymobiledevice3", "16.7", "iphone-14", "pymobiledevice3"),
    Case("tidevice", "18.5", "iphone-16-pro", "tidevice+pymobiledevice3"),
    Case("tidevice", "16.7", "iphone-14", "tidevice"),
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_ipa(tmp_path_factory.mktemp("package"), ECHO)


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    wanted: Case = request.param
    return wanted


@pytest.fixture(scope="module")
def phone(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPhone]:
    with pytest.MonkeyPatch.context() as patch:
        # clients cache pair records under it
        patch.setenv("HOME", str(tmp_path_factory.mktemp("host")))
        with start_phone(case.profile, {"ios": case.ios}, home=tmp_path_factory.mktemp("phone")) as running:
            patch.setenv("USBMUXD_SOCKET_ADDRESS", running.usbmux)
            yield running


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every connection is closed with its transport, and with it ends the thread that reads it."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT_S)
        assert not thread.is_alive(), thread.name
    # what was left to the garbage collector is found here, where it is an error
    gc.collect()


@pytest.fixture
async def transport(case: Case, phone: RunningPhone) -> AsyncIterator[Transport]:
    """Open, on a phone that is plugged in and well."""
    async with asyncio.timeout(LIMIT_S):
        opened = await open_transport(phone.udid, prefer=case.prefer)
    try:
        yield opened
    finally:
        phone.control("heal")
        phone.control("plug")
        await opened.close()


@pytest.fixture
async def app(transport: Transport, package: Path) -> str:
    """The bundle identifier of the installed echo."""
    async with asyncio.timeout(LIMIT_S):
        if await transport.installed_app(BUNDLE_ID) is None:
            await transport.install(package, lambda what, done, total: None)
    return BUNDLE_ID


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        await asyncio.sleep(0.02)


async def ends_lost(step: Awaitable[object]) -> None:
    """The step fails because the phone has left, long before its own limit."""
    with pytest.raises(StepError) as raised:
        async with asyncio.timeout(limits.SERVICE_LIMIT_S):
            await step
    assert raised.value.outcome is Outcome.LOST, raised.value
    assert raised.value.step in str(raised.value)


# -- who does what


async def test_it_says_who_it_is_and_can_do_everything(transport: Transport, case: Case, phone: RunningPhone) -> None:
    assert transport.name == case.name
    assert transport.capabilities == frozenset(Capability)
    facts = transport.facts
    assert (facts.udid, facts.os_version, facts.kind) == (phone.udid, case.ios, "virtual")
    assert await transport.is_present()


# -- apps


async def test_an_app_is_installed_and_found(transport: Transport, tmp_path: Path) -> None:
    assert await transport.installed_app("com.example.absent") is None
    told: list[tuple[str, int, int]] = []
    for version in ("2", "3"):
        await transport.install(build_ipa(tmp_path, ECHO, version=version), lambda *words: told.append(words))
        found = await transport.installed_app(BUNDLE_ID)
        assert found is not None
        assert (found.bundle_id, found.build, found.process) == (BUNDLE_ID, version, "Probe")
    assert {what for what, _, _ in told} == {"upload app", "install app"}
    assert all(0 <= done <= total for _, done, total in told)


async def test_what_is_no_app_is_refused_with_the_phones_reason(transport: Transport, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ipa"
    wrong.write_bytes(b"this is no archive")
    with pytest.raises(StepError, match="refused") as raised:
        await transport.install(wrong, lambda what, done, total: None)
    assert raised.value.outcome is Outcome.INSTALL_FAILED


# -- files


async def test_files_go_there_and_back(transport: Transport, app: str) -> None:
    async with transport.container(app) as container:
        await container.make_folder("/Documents/a")
        await container.make_folder("/Documents/a")
        await container.write_bytes("/Documents/a/x", b"0123456789")
        assert await container.size("/Documents/a/x") == 10
        whole = await container.read("/Documents/a/x", 100)
        begin = await container.read("/Documents/a/x", 4)
        end = await container.read("/Documents/a/x", 4, from_end=True)
        assert whole == FileContents(b"0123456789", 10)
        assert begin == FileContents(b"0123", 10)
        assert end == FileContents(b"6789", 10)
        await container.rename("/Documents/a/x", "/Documents/a/y")
        names = await container.names("/Documents/a")
        assert "y" in names
        assert "x" not in names
        await container.remove("/Documents/a/y")
        await container.remove("/Documents/a/y")
        assert await container.size("/Documents/a/y") is None
        assert (await container.free_bytes() or 0) > 0


async def test_what_is_not_there_is_none(transport: Transport, app: str) -> None:
    async with transport.container(app) as container:
        assert await container.size("/Documents/absent") is None
        assert await container.read("/Documents/absent", 10) is None
        assert await container.names("/Documents/absent") == []
        with pytest.raises(StepError):
            await container.rename("/Documents/absent", "/Documents/b")


async def test_the_files_of_an_app_that_is_not_there(transport: Transport) -> None:
    with pytest.raises(StepError, match=r"com\.example\.absent"):
        async with transport.container("com.example.absent"):
            pass


async def test_a_big_file_arrives_whole_and_goes_on_where_it_was_cut(
    transport: Transport, app: str, tmp_path: Path
) -> None:
    source = tmp_path / "big"
    content = os.urandom(MIB) * (BIG_BYTES // MIB) + b"theend!"
    source.write_bytes(content)
    for begin in (0, 9 * MIB):
        done: list[int] = []
        async with transport.container(app) as container:
            await container.write("/Documents/big", source, from_bytes=begin, progress=done.append)
            assert await container.size("/Documents/big") == BIG_BYTES
            found = await container.read("/Documents/big", BIG_BYTES)
        assert found is not None
        assert found.data == content
        assert done == sorted(done)
        assert done[-1] == BIG_BYTES


# -- ports, processes, the monitor


async def echo(transport: Transport, port: int, data: bytes) -> bytes:
    connection = None

    async def connected() -> bool:
        nonlocal connection
        connection = await transport.connect(port)
        return connection is not None

    await until(connected)
    assert connection is not None
    reader, writer = connection
    try:
        writer.write(data)
        return await reader.readexactly(len(data))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_an_app_is_launched_spoken_to_and_ended(transport: Transport, app: str, phone: RunningPhone) -> None:
    async with asyncio.timeout(LIMIT_S):
        port = free_port()
        assert await transport.connect(port) is None, "nobody listens"
        first = await transport.launch(app, {"RUNNER_PORT": str(port)})
        assert await transport.is_running(first)
        assert await echo(transport, port, b"x" * 300_000) == b"x" * 300_000
        second = await transport.launch(app, {"RUNNER_PORT": str(port)})
        assert second != first
        assert not await transport.is_running(first), "a launch ends the one before"
        told = asyncio.create_task(transport.wait_ended(second))
        assert not (await asyncio.wait({told}, timeout=UNDER_WAY_S))[0]
        await transport.kill(second)
        assert await told == "signal 9"
        assert not await transport.is_running(second)
        await transport.kill(second)
    assert phone.truth()[-1]["pid"] == second


async def test_a_launch_of_nothing_fails_and_says_why(transport: Transport) -> None:
    with pytest.raises(StepError, match=r"com\.example\.absent") as raised:
        await transport.launch("com.example.absent", {})
    assert raised.value.outcome is Outcome.LAUNCH_FAILED
    assert not await transport.is_running(NO_PROCESS)


async def test_the_monitor_reads_the_apps_memory(transport: Transport, app: str, phone: RunningPhone) -> None:
    async with asyncio.timeout(LIMIT_S):
        begin_ns = time.monotonic_ns()
        pid = await transport.launch(app, {"RUNNER_PORT": str(free_port())})
        readings = []
        async with contextlib.aclosing(transport.watch_process(pid, 50)) as monitor:  # type: ignore[type-var]  # each is a generator
            async for reading in monitor:
                readings.append(reading)
                if len(readings) == 3:
                    break
        truth = phone.control("memory", pid=pid)["memory"]
        await transport.kill(pid)
    assert begin_ns < readings[0].t_ns < readings[1].t_ns < readings[2].t_ns < time.monotonic_ns()
    assert readings[-1].footprint_bytes == pytest.approx(truth["footprint_bytes"], abs=4 * MIB)
    assert readings[-1].resident_bytes is not None


# -- what the phone keeps and says


async def test_crash_reports_are_listed_and_read(transport: Transport, phone: RunningPhone) -> None:
    before = await transport.report_names()
    phone.control("jetsam_other", name="MobileMail")
    (name,) = await transport.report_names() - before
    report = await transport.read_report(name, MIB)
    assert report.startswith(b"{")
    assert b"MobileMail" in report
    assert await transport.read_report(name, 10) == report[:10]


async def test_the_phones_condition(transport: Transport, phone: RunningPhone) -> None:
    phone.control("battery", temperature_celsius=31.5, percent=64)
    condition = await transport.condition()
    assert condition.battery_celsius == pytest.approx(31.5, abs=0.2)
    assert condition.battery_percent == 64
    assert condition.free_bytes
    assert condition.charging is not None
    assert (condition.locked, condition.developer_mode, condition.developer_image) == (False, True, True)
    assert condition.clock_offset_ns is not None
    assert abs(condition.clock_offset_ns) < 5_000_000_000


# -- a cable that is pulled


async def use(transport: Transport, app: str) -> None:
    """The phone does everything again."""

    async def present() -> bool:
        with contextlib.suppress(StepError):
            return await transport.is_present()
        return False

    await until(present)
    assert await transport.installed_app(app) is not None
    async with transport.container(app) as container:
        await container.write_bytes("/Documents/again", b"1")
    pid = await transport.launch(app, {"RUNNER_PORT": str(free_port())})
    assert await transport.is_running(pid)
    await transport.kill(pid)


async def enter(transport: Transport) -> None:
    async with transport.container(BUNDLE_ID) as container:
        await container.size("/Documents")


SERVICES: dict[str, tuple[str, Callable[[Transport], Awaitable[object]]]] = {
    "installed_app": ("com.apple.mobile.installation_proxy", lambda transport: transport.installed_app(BUNDLE_ID)),
    "container": ("com.apple.mobile.house_arrest", enter),
    "report_names": ("com.apple.crashreportcopymobile", lambda transport: transport.report_names()),
    "condition": ("com.apple.mobile.diagnostics_relay", lambda transport: transport.condition()),
}


@pytest.mark.parametrize("what", SERVICES)
async def test_a_cable_pulled_while_a_service_is_silent(
    transport: Transport, app: str, phone: RunningPhone, what: str
) -> None:
    service, step = SERVICES[what]
    phone.control("fault", text=f"service-hangs:service={service}")
    waiting = asyncio.ensure_future(step(transport))
    assert not (await asyncio.wait({waiting}, timeout=UNDER_WAY_S))[0], "it should wait for the service"
    phone.control("unplug")
    await ends_lost(waiting)
    phone.control("heal")
    phone.control("plug")
    await use(transport, app)


async def test_a_silent_service_meets_its_limit(
    transport: Transport, app: str, phone: RunningPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SERVICE_LIMIT_S", 0.5)
    phone.control("fault", text="service-hangs:service=com.apple.mobile.installation_proxy")
    with pytest.raises(StepError, match=r"no answer within 0\.5 s"):
        await transport.installed_app(app)


async def test_a_cable_pulled_in_the_middle_of_a_write(
    transport: Transport, app: str, phone: RunningPhone, tmp_path: Path
) -> None:
    source = tmp_path / "big"
    source.write_bytes(bytes(BIG_BYTES))
    phone.control("fault", text=f"unplug:seconds=inf@push:{BIG_BYTES // 2}")
    done = [0]

    async def write(container: Container) -> None:
        await container.write("/Documents/cut", source, progress=done.append)

    async with transport.container(app) as container:
        await ends_lost(write(container))
    phone.control("plug")
    await use(transport, app)
    async with transport.container(app) as container:
        size = await container.size("/Documents/cut")
        assert size is not None
        assert done[-1] <= size < BIG_BYTES, "what was acknowledged is there"


async def test_a_cable_pulled_while_an_app_runs(transport: Transport, app: str, phone: RunningPhone) -> None:
    async with asyncio.timeout(LIMIT_S):
        pid = await transport.launch(app, {"RUNNER_PORT": str(free_port())})
        watch = transport.watch_process(pid, 50)
        await anext(watch)
        told = asyncio.create_task(transport.wait_ended(pid))
        assert not (await asyncio.wait({told}, timeout=UNDER_WAY_S))[0]
        phone.control("unplug")
        await ends_lost(drain(watch))
        await ends_lost(told)
        for step in (transport.is_running(pid), transport.kill(pid), transport.launch(app, {})):
            await ends_lost(step)
        await ends_lost(transport.connect(1))
        assert not await transport.is_present()
        phone.control("plug")
        await use(transport, app)


async def drain(readings: AsyncIterator[object]) -> None:
    async for _ in readings:
        pass
