"""tidevice's connection to the developer services, made sound: no answer is lost, and its end can be seen."""

from __future__ import annotations

import queue
import struct
import time
from collections.abc import Callable, Mapping

from tidevice import bplist  # type: ignore[import-untyped]  # tidevice ships no types
from tidevice._instruments import (  # type: ignore[import-untyped]  # tidevice ships no types
    AUXMessageBuffer,
    DTXMessage,
    Event,
    ServiceInstruments,
)
from tidevice._proto import InstrumentsService  # type: ignore[import-untyped]  # tidevice ships no types
from tidevice._safe_socket import PlistSocketProxy  # type: ignore[import-untyped]  # tidevice ships no types

from harness.core.outcome import Outcome
from harness.device import limits
from harness.device.errors import DEVELOPER_REMEDY, StepError
from harness.device.system_monitor import PROCESS_ATTRIBUTES, MachClock
from harness.device.tidevice_.phone import ServiceRefused, TidevicePhone
from harness.device.values import end_in_words, whole

# since iOS 14; before, the service spoke plainly after a TLS handshake, which `PhoneSocket` does not do
SERVICE = "com.apple.instruments.remoteserver.DVTSecureSocketProxy"
ENDED = "processWithPID:terminatedWithExitCode:orCrashingSignal:"
NS_PER_MS = 1_000_000
# kinds of DTX messages
_DATA, _INVOCATION = 1, 2
# in an invocation's arguments: what stands for the key that a list has not, and an archived object
_NO_KEY, _OBJECT = 10, 2
# of a message's payload, and again of its arguments
_HEADER_BYTES = 16


class Refused(Exception):
    """The phone answered with something else than what was asked for."""


class Replies(dict[int, "queue.Queue[DTXMessage]"]):
    """A queue for each request, made by whoever comes first: the one who waits or the one who brings the answer.

    tidevice's defaultdict makes two when they come at once, and the answer lies in the one that nobody waits at.
    """

    def __missing__(self, number: int) -> queue.Queue[DTXMessage]:
        # atomic, unlike a default factory written in Python
        return self.setdefault(number, queue.Queue())

    def values(self) -> list[queue.Queue[DTXMessage]]:  # type: ignore[override]  # a copy, for a thread that iterates
        return list(super().values())


class Instruments(ServiceInstruments):  # type: ignore[misc]  # tidevice ships no types
    """Blocking; one request at a time. What the phone tells unasked comes in tidevice's own thread."""

    def __init__(self, connection: PlistSocketProxy) -> None:
        self.on_end: Callable[[int, str], None] = lambda pid, words: None
        """Called with the end of an observed process."""
        self.on_row: Callable[[object], None] = lambda row: None
        """Called with each row of the system monitor, once `monitor` has been called."""
        self.on_close: Callable[[], None] = lambda: None
        self._monitor_channel: int | None = None
        super().__init__(connection)

    def prepare(self) -> None:
        super().prepare()
        # no answer can be under way yet: nothing has been asked
        self._reply_queues = Replies()
        self.register_callback(Event.NOTIFICATION, self._notified)

    @property
    def ended(self) -> bool:
        return bool(self._quitted.is_set())

    def wait_reply(self, message_id: int, timeout: float = limits.SERVICE_LIMIT_S) -> DTXMessage:
        """tidevice's own waits in vain once the connection has ended, and keeps every answer for good."""
        # first, so that an end from here on finds it
        self._reply_queues[message_id]
        try:
            if self.ended:
                raise ConnectionError("the connection has ended")
            return super().wait_reply(message_id, timeout)
        finally:
            self._reply_queues.pop(message_id, None)

    def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        """Ends one that runs. Raises ServiceError with the phone's reason."""
        return int(self.app_launch(bundle_id, dict(environment)))

    def is_running(self, pid: int) -> bool:
        answer = self.is_running_pid(pid)
        if not isinstance(answer, (bool, int)):
            raise Refused(f"the phone does not say whether process {pid} runs: {answer!r:.200}")
        return bool(answer)

    def observe(self, pid: int) -> None:
        """Asks for word of its end. Raises Refused when there is no such process."""
        process = AUXMessageBuffer()
        process.append_obj(pid)
        answer = self.call_message(InstrumentsService.ProcessControl.value, "startObservingPid:", process)
        if answer is not None:
            raise Refused(f"process {pid} cannot be observed: {answer!r:.200}")

    def mach_clock(self) -> MachClock:
        sent_ns = time.monotonic_ns()
        info = self.call_message(InstrumentsService.DeviceInfo.value, "machTimeInfo")
        return MachClock.told(info, sent_ns=sent_ns, received_ns=time.monotonic_ns())

    def monitor(self, interval_ms: int) -> None:
        """Starts the system monitor, whose rows go to `on_row`; it ends with the connection.

        tidevice's own asks for twice as many attributes, once a second.
        """
        channel = self.make_channel(InstrumentsService.Sysmontap)
        config = {
            "ur": interval_ms,
            "bm": 0,
            "cpuUsage": False,
            "procAttrs": list(PROCESS_ATTRIBUTES),
            "sysAttrs": [],
            "sampleInterval": interval_ms * NS_PER_MS,
        }
        self._monitor_channel = (1 << 32) - channel
        for method, arguments in (("setConfig:", [config]), ("start", [])):
            answer = self.call_message(channel, method, arguments)
            if answer is not None:
                raise Refused(f"the system monitor refused {method}: {answer!r:.200}")

    def _notified(self, message: DTXMessage | None) -> bool:
        """In tidevice's thread. None: the connection has ended."""
        if message is None:
            self.on_close()
        elif message.flags == _INVOCATION:
            method, arguments = read_invocation(bytes(message.payload))
            if method == ENDED and len(arguments) == 3 and (pid := whole(arguments[0])) is not None:
                self.on_end(pid, end_in_words(arguments[1], arguments[2]))
        elif message.flags == _DATA and message.channel_id == self._monitor_channel:
            for row in message.result if isinstance(message.result, list) else [message.result]:
                self.on_row(row)
        return True


def read_invocation(payload: bytes) -> tuple[object, list[object]]:
    """Method and arguments of a DTX invocation; no method where they cannot be read.

    tidevice's own reading gives up at an argument that is null, as in the notice of an end by a signal.
    """
    arguments: list[object] = []
    try:
        _, arguments_bytes, total_bytes = struct.unpack_from("<IIQ", payload)
        method = bplist.objc_decode(payload[_HEADER_BYTES + arguments_bytes : _HEADER_BYTES + total_bytes])
        offset, end = 2 * _HEADER_BYTES, _HEADER_BYTES + arguments_bytes
        while offset < end:
            kind, size = struct.unpack_from("<II", payload, offset)
            if kind == _NO_KEY:
                offset += 4
            elif kind == _OBJECT:
                begin, offset = offset + 8, offset + 8 + size
                arguments.append(bplist.objc_decode(payload[begin:offset]) if size else None)
            else:
                return None, []
    except Exception:  # noqa: BLE001  # tidevice's property lists and archives have no error of their own
        return None, []
    return method, arguments


def open_instruments(phone: TidevicePhone) -> Instruments:
    """Raises StepError (not_ready) when the phone has no developer services to offer.

    tidevice's own way would try thrice with five seconds between, and fetch a developer image from the internet.
    """
    try:
        return Instruments(phone.start_service(SERVICE))
    except ServiceRefused as error:
        if error.code != "InvalidService":
            raise
        text = "the phone offers no developer services"
        raise StepError("open", phone.udid, text, DEVELOPER_REMEDY, Outcome.NOT_READY) from error
