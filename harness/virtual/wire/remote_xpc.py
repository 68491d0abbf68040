"""RemoteXPC from the phone's end: XPC messages inside HTTP/2 DATA frames. Sans-IO; may know `xpc` and hyperframe.

Stream 1 is the root, stream 3 carries replies. No HTTP is spoken: HEADERS are empty and only open streams. The
bring-up, after the client's preface and SETTINGS: acknowledge, open 1 with an empty dictionary and the 0x201
message, open 3 with INIT_HANDSHAKE. The client's flow-control windows are honoured; what they do not admit waits. The
own windows are enforced: a client that oversteps one gets GOAWAY.
"""

from __future__ import annotations

from dataclasses import dataclass

from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from harness.virtual.wire.xpc import (
    Flags,
    XpcError,
    XpcMessage,
    XpcObject,
    decode_message,
    encode_message,
    message_size,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ROOT_STREAM = 1
REPLY_STREAM = 3
FRAME_HEADER_BYTES = 9
MAXIMUM_FRAME_BYTES = 16_384
"""SETTINGS_MAX_FRAME_SIZE of RFC 9113 when neither side changes it; also what is sent at most."""
DEFAULT_WINDOW_BYTES = 65_535
MAXIMUM_WINDOW_BYTES = (1 << 31) - 1
FLOW_CONTROL_ERROR = 3
"""RFC 9113 §7."""
OWN_STREAM_WINDOW_BYTES = 1024 * 1024
OWN_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
MAXIMUM_STREAMS = 100
MAXIMUM_PENDING_BYTES = 32 * 1024 * 1024
"""Own messages that the client's windows hold back; beyond it, `send` refuses."""


class RemoteXpcError(ValueError):
    """The other end broke the protocol, or stopped reading; the connection is of no use after it."""


@dataclass(frozen=True)
class Opened:
    """Both streams are open: messages may be sent."""


@dataclass(frozen=True)
class MessageReceived:
    """A message with a dictionary in it; answer by `send(…, reply_to=message_id)` when a reply is wanted."""

    stream_id: int
    message_id: int
    body: dict[str, XpcObject]
    wants_reply: bool


@dataclass(frozen=True)
class Closed:
    """The client said GOAWAY."""


RemoteXpcEvent = Opened | MessageReceived | Closed


class RemoteXpcServer:
    """Bytes in by `receive_data`, events out; bytes to send by `data_to_send`.

    With `strict_windows` the client is granted HTTP/2's default windows and not a byte more.
    """

    def __init__(self, *, strict_windows: bool = False) -> None:
        self._input = bytearray()
        self._output = bytearray()
        self._events: list[RemoteXpcEvent] = []
        self._preface_seen = False
        self._opened = False
        self._messages: dict[int, bytearray] = {}
        self._next_message_id = 0
        self._pending: dict[int, bytearray] = {}
        self._initial_window = DEFAULT_WINDOW_BYTES
        self._connection_window = DEFAULT_WINDOW_BYTES
        self._stream_windows: dict[int, int] = {}
        # what the client may still send: per stream, and 0 for the connection; and what it is to be given back
        self._own_initial_window = DEFAULT_WINDOW_BYTES if strict_windows else OWN_STREAM_WINDOW_BYTES
        self._rooms = {0: DEFAULT_WINDOW_BYTES if strict_windows else OWN_CONNECTION_WINDOW_BYTES}
        self._returns: dict[int, int] = {}
        own = {
            SettingsFrame.MAX_CONCURRENT_STREAMS: MAXIMUM_STREAMS,
            SettingsFrame.INITIAL_WINDOW_SIZE: self._own_initial_window,
        }
        self._put(SettingsFrame(settings=own))
        if not strict_windows:
            self._put(WindowUpdateFrame(0, window_increment=OWN_CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES))

    @property
    def pending_bytes(self) -> int:
        """Own bytes that wait for the client to open its windows."""
        return sum(len(waiting) for waiting in self._pending.values())

    def receive_data(self, data: bytes) -> list[RemoteXpcEvent]:
        """Events that became whole with `data`; raises RemoteXpcError."""
        self._input += data
        if not self._preface_seen:
            seen = bytes(self._input[: len(PREFACE)])
            if not PREFACE.startswith(seen):
                raise RemoteXpcError(f"expected the HTTP/2 preface, got {seen!r}")
            if len(seen) < len(PREFACE):
                return []
            del self._input[: len(PREFACE)]
            self._preface_seen = True
        while (frame := self._next_frame()) is not None:
            self._take(frame)
        events, self._events = self._events, []
        return events

    def send(self, body: dict[str, XpcObject], *, reply_to: int | None = None) -> None:
        """Queues a message: on the root stream, or as the reply to that message id on stream 3."""
        if not self._opened:
            raise RemoteXpcError("messages may be sent only after Opened")
        flags = Flags.ALWAYS_SET | Flags.DATA_PRESENT
        if reply_to is None:
            self._next_message_id += 2
            self._send_message(ROOT_STREAM, XpcMessage(flags, self._next_message_id, body, has_body=True))
        else:
            self._send_message(REPLY_STREAM, XpcMessage(flags | Flags.REPLY, reply_to, body, has_body=True))

    def data_to_send(self) -> bytes:
        """The bytes that may go now; more may follow after the next `receive_data`."""
        returns, self._returns = self._returns, {}
        for stream_id, size in returns.items():
            self._put(WindowUpdateFrame(stream_id, window_increment=size))
            self._rooms[stream_id] += size
        data = bytes(self._output)
        self._output.clear()
        return data

    # --- frames

    def _next_frame(self) -> Frame | None:
        if len(self._input) < FRAME_HEADER_BYTES:
            return None
        try:
            frame, size = Frame.parse_frame_header(memoryview(bytes(self._input[:FRAME_HEADER_BYTES])))
            if size > MAXIMUM_FRAME_BYTES:
                raise RemoteXpcError(f"a frame of {size} bytes is over the limit of {MAXIMUM_FRAME_BYTES}")
            if len(self._input) < FRAME_HEADER_BYTES + size:
                return None
            frame.parse_body(memoryview(bytes(self._input[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + size])))
        except HyperframeError as error:
            raise RemoteXpcError(f"not an HTTP/2 frame: {error}") from error
        del self._input[: FRAME_HEADER_BYTES + size]
        return frame

    def _put(self, frame: Frame) -> None:
        self._output += frame.serialize()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, SettingsFrame):
            self._take_settings(frame)
        elif isinstance(frame, WindowUpdateFrame):
            self._take_window(frame)
        elif isinstance(frame, DataFrame):
            self._take_data(frame)
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._put(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, RstStreamFrame):
            # everything of the stream, or opening and resetting streams without end would fill these
            for of_stream in (self._messages, self._pending, self._stream_windows, self._rooms, self._returns):
                of_stream.pop(frame.stream_id, None)
        elif isinstance(frame, GoAwayFrame):
            self._events.append(Closed())
        elif isinstance(frame, HeadersFrame):
            self._buffer_of(frame.stream_id)

    def _take_settings(self, frame: SettingsFrame) -> None:
        if "ACK" in frame.flags:
            return
        initial = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE)
        if initial is not None:
            if initial > MAXIMUM_WINDOW_BYTES:
                raise RemoteXpcError(f"an initial window of {initial} bytes is over HTTP/2's limit")
            for stream_id in self._stream_windows:
                self._stream_windows[stream_id] += initial - self._initial_window
            self._initial_window = initial
        self._put(SettingsFrame(flags=["ACK"]))
        if not self._opened:
            self._open()
        self._flush()

    def _take_window(self, frame: WindowUpdateFrame) -> None:
        if frame.stream_id == 0:
            self._connection_window = min(self._connection_window + frame.window_increment, MAXIMUM_WINDOW_BYTES)
        else:
            self._buffer_of(frame.stream_id)
            window = self._stream_windows.get(frame.stream_id, self._initial_window) + frame.window_increment
            self._stream_windows[frame.stream_id] = min(window, MAXIMUM_WINDOW_BYTES)
        self._flush()

    def _take_data(self, frame: DataFrame) -> None:
        buffer = self._buffer_of(frame.stream_id)
        buffer += frame.data
        if frame.body_len:
            self._charge(0, frame.body_len)
            self._charge(frame.stream_id, frame.body_len)
        try:
            while (size := message_size(buffer)) is not None and len(buffer) >= size:
                message = decode_message(bytes(buffer[:size]))
                del buffer[:size]
                self._take_message(frame.stream_id, message)
        except XpcError as error:
            raise RemoteXpcError(f"stream {frame.stream_id}: {error}") from error

    def _charge(self, stream_id: int, size: int) -> None:
        """Takes `size` from a window of ours. It is given back with the next bytes that go out, read as it is."""
        room = self._rooms.setdefault(stream_id, self._own_initial_window) - size
        if room < 0:
            self._put(GoAwayFrame(error_code=FLOW_CONTROL_ERROR))
            where = f"of stream {stream_id}" if stream_id else "of the connection"
            raise RemoteXpcError(f"the client overstepped the window {where} by {-room} bytes")
        self._rooms[stream_id] = room
        self._returns[stream_id] = self._returns.get(stream_id, 0) + size

    def _take_message(self, stream_id: int, message: XpcMessage) -> None:
        # empty dictionaries only open streams; there is nothing in them to tell
        if isinstance(message.body, dict) and message.body:
            wants_reply = bool(message.flags & Flags.WANTING_REPLY)
            self._events.append(MessageReceived(stream_id, message.message_id, message.body, wants_reply))

    def _buffer_of(self, stream_id: int) -> bytearray:
        if stream_id not in self._messages and len(self._messages) >= MAXIMUM_STREAMS:
            raise RemoteXpcError(f"more than {MAXIMUM_STREAMS} streams were opened")
        return self._messages.setdefault(stream_id, bytearray())

    # --- sending

    def _open(self) -> None:
        self._opened = True
        self._put(HeadersFrame(ROOT_STREAM, flags=["END_HEADERS"]))
        self._send_message(ROOT_STREAM, XpcMessage(Flags.ALWAYS_SET, body={}, has_body=True))
        self._send_message(ROOT_STREAM, XpcMessage(Flags.ALWAYS_SET | Flags.ROOT_OPENED))
        self._put(HeadersFrame(REPLY_STREAM, flags=["END_HEADERS"]))
        self._send_message(REPLY_STREAM, XpcMessage(Flags.ALWAYS_SET | Flags.INIT_HANDSHAKE))
        self._events.append(Opened())

    def _send_message(self, stream_id: int, message: XpcMessage) -> None:
        data = encode_message(message)
        if self.pending_bytes + len(data) > MAXIMUM_PENDING_BYTES:
            raise RemoteXpcError(f"the client has left {self.pending_bytes} bytes unread")
        self._pending.setdefault(stream_id, bytearray()).extend(data)
        self._flush()

    def _flush(self) -> None:
        for stream_id, waiting in self._pending.items():
            window = self._stream_windows.get(stream_id, self._initial_window)
            while (size := min(len(waiting), window, self._connection_window, MAXIMUM_FRAME_BYTES)) > 0:
                self._put(DataFrame(stream_id, data=bytes(waiting[:size])))
                del waiting[:size]
                window -= size
                self._connection_window -= size
            self._stream_windows[stream_id] = window
