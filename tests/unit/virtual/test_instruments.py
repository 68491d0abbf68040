"""The instruments without a wire: what they refuse, and that no word of an app gets lost around a launch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from harness.virtual.events import AppEnded, Events, MemoryWarned
from harness.virtual.process import LaunchRefused, NoSuchProcess, ProcessEnded, ProcessOutput
from harness.virtual.services import process_control
from harness.virtual.services.graphics import parse_interval
from harness.virtual.services.instrument import Refused, invoke
from harness.virtual.services.mobile_notifications import MobileNotifications
from harness.virtual.services.process_control import MAXIMUM_WAITING_EVENTS, ProcessControl
from harness.virtual.services.sysmontap import MINIMUM_INTERVAL_S, parse_config
from harness.virtual.wire.dtx import DtxMessage, MessageType
from harness.virtual.wire.keyed_archive import archive

pytestmark = pytest.mark.anyio

LAUNCH = "launchSuspendedProcessWithDevicePath:bundleIdentifier:environment:arguments:options:"
Event = ProcessOutput | ProcessEnded


class Processes:
    """A process table whose one app speaks and dies before `launch` has returned its pid."""

    def __init__(self, spoken: Sequence[Event]) -> None:
        self._spoken = spoken
        self.callbacks: list[Callable[[Event], None]] = []
        self.may_return = asyncio.Event()
        self.launched = asyncio.Event()

    async def launch(
        self, bundle_id: str, arguments: Sequence[str], environment: Mapping[str, str], *, kill_existing: bool
    ) -> int:
        if bundle_id != "org.example.app":
            raise LaunchRefused("not installed")
        for event in self._spoken:
            self.publish(event)
        await self.may_return.wait()
        self.launched.set()
        return 7

    def publish(self, event: Event) -> None:
        for callback in list(self.callbacks):
            callback(event)

    def kill(self, pid: int, signal: int) -> None:
        raise NoSuchProcess(str(pid))

    def is_running(self, pid: int) -> bool:
        return pid == 7

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)


class Phone:
    def __init__(self, processes: Processes) -> None:
        self.processes = processes


class Heard:
    """A channel that keeps what it is told; `open` lets calls through."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[str, tuple[object, ...]]] = asyncio.Queue()
        self.open = asyncio.Event()
        self.open.set()

    async def call(self, selector: str, *arguments: object) -> None:
        await self.open.wait()
        self.calls.put_nowait((selector, arguments))

    async def send_data(self, payload: bytes) -> None:
        raise NotImplementedError

    async def send_object(self, payload: bytes, *, expects_reply: bool = False) -> None:
        raise NotImplementedError


def control_of(processes: Processes, channel: Heard) -> ProcessControl:
    phone: Any = Phone(processes)
    return ProcessControl(channel, phone)


def call(selector: object, *arguments: object) -> DtxMessage:
    buffers = tuple(b"" if argument is None else archive(argument) for argument in arguments)
    return DtxMessage(MessageType.DISPATCH, 1, 1, expects_reply=True, arguments=buffers, payload=archive(selector))


def launch(bundle_id: object = "org.example.app", arguments: object = None, **options: object) -> DtxMessage:
    return call(LAUNCH, "", bundle_id, {}, arguments, options)


async def test_what_an_app_says_before_its_pid_is_known_is_kept_in_order() -> None:
    processes = Processes([ProcessOutput(7, "one"), ProcessOutput(8, "another app"), ProcessOutput(7, "two")])
    heard = Heard()
    control = control_of(processes, heard)
    launching = asyncio.create_task(invoke(control.selectors, launch()))
    await asyncio.sleep(0)
    processes.may_return.set()
    assert await launching == 7
    await invoke(control.selectors, call("startObservingPid:", 7))
    processes.publish(ProcessEnded(7, None, 6))
    processes.publish(ProcessEnded(8, 0, None))
    async with asyncio.timeout(10):
        told = [await heard.calls.get() for _ in range(3)]
    await control.close()
    assert [(name.split(":")[0], arguments[:2]) for name, arguments in told] == [
        ("outputReceived", ("one", 7)),
        ("outputReceived", ("two", 7)),
        ("processWithPID", (7, None)),
    ]
    assert told[2][1] == (7, None, 6)
    assert heard.calls.empty()
    assert processes.callbacks == []


async def test_a_launch_that_has_begun_outlives_its_client() -> None:
    processes = Processes([])
    control = control_of(processes, Heard())
    launching = asyncio.create_task(invoke(control.selectors, launch()))
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    launching.cancel()
    closing = asyncio.create_task(control.close())
    await asyncio.sleep(0.0)
    processes.may_return.set()
    async with asyncio.timeout(10):
        await closing
    assert processes.launched.is_set()


async def test_a_slow_client_costs_output_but_never_an_end() -> None:
    processes = Processes([])
    processes.may_return.set()
    heard = Heard()
    control = control_of(processes, heard)
    await invoke(control.selectors, launch())
    await invoke(control.selectors, call("startObservingPid:", 7))
    heard.open.clear()
    for _ in range(MAXIMUM_WAITING_EVENTS + 10):
        processes.publish(ProcessOutput(7, "x"))
    processes.publish(ProcessEnded(7, 0, None))
    heard.open.set()
    told: list[tuple[str, tuple[object, ...]]] = []
    async with asyncio.timeout(10):
        while not told or not told[-1][0].startswith("processWithPID"):
            told.append(await heard.calls.get())
    await control.close()
    lines = "".join(str(arguments[0]) for name, arguments in told if name.startswith("output"))
    assert lines.count("x") == MAXIMUM_WAITING_EVENTS
    assert "[10 pieces of output dropped" in lines


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (launch("org.example.absent"), "not installed"),
        (launch(7), "bundle identifier must be a string"),
        (launch(arguments="one"), "arguments must be an array"),
        (launch(arguments=[1]), "argument must be a string"),
        (launch(StartSuspendedKey=True), "debugger"),
        (call("killPid:", True), "pid must be a whole number"),
        (call("sendSignal:toPid:", 0, 7), "no signal 0"),
        (call("sendSignal:toPid:", 9, 99), "No such process: 99"),
        (call("killPid:"), "takes 1 arguments, 0 came"),
        (call("explode"), "does not respond to the selector"),
        (call(["killPid:"], 7), "a selector must be a string, got list"),
        (DtxMessage(MessageType.OBJECT, 1, 1), "OBJECT are not answered"),
        (DtxMessage(MessageType.DISPATCH, 1, 1, payload=b"rubbish"), "cannot be read"),
    ],
)
async def test_wrong_calls_are_refused_by_name(message: DtxMessage, says: str) -> None:
    control = control_of(Processes([]), Heard())
    with pytest.raises(Refused, match=says):
        await invoke(control.selectors, message)
    await control.close()


def test_refusals_carry_apples_domains() -> None:
    assert Refused("no", code=3, domain=process_control.LAUNCH_DOMAIN).error.domain == process_control.LAUNCH_DOMAIN


def test_a_configuration_is_read_and_too_fast_a_wish_slowed_down() -> None:
    config = parse_config({"sampleInterval": 1, "procAttrs": ["pid"], "ur": 1})
    assert (config.process_attributes, config.system_attributes, config.interval_s) == (
        ("pid",),
        (),
        MINIMUM_INTERVAL_S,
    )


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ([], "dictionary"),
        ({}, "sampleInterval"),
        ({"sampleInterval": 0}, "above zero"),
        ({"sampleInterval": 1.5}, "whole number"),
        ({"sampleInterval": 1, "procAttrs": "pid"}, "procAttrs"),
        ({"sampleInterval": 1, "sysAttrs": [1]}, "sysAttrs"),
        ({"sampleInterval": 1, "procAttrs": ["x"] * 65}, "at most 64"),
    ],
)
def test_bad_configurations_are_named(config: object, says: str) -> None:
    with pytest.raises(Refused, match=says):
        parse_config(config)


def test_a_selector_that_would_be_endless_as_text_is_refused_without_being_shown() -> None:
    endless: list[object] = []
    for _ in range(64):
        endless = [endless, endless]
    running = invoke({}, call(endless))
    with pytest.raises(Refused, match=r"^a selector must be a string, got list$"):
        asyncio.run(running)


@pytest.mark.parametrize(("wish", "interval_s"), [(0, 1.0), (0.0, 1.0), (0.001, 0.05), (2.5, 2.5)])
def test_graphics_intervals(wish: object, interval_s: float) -> None:
    assert parse_interval(wish) == interval_s


@pytest.mark.parametrize("wish", [-1, True, "1", None, float("nan"), float("inf")])
def test_graphics_intervals_that_are_none(wish: object) -> None:
    with pytest.raises(Refused, match="interval must be"):
        parse_interval(wish)


async def test_memory_warnings_and_ends_are_told_only_to_who_asked() -> None:
    heard, phone = Heard(), NotifyingPhone()
    channel: Any = heard
    instrument = MobileNotifications(channel, phone.as_phone())
    phone.events.emit(MemoryWarned(7))
    await invoke(instrument.selectors, call("setMemoryNotificationsEnabled:", True))
    phone.events.emit(MemoryWarned(7))
    phone.events.emit(AppEnded(7, "org.example.app"))
    await invoke(instrument.selectors, call("setMemoryNotificationsEnabled:", False))
    await invoke(instrument.selectors, call("setApplicationStateNotificationsEnabled:", True))
    phone.events.emit(MemoryWarned(7))
    phone.events.emit(AppEnded(7, "org.example.app"))
    async with asyncio.timeout(10):
        told = [await heard.calls.get() for _ in range(2)]
    await instrument.close()
    phone.events.emit(AppEnded(7, "org.example.app"))
    assert heard.calls.empty()
    assert [name for name, _ in told] == ["memoryLevelNotification:", "applicationStateNotification:"]
    words: Any = told[1][1][0]
    assert (words["displayID"], words["state"]) == ("org.example.app", 1)


class NotifyingPhone:
    """A phone that has events and no processes."""

    def __init__(self) -> None:
        self.events = Events()
        self.processes = self
        self.state = self

    def as_phone(self) -> Any:
        return self

    def listing(self) -> list[object]:
        return []

    def unix_time(self) -> float:
        return 0.0
