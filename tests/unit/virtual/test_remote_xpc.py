"""RemoteXPC's bring-up, windows and refusals, byte by byte against a hand-made HTTP/2 client."""

from __future__ import annotations

import pytest
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

from harness.virtual.wire.remote_xpc import (
    DEFAULT_WINDOW_BYTES,
    FLOW_CONTROL_ERROR,
    MAXIMUM_FRAME_BYTES,
    MAXIMUM_STREAMS,
    OWN_STREAM_WINDOW_BYTES,
    PREFACE,
    Closed,
    MessageReceived,
    Opened,
    RemoteXpcError,
    RemoteXpcServer,
)
from harness.virtual.wire.xpc import Flags, UInt64, XpcMessage, XpcObject, decode_message, encode_message


def frames(data: bytes) -> list[Frame]:
    found: list[Frame] = []
    while data:
        frame, size = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + size]))
        found.append(frame)
        data = data[9 + size :]
    return found


def opened(*, strict_windows: bool = False) -> RemoteXpcServer:
    server = RemoteXpcServer(strict_windows=strict_windows)
    assert server.receive_data(PREFACE + SettingsFrame(settings={}).serialize()) == [Opened()]
    server.data_to_send()
    return server


def message(body: dict[str, XpcObject], *, flags: int = Flags.ALWAYS_SET, message_id: int = 2) -> bytes:
    return encode_message(XpcMessage(flags, message_id, body, has_body=True))


def sent_bytes(found: list[Frame], stream_id: int) -> bytes:
    return b"".join(frame.data for frame in found if isinstance(frame, DataFrame) and frame.stream_id == stream_id)


def test_bring_up_in_the_order_clients_demand() -> None:
    server = RemoteXpcServer()
    first = frames(server.data_to_send())
    assert [type(frame) for frame in first] == [SettingsFrame, WindowUpdateFrame]
    data = PREFACE + SettingsFrame(settings={}).serialize()
    events = [event for i in range(len(data)) for event in server.receive_data(data[i : i + 1])]
    assert events == [Opened()]
    answer = frames(server.data_to_send())
    assert [(type(frame), frame.stream_id) for frame in answer] == [
        (SettingsFrame, 0),
        (HeadersFrame, 1),
        (DataFrame, 1),
        (DataFrame, 1),
        (HeadersFrame, 3),
        (DataFrame, 3),
    ]
    assert "ACK" in answer[0].flags
    empty, terminator, handshake = [decode_message(f.data) for f in answer if isinstance(f, DataFrame)]
    assert (empty.flags, empty.body) == (0x1, {})
    assert (terminator.flags, terminator.has_body) == (0x201, False)
    assert (handshake.flags, handshake.has_body) == (0x400001, False)


def test_messages_may_be_cut_anywhere_and_empty_ones_say_nothing() -> None:
    server = opened()
    data = message({}) + message({"a": UInt64(1)}, flags=Flags.ALWAYS_SET | Flags.WANTING_REPLY, message_id=4)
    events = []
    for i in range(0, len(data), 7):
        events += server.receive_data(DataFrame(1, data=data[i : i + 7]).serialize())
    assert events == [MessageReceived(1, 4, {"a": UInt64(1)}, wants_reply=True)]


def test_what_is_read_is_given_back_to_both_windows() -> None:
    server = opened()
    server.receive_data(DataFrame(1, data=message({"a": True})).serialize())
    updates = [f for f in frames(server.data_to_send()) if isinstance(f, WindowUpdateFrame)]
    size = len(message({"a": True}))
    assert [(update.stream_id, update.window_increment) for update in updates] == [(0, size), (1, size)]


def test_replies_echo_the_message_id_on_stream_three() -> None:
    server = opened()
    server.send({"done": True}, reply_to=42)
    reply = decode_message(sent_bytes(frames(server.data_to_send()), 3))
    assert (reply.message_id, reply.body) == (42, {"done": True})
    assert reply.flags == Flags.ALWAYS_SET | Flags.DATA_PRESENT | Flags.REPLY


def test_the_clients_windows_are_honoured() -> None:
    server = opened()
    server.send({"blob": bytes(200_000)})
    first = frames(server.data_to_send())
    sent = sent_bytes(first, 1)
    assert max(frame.body_len for frame in first) <= MAXIMUM_FRAME_BYTES
    # the bring-up's own three messages count too
    assert DEFAULT_WINDOW_BYTES - 200 < len(sent) <= DEFAULT_WINDOW_BYTES
    assert server.pending_bytes > 0
    server.receive_data(WindowUpdateFrame(1, window_increment=1_000_000).serialize())
    assert sent_bytes(frames(server.data_to_send()), 1) == b""  # the connection's window is still shut
    server.receive_data(WindowUpdateFrame(0, window_increment=1_000_000).serialize())
    sent += sent_bytes(frames(server.data_to_send()), 1)
    assert decode_message(sent).body == {"blob": bytes(200_000)}
    assert server.pending_bytes == 0


def test_a_new_initial_window_moves_open_streams() -> None:
    server = opened()
    server.receive_data(WindowUpdateFrame(0, window_increment=10_000_000).serialize())
    server.send({"blob": bytes(200_000)})
    sent = sent_bytes(frames(server.data_to_send()), 1)
    settings = SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1_000_000})
    assert server.receive_data(settings.serialize()) == []
    sent += sent_bytes(frames(server.data_to_send()), 1)
    assert decode_message(sent).body == {"blob": bytes(200_000)}


def test_pings_are_answered_and_goodbye_is_told() -> None:
    server = opened()
    server.receive_data(PingFrame(0, opaque_data=b"12345678").serialize())
    (pong,) = frames(server.data_to_send())
    assert isinstance(pong, PingFrame)
    assert "ACK" in pong.flags
    assert server.receive_data(GoAwayFrame(0).serialize()) == [Closed()]


def test_a_reset_stream_forgets_its_half_message() -> None:
    server = opened()
    server.receive_data(DataFrame(5, data=message({"a": True})[:10]).serialize())
    server.receive_data(RstStreamFrame(5).serialize())
    assert server.receive_data(DataFrame(5, data=message({"b": True})).serialize()) == [
        MessageReceived(5, 2, {"b": True}, wants_reply=False)
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (DataFrame(1, data=bytes(24)).serialize(), "magic"),
        (b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", "over the limit"),
        (b"\x00\x00\x03\x04\x00\x00\x00\x00\x00abc", "not an HTTP/2 frame"),
        (
            b"".join(HeadersFrame(i, flags=["END_HEADERS"]).serialize() for i in range(1, MAXIMUM_STREAMS + 2)),
            "streams were opened",
        ),
    ],
)
def test_what_breaks_the_protocol_is_named(data: bytes, says: str) -> None:
    with pytest.raises(RemoteXpcError, match=says):
        opened().receive_data(data)


def test_a_wrong_preface_is_refused_at_its_first_bytes() -> None:
    with pytest.raises(RemoteXpcError, match="preface"):
        RemoteXpcServer().receive_data(b"GET")


def test_nothing_may_be_sent_before_the_streams_are_open() -> None:
    with pytest.raises(RemoteXpcError, match="Opened"):
        RemoteXpcServer().send({"a": True})


def test_a_client_that_never_reads_is_given_up() -> None:
    server = opened()
    blob: dict[str, XpcObject] = {"blob": bytes(12 * 1024 * 1024)}
    server.send(blob)
    server.send(blob)
    with pytest.raises(RemoteXpcError, match="unread"):
        server.send(blob)


def data_frames(size: int, stream_id: int = 1) -> bytes:
    """A message's beginning of `size` bytes, in frames as large as may be."""
    whole = message({"data": bytes(2 * OWN_STREAM_WINDOW_BYTES)})[:size]
    starts = range(0, size, MAXIMUM_FRAME_BYTES)
    return b"".join(DataFrame(stream_id, data=whole[i : i + MAXIMUM_FRAME_BYTES]).serialize() for i in starts)


def test_strict_windows_are_http2s_defaults_and_not_a_byte_more() -> None:
    server = RemoteXpcServer(strict_windows=True)
    (settings,) = frames(server.data_to_send())
    assert isinstance(settings, SettingsFrame)
    assert settings.settings[SettingsFrame.INITIAL_WINDOW_SIZE] == DEFAULT_WINDOW_BYTES
    server = opened(strict_windows=True)
    assert server.receive_data(data_frames(DEFAULT_WINDOW_BYTES)) == []
    answer = [frame for frame in frames(server.data_to_send()) if isinstance(frame, WindowUpdateFrame)]
    returned = {frame.stream_id: frame.window_increment for frame in answer}
    assert returned == {0: DEFAULT_WINDOW_BYTES, 1: DEFAULT_WINDOW_BYTES}
    with pytest.raises(RemoteXpcError, match="overstepped the window of the connection by 1 bytes"):
        server.receive_data(DataFrame(1, data=bytes(MAXIMUM_FRAME_BYTES)).serialize() * 4)
    (goodbye,) = [frame for frame in frames(server.data_to_send()) if isinstance(frame, GoAwayFrame)]
    assert goodbye.error_code == FLOW_CONTROL_ERROR


def test_the_usual_windows_are_enforced_too() -> None:
    server = opened()
    with pytest.raises(RemoteXpcError, match="overstepped the window of stream 1"):
        server.receive_data(data_frames(OWN_STREAM_WINDOW_BYTES + 1))


def test_streams_opened_and_reset_without_end_leave_nothing() -> None:
    server = opened()
    for stream_id in range(5, 2005, 2):
        server.receive_data(DataFrame(stream_id, data=b"x").serialize())
        server.receive_data(WindowUpdateFrame(stream_id, window_increment=1).serialize())
        server.receive_data(RstStreamFrame(stream_id).serialize())
        server.data_to_send()
    held = [value for value in vars(server).values() if isinstance(value, dict)]
    assert max(len(value) for value in held) < 10
