"""Fuzzed services: the calls behind DTX and RemoteXPC, on a phone that has nothing and does nothing.

A call leads to an answer or to a refusal that names what is wrong with it; never to another exception, which the
real connection would report as a fault of the phone.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from harness.virtual.events import Events
from harness.virtual.process import LaunchRefused, NoSuchProcess
from harness.virtual.services.app_service import CORE_DEVICE_DOMAIN, INTERNAL, Calls
from harness.virtual.services.dtservicehub import INSTRUMENTS
from harness.virtual.services.instrument import Instrument, Refused, invoke
from harness.virtual.stdio import StdioSockets
from harness.virtual.switches import Switches
from harness.virtual.wire import dtx, xpc
from harness.virtual.wire.keyed_archive import archive

_LOOP = asyncio.new_event_loop()
"""One for all inputs: making a loop costs more than a call."""
_UUID = uuid.UUID(int=7)


class _Processes:
    """No app can be launched, none runs."""

    async def launch(
        self, bundle_id: str, arguments: Sequence[str], environment: Mapping[str, str], *, kill_existing: bool
    ) -> int:
        raise LaunchRefused(f"no app {bundle_id!r}")

    def kill(self, pid: int, signal: int) -> None:
        raise NoSuchProcess(str(pid))

    def is_running(self, pid: int) -> bool:
        return False

    def listing(self) -> list[object]:
        return []

    def reading(self, pid: int) -> None:
        return None

    def subscribe(self, callback: object) -> Callable[[], None]:
        return lambda: None


class _Channel:
    """Nobody listens."""

    async def call(self, selector: str, *arguments: object) -> None:
        return

    async def send_data(self, payload: bytes) -> None:
        return

    async def send_object(self, payload: bytes, *, expects_reply: bool = False) -> None:
        return


def _phone() -> Any:
    state = SimpleNamespace(
        device_name="x",
        udid="x",
        product_type="x",
        os_version="26.0",
        os_numbers=(26, 0),
        os_build="x",
        ram_bytes=1,
        kernel="x",
        thermal_held=None,
        unix_time=lambda: 0.0,
    )
    return SimpleNamespace(
        state=state,
        processes=_Processes(),
        apps=SimpleNamespace(all=list),
        stdio=StdioSockets(),
        events=Events(),
        switches=Switches(),
        conditions=SimpleNamespace(tell=lambda: None),
    )


def run_instruments(data: bytes) -> None:
    """One call: the first byte chooses the instrument, the next the length of the selector's archive."""
    if len(data) < 2:
        return
    makers = [INSTRUMENTS[name] for name in sorted(INSTRUMENTS)]
    make = makers[data[0] % len(makers)]
    selector, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    try:
        arguments = dtx.decode_arguments(rest)
    except dtx.DtxError:
        return
    message = dtx.DtxMessage(dtx.MessageType.DISPATCH, 1, 1, arguments=arguments, payload=selector)

    async def call() -> None:
        instrument: Instrument = make(_Channel(), _phone())
        try:
            result = await invoke(instrument.selectors, message)
            if result is not None:
                archive(result)
        except Refused as refusal:
            archive(refusal.error)
        finally:
            await instrument.close()

    _LOOP.run_until_complete(call())


def run_app_service(data: bytes) -> None:
    """One call of CoreDevice: any XPC dictionary."""
    try:
        request = xpc.decode_object(data)
    except xpc.XpcError:
        return
    if not isinstance(request, dict):
        return
    replies: list[dict[str, xpc.XpcObject]] = []

    async def reply(body: dict[str, xpc.XpcObject]) -> None:
        xpc.encode_object(body)
        replies.append(body)

    _LOOP.run_until_complete(Calls(_phone()).answer(request, reply))
    assert replies, "a call without an answer"
    error = replies[-1].get("CoreDevice.error")
    if isinstance(error, dict) and error["domain"] == CORE_DEVICE_DOMAIN:
        assert error["code"] != INTERNAL, str(error)


def _call(instrument: int, selector: str, *arguments: object) -> bytes:
    payload = archive(selector)
    buffers = [b"" if argument is None else archive(argument) for argument in arguments]
    return bytes([instrument, len(payload)]) + payload + dtx.encode_arguments(buffers)


def instruments_seeds() -> list[bytes]:
    """A sound call of each kind; the numbers are places in the sorted list of instruments."""
    config = {"procAttrs": ["pid"], "sysAttrs": [], "sampleInterval": 10**9, "ur": 100, "bm": 0}
    launch = "launchSuspendedProcessWithDevicePath:bundleIdentifier:environment:arguments:options:"
    return [
        _call(0, "enableConditionWithIdentifier:profileIdentifier:", "ThermalCondition", "ThermalFair"),
        _call(1, "isRunningPid:", 7),
        _call(1, "execnameForPid:", 7),
        _call(2, "startSamplingAtTimeInterval:", 1.5),
        _call(3, "setApplicationStateNotificationsEnabled:", True),
        _call(4, launch, "", "com.example.x", {"A": "b"}, ["c"], {"KillExisting": True}),
        _call(4, "sendSignal:toPid:", 9, 7),
        _call(5, "setConfig:", config),
        _call(5, "start"),
    ]


def app_service_seeds() -> list[bytes]:
    """A sound call of each feature."""
    process: xpc.XpcObject = {"processIdentifier": xpc.Int64(7)}
    launch: dict[str, xpc.XpcObject] = {
        "applicationSpecifier": {"bundleIdentifier": {"_0": "com.example.x"}},
        "options": {"arguments": ["a"], "environmentVariables": {"A": "b"}, "terminateExisting": True},
        "standardIOIdentifiers": {},
    }
    inputs: dict[str, xpc.XpcObject] = {
        "launchapplication": {**launch},
        "listapps": {},
        "listprocesses": {},
        "monitorprocesstermination": {"processToken": process},
        "sendsignaltoprocess": {"process": process, "signal": xpc.Int64(9)},
        "streamapplist": {"actualInput": {}, "streamProxy": {"sideChannel": _UUID}},
    }
    prefix = "com.apple.coredevice.feature."
    return [
        xpc.encode_object({"CoreDevice.featureIdentifier": prefix + name, "CoreDevice.input": argument})
        for name, argument in inputs.items()
    ]
