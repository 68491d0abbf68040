"""`com.apple.coredevice.appservice`: lists apps and processes, launches, signals, tells of ends. RemoteXPC.

A call is a dictionary with `CoreDevice.featureIdentifier` and `CoreDevice.input`; the answer has `CoreDevice.output`,
or `CoreDevice.error` with code, domain and a text. Assumed, for want of a record of a phone: the error codes except
10002 (a launch that failed, as Xcode reports it), and that `terminationStatus` is the status of wait(2).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.virtual.process import LaunchRefused, NoSuchProcess, ProcessEnded, ProcessInfo, ProcessOutput
from harness.virtual.services.remote_service import Body, RemoteService, Reply
from harness.virtual.stdio import StdioRelay, StdioSocket
from harness.virtual.stream import Stream, StreamClosed
from harness.virtual.wire.xpc import Int64, XpcObject

if TYPE_CHECKING:
    from harness.virtual.apps import InstalledApp
    from harness.virtual.phone import Phone

logger = logging.getLogger(__name__)

SERVICE_NAME = "com.apple.coredevice.appservice"
FEATURE_PREFIX = "com.apple.coredevice.feature."
STREAMED_SINCE = (26,)
"""From this iOS on, client tools ask for lists piece by piece."""
PROTOCOL_VERSION = Int64(2)
CORE_DEVICE_DOMAIN = "com.apple.dt.CoreDeviceError"
POSIX_DOMAIN = "NSPOSIXErrorDomain"
NOT_SUPPORTED, BAD_INPUT, INTERNAL, LAUNCH_FAILED = 1, 2, 3, 10002
ESRCH, EINVAL = 3, 22
SIGNALS = range(1, 32)
BATCH_ELEMENTS = 64

_SIDE_CHANNEL_STATUS = "CoreDevice.XPCMessageKey.sideChannelStatus"
_SIDE_CHANNEL_NAME = "XPCSideChannel.uniqueIdentifier"


class _Refused(Exception):
    def __init__(self, text: str, code: int, domain: str = CORE_DEVICE_DOMAIN) -> None:
        super().__init__(text)
        self.code = code
        self.domain = domain


def features(os_numbers: tuple[int, ...]) -> list[str]:
    """What the phone says it can do here, as full identifiers."""
    names = ["launchapplication", "listapps", "listprocesses", "monitorprocesstermination", "sendsignaltoprocess"]
    if os_numbers >= STREAMED_SINCE:
        names += ["streamapplist", "streamprocesslist"]
    return [FEATURE_PREFIX + name for name in names]


async def serve(stream: Stream, phone: Phone) -> None:
    """Answers one client until it goes."""
    strict = phone.switches.strict_http2_windows
    await RemoteService(stream, answer=Calls(phone).answer, strict_windows=strict).run()


class Calls:
    """What one client may ask for; `answer` is given each request."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._single: dict[str, Callable[[Body], Awaitable[XpcObject]]] = {
            "launchapplication": self._launch,
            "listapps": self._list_apps,
            "listprocesses": self._list_processes,
            "monitorprocesstermination": self._monitor,
            "sendsignaltoprocess": self._signal,
        }
        self._streamed: dict[str, Callable[[], list[XpcObject]]] = {
            "streamapplist": self._app_rows,
            "streamprocesslist": self._tokens,
        }

    async def answer(self, request: Body, reply: Reply) -> None:
        """Runs one call and replies to it."""
        identifier = request.get("CoreDevice.invocationIdentifier")
        frame: Body = {
            "CoreDevice.CoreDeviceDDIProtocolVersion": PROTOCOL_VERSION,
            "CoreDevice.invocationIdentifier": identifier if isinstance(identifier, str) else "",
        }
        try:
            name = _feature(request)
            argument = _dictionary(request.get("CoreDevice.input", {}), "CoreDevice.input")
            if name in self._streamed and FEATURE_PREFIX + name in features(self._phone.state.os_numbers):
                await _push(self._streamed[name](), argument, frame, reply)
                return
            if name not in self._single:
                raise _Refused(f"This phone does not offer the feature {name!r}.", NOT_SUPPORTED)
            await reply({**frame, "CoreDevice.output": await self._single[name](argument)})
        except _Refused as refusal:
            await reply({**frame, "CoreDevice.error": _error(str(refusal), refusal.code, refusal.domain)})
        except StreamClosed:
            raise
        except Exception as error:
            # a fault of this phone; its client must not wait forever for the answer
            logger.exception("a CoreDevice call failed")
            await reply(
                {**frame, "CoreDevice.error": _error(f"internal fault: {error!r}", INTERNAL, CORE_DEVICE_DOMAIN)}
            )

    # --- lists

    async def _list_apps(self, argument: Body) -> XpcObject:
        return self._app_rows()

    def _app_rows(self) -> list[XpcObject]:
        return [_app_row(app) for app in self._phone.apps.all()]

    async def _list_processes(self, argument: Body) -> XpcObject:
        return {"processTokens": self._tokens()}

    def _tokens(self) -> list[XpcObject]:
        return [_token(info) for info in self._phone.processes.listing()]

    # --- processes

    async def _launch(self, argument: Body) -> XpcObject:
        specifier = _dictionary(argument.get("applicationSpecifier"), "applicationSpecifier")
        wrapped = _dictionary(specifier.get("bundleIdentifier"), "applicationSpecifier.bundleIdentifier")
        bundle_id = _text(wrapped.get("_0"), "applicationSpecifier.bundleIdentifier._0")
        options = _dictionary(argument.get("options"), "options")
        if options.get("startStopped"):
            raise _Refused("Starting stopped needs a debugger, which this phone does not have.", NOT_SUPPORTED)
        arguments = options.get("arguments", [])
        if not isinstance(arguments, list):
            raise _Refused("options.arguments must be an array.", BAD_INPUT)
        variables = _dictionary(options.get("environmentVariables", {}), "options.environmentVariables")
        relay = self._relay(argument, terminal=options.get("standardIOUsesPseudoterminals") is True)
        start = self._phone.processes.launch(
            bundle_id,
            [_text(word, "an argument") for word in arguments],
            {name: _text(value, f"the variable {name}") for name, value in variables.items()},
            kill_existing=options.get("terminateExisting") is True,
        )
        task = asyncio.create_task(start)
        # a launch that has begun goes on when the client hangs up, half of one would leak a process; the relay with it
        task.add_done_callback(lambda done: _end_launch(done, relay))
        try:
            pid = await asyncio.shield(task)
        except LaunchRefused as error:
            raise _Refused(f"The application failed to launch. {error}", LAUNCH_FAILED) from error
        info = next((info for info in self._phone.processes.listing() if info.pid == pid), None)
        token: XpcObject = {"processIdentifier": Int64(pid)} if info is None else _token(info)
        return {"processToken": token, "processIdentifier": Int64(pid)}

    def _relay(self, argument: Body, *, terminal: bool) -> StdioRelay | None:
        identifiers = _dictionary(argument.get("standardIOIdentifiers", {}), "standardIOIdentifiers")
        output, error = self._sockets(identifiers, "standardOutput"), self._sockets(identifiers, "standardError")
        self._sockets(identifiers, "standardInput")
        if not output and not error:
            return None
        return StdioRelay(self._phone.processes, output, error, terminal=terminal)

    def _sockets(self, identifiers: Body, name: str) -> list[StdioSocket]:
        identifier = identifiers.get(name)
        if identifier is None:
            return []
        socket = self._phone.stdio.find(identifier) if isinstance(identifier, uuid.UUID) else None
        if socket is None:
            raise _Refused(f"standardIOIdentifiers.{name} names no open socket.", BAD_INPUT)
        return [socket]

    async def _signal(self, argument: Body) -> XpcObject:
        pid = _pid(argument.get("process"), "process")
        number = argument.get("signal")
        if isinstance(number, bool) or not isinstance(number, int) or number not in SIGNALS:
            raise _Refused("signal must be a number from 1 to 31.", EINVAL, POSIX_DOMAIN)
        try:
            self._phone.processes.kill(pid, number)
        except NoSuchProcess as error:
            raise _no_such_process(pid) from error
        return {"deviceTimestamp": self._phone.state.unix_time()}

    async def _monitor(self, argument: Body) -> XpcObject:
        pid = _pid(argument.get("processToken"), "processToken")
        ended: asyncio.Future[ProcessEnded] = asyncio.get_running_loop().create_future()

        def on_event(event: ProcessOutput | ProcessEnded) -> None:
            if isinstance(event, ProcessEnded) and event.pid == pid and not ended.done():
                ended.set_result(event)

        unsubscribe = self._phone.processes.subscribe(on_event)
        try:
            if not self._phone.processes.is_running(pid):
                raise _no_such_process(pid)
            end = await ended
        finally:
            unsubscribe()
        status = end.signal if end.signal is not None else (end.exit_code or 0) << 8
        return {"terminationStatus": Int64(status)}


def _end_launch(task: asyncio.Task[int], relay: StdioRelay | None) -> None:
    failed = task.cancelled() or task.exception() is not None
    if relay is None:
        return
    if failed:
        relay.cancel()
    else:
        relay.begin(task.result())


async def _push(elements: list[XpcObject], argument: Body, frame: Body, reply: Reply) -> None:
    """A list in batches over the side channel the client has named, and its end."""
    proxy = _dictionary(argument.get("streamProxy"), "streamProxy")
    channel = proxy.get("sideChannel")
    if not isinstance(channel, uuid.UUID):
        raise _Refused("streamProxy.sideChannel must be a UUID.", BAD_INPUT)
    statuses: list[Body] = [
        {"pushing": {"elements": elements[start : start + BATCH_ELEMENTS]}}
        for start in range(0, len(elements), BATCH_ELEMENTS)
    ]
    statuses.append({"finishStreaming": {}})
    for status in statuses:
        await reply({**frame, _SIDE_CHANNEL_NAME: channel, _SIDE_CHANNEL_STATUS: status})


def _app_row(app: InstalledApp) -> Body:
    is_user = app.kind == "User"
    return {
        "bundleIdentifier": app.bundle_id,
        "name": _first_text((app.info.get("CFBundleDisplayName"), app.info.get("CFBundleName")), app.bundle_id),
        "version": _first_text((app.info.get("CFBundleShortVersionString"),), ""),
        "bundleVersion": _first_text((app.info.get("CFBundleVersion"),), ""),
        "path": app.device_bundle,
        "isFirstParty": not is_user,
        "isRemovable": is_user,
        "isDeveloperApp": app.developer_signed,
        "isHidden": False,
        "isInternal": False,
        "isAppClip": False,
        "isDefaultApp": not is_user,
    }


def _token(info: ProcessInfo) -> Body:
    return {
        "processIdentifier": Int64(info.pid),
        "executableURL": {"relative": f"file://{quote(info.device_path)}"},
    }


def _error(text: str, code: int, domain: str) -> Body:
    return {"code": Int64(code), "domain": domain, "userInfo": {"NSLocalizedDescription": text}}


def _no_such_process(pid: int) -> _Refused:
    return _Refused(f"No such process: {pid}", ESRCH, POSIX_DOMAIN)


def _first_text(values: Iterable[object], default: str) -> str:
    return next((value for value in values if isinstance(value, str) and "\0" not in value), default)


def _feature(request: Body) -> str:
    identifier = request.get("CoreDevice.featureIdentifier")
    if not isinstance(identifier, str) or not identifier.startswith(FEATURE_PREFIX):
        raise _Refused("CoreDevice.featureIdentifier must name a feature.", BAD_INPUT)
    return identifier.removeprefix(FEATURE_PREFIX)


def _dictionary(value: XpcObject, name: str) -> Body:
    if not isinstance(value, dict):
        raise _Refused(f"{name} must be a dictionary.", BAD_INPUT)
    return value


def _text(value: XpcObject, name: str) -> str:
    if not isinstance(value, str):
        raise _Refused(f"{name} must be a string.", BAD_INPUT)
    return value


def _pid(token: XpcObject, name: str) -> int:
    pid = _dictionary(token, name).get("processIdentifier")
    if isinstance(pid, bool) or not isinstance(pid, int):
        raise _Refused(f"{name}.processIdentifier must be a whole number.", BAD_INPUT)
    return int(pid)
