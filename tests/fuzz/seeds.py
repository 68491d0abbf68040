"""What fuzzing begins with: sound bytes of every kind, made by the codecs themselves."""

from __future__ import annotations

import plistlib
import struct
from typing import Any

from harness.virtual.wire import afc, cdtunnel, dtx, plist, usbmux, xpc
from harness.virtual.wire.keyed_archive import NSError, NSNull, archive
from harness.virtual.wire.tcp_segment import ACK, SYN, Segment, build_packet
from tests.fuzz.tcp_peer import HOST, PHONE, STEP
from tests.model_files import small_files


def _stream(*packets: bytes) -> list[bytes]:
    whole = b"".join(packets)
    return [b"\0" + whole, b"\x07" + whole]


def usbmux_seeds() -> list[bytes]:
    """Requests to usbmuxd."""
    words: list[dict[str, Any]] = [
        {"MessageType": "ListDevices", "ClientVersionString": "x", "ProgName": "x", "kLibUSBMuxVersion": 3},
        {"MessageType": "Connect", "DeviceID": 1, "PortNumber": 32498},
        {"MessageType": "SavePairRecord", "PairRecordID": "x", "PairRecordData": b"<plist/>"},
    ]
    return [usbmux.encode(7, word) for word in words] + [struct.pack("<IIIII", 20, 0, 3, 1, 0)]


def plist_seeds() -> list[bytes]:
    """Property lists of all forms."""
    message: dict[str, Any] = {"Request": "GetValue", "Key": "x", "Label": "y", "n": [1, 2.5, True, b"z", {"a": "b"}]}
    return [
        plist.encode(message),
        plist.encode(message, binary=True),
        plist.encode({"u": plistlib.UID(3)}, binary=True),
    ]


def afc_seeds() -> list[bytes]:
    """A file opened, written and closed."""
    opened = afc.encode(1, afc.Operation.OPEN, struct.pack("<Q", 3) + b"a.bin\0")
    write = afc.encode(2, afc.Operation.WRITE, struct.pack("<Q", 1), b"content")
    return _stream(opened, write, afc.encode(3, afc.Operation.CLOSE, struct.pack("<Q", 1)))


def _calls() -> list[dtx.DtxMessage]:
    kind = dtx.MessageType.DISPATCH
    return [
        dtx.DtxMessage(kind, 1, 0, arguments=(archive({"a": 1}),), payload=archive("_notifyOfPublishedCapabilities:")),
        dtx.DtxMessage(
            kind,
            2,
            0,
            expects_reply=True,
            arguments=(dtx.Int32(1), archive("com.apple.x")),
            payload=archive("_requestChannelWithCode:identifier:"),
        ),
        dtx.DtxMessage(kind, 3, 1, arguments=("text", 1.5), payload=archive("run:with:")),
        dtx.DtxMessage(kind, 4, 1, arguments=(None, dtx.Int64(9)), payload=archive("run:with:")),
        dtx.DtxMessage(dtx.MessageType.DATA, 5, 1, payload=bytes(40)),
    ]


def dtx_seeds() -> list[bytes]:
    """Messages whole and in fragments."""
    one, two, three, four, five = (dtx.encode_message(call) for call in _calls())
    body = one[dtx.FRAGMENT_HEADER.size :]
    parts = [body[:60], body[60:]]
    cut = b"".join(
        dtx.FRAGMENT_HEADER.pack(dtx.MAGIC, 32, index, 3, size, 9, 0, 0, 0) + part
        for index, size, part in ((0, len(body), b""), (1, 60, parts[0]), (2, len(parts[1]), parts[1]))
    )
    return [*_stream(one, two), *_stream(three, four, five), *_stream(cut)]


def dtx_call_seeds() -> list[bytes]:
    """Calls without their frames."""
    return [
        struct.pack("<H", len(call.payload)) + call.payload + dtx.encode_arguments(call.arguments) for call in _calls()
    ]


def archive_seeds() -> list[bytes]:
    """Archives of all classes that are understood."""
    values: list[object] = [
        "text",
        [1, 2.5, True, "x", {"a": [1]}],
        {"a": {"b": "c"}},
        NSError("domain", 3, {"NSLocalizedDescription": "no"}),
        [NSNull()],
        {1, 2},
    ]
    return [archive(value) for value in values]


def _xpc_value() -> dict[str, xpc.XpcObject]:
    return {
        "null": None,
        "yes": True,
        "int": xpc.Int64(-3),
        "uint": xpc.UInt64(5),
        "double": 1.5,
        "date": xpc.XpcDate(10**18),
        "data": b"abc",
        "text": "x",
        "list": [xpc.UInt64(1), {"a": "b"}],
    }


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def remote_xpc_seeds() -> list[bytes]:
    """The opening, a call, and what else HTTP/2 has."""
    flags = xpc.Flags.ALWAYS_SET | xpc.Flags.DATA_PRESENT | xpc.Flags.WANTING_REPLY
    message = xpc.encode_message(xpc.XpcMessage(flags, 1, {"a": "b"}, has_body=True))
    begin = _frame(4, 0, 0, struct.pack(">HI", 4, 1 << 20)) + _frame(8, 0, 0, struct.pack(">I", 1 << 20))
    talk = _frame(1, 4, 1, b"") + _frame(0, 0, 1, message)
    rest = _frame(6, 0, 0, bytes(8)) + _frame(3, 0, 1, bytes(4)) + _frame(7, 0, 0, bytes(8)) + _frame(4, 1, 0, b"")
    return [*_stream(begin, talk), *_stream(begin, talk, rest)]


def cdtunnel_seeds() -> list[bytes]:
    """A handshake and two packets."""
    hello = cdtunnel.build_frame({"type": "clientHandshakeRequest", "mtu": 16000})
    packet = build_packet(
        Segment(HOST.packed, PHONE.packed, 7, 80, sequence=1, acknowledgement=0, flags=SYN, window=100)
    )
    return _stream(hello, packet, packet)


def packet_seeds() -> list[bytes]:
    """A SYN with options, and data."""
    common: dict[str, Any] = {"source": HOST.packed, "destination": PHONE.packed, "source_port": 7}
    syn = Segment(
        **common,
        destination_port=80,
        sequence=1,
        acknowledgement=0,
        flags=SYN,
        window=9,
        mss_bytes=1400,
        window_scale=7,
    )
    data = Segment(**common, destination_port=80, sequence=1, acknowledgement=5, flags=ACK, window=9, payload=b"abc")
    return [build_packet(syn), build_packet(data)]


def tcp_seeds() -> list[bytes]:
    """Connections that talk, end, break and wait."""

    def step(what: int, flags: int = 0, *, window: int = 0xFFFF, size: int = 0, ack: int = 0) -> bytes:
        return STEP.pack(what, flags, 0, ack, window, size, 0)

    connect = step(0, SYN, window=1400) + step(0, ACK)
    talk = step(1, size=200) + step(14, 24, size=100) + step(2, size=9) + step(0, ACK, window=0) + step(5, size=20)
    end = step(3) + step(0, 17) + step(0, ACK) + step(5, size=255)
    return [connect + talk + end, connect + step(4), connect + step(1, size=255) * 6 + step(5, size=80) * 12]


def ips_seeds() -> list[bytes]:
    """A crash and a jetsam event."""
    crash = (
        b'{"bug_type":"309","timestamp":"x"}\n{"pid":7,"procName":"Probe","captureTime":"t",'
        b'"exception":{"signal":"SIGABRT","type":"EXC_CRASH"},"termination":{"indicator":"Abort"},'
        b'"asi":{"libsystem_c.dylib":["abort() called"]}}'
    )
    jetsam = (
        b'{"bug_type":"298"}\n{"memoryStatus":{"pageSize":16384},"date":"t",'
        b'"processes":[{"pid":7,"name":"Probe","rpages":9,"reason":"per-process-limit","lifetimeMax":10}]}'
    )
    return [crash, jetsam]


def runner_seeds() -> list[bytes]:
    """Events of a runner."""
    events = [
        b'{"v":1,"seq":1,"t":1,"ev":"phase","name":"map","edge":"begin"}\n',
        b'{"v":1,"seq":2,"t":1,"ev":"sample","d":[1,null,3]}\n',
        b'{"v":1,"seq":4,"t":1,"ev":"result","load_ns":1,"decode_tps":1.5,"durations_ns":{"map":1}}\n',
        b'{"v":1,"seq":5,"t":1,"ev":"notice","kind":"memory_warning","text":"x"}\n',
        b'{"v":1,"seq":3,"t":1,"ev":"novel"}\n',
        b'{"v":1,"seq":6,"t":1,"ev":"error","kind":"k","message":"m","phase":"map","trial":null}\n',
    ]
    return _stream(*events)


def xpc_seeds() -> list[bytes]:
    """Objects of all types."""
    return [xpc.encode_object(_xpc_value()), xpc.encode_object([])]


def model_file_seeds() -> list[bytes]:
    """A model file of each format."""
    return list(small_files().values())
