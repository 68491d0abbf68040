"""What is fuzzed: for each codec a function of one input that raises only when the codec breaks its promises.

The promises: bytes from the other end lead to events or to the codec's own typed error, never to another exception;
what is held for an unfinished message stays under the codec's limit. Hangs are the fuzzer's to notice.

The first byte of an input to a stream codec is the size of the pieces it is fed in (0: all at once), so the fuzzer
explores splits as well. Used by `fuzz.py` (with atheris) and by the replay of the corpus (without).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from harness.core.model_file import BytesSource, ModelFileError, read_model_file
from harness.device.ips import ReportError, parse_report
from harness.runner.app.lines import MAX_LINE_BYTES as APP_LINE_BYTES
from harness.runner.app.lines import LineSplitter as AppLineSplitter
from harness.runner.framing import MAX_LINE_BYTES, FramingError
from harness.runner.messages import MessageError
from harness.runner.session import Session
from harness.virtual.services.instrument import Refused, invoke
from harness.virtual.wire import afc, cdtunnel, dtx, plist, remote_xpc, usbmux, xpc
from harness.virtual.wire.keyed_archive import ArchiveError, archive, unarchive
from tests.fuzz.measure import check_held
from tests.fuzz.seeds import (
    afc_seeds,
    archive_seeds,
    cdtunnel_seeds,
    dtx_call_seeds,
    dtx_seeds,
    ips_seeds,
    model_file_seeds,
    packet_seeds,
    plist_seeds,
    remote_xpc_seeds,
    runner_seeds,
    tcp_seeds,
    usbmux_seeds,
    xpc_seeds,
)
from tests.fuzz.services import app_service_seeds, instruments_seeds, run_app_service, run_instruments
from tests.fuzz.tcp_peer import run_packet, run_tcp

INPUT_LIMIT_BYTES = 64 * 1024
"""Longer inputs are not tried: everything that has a limit above it says so in a length field."""

MODEL_EXTRA_BYTES = 512 * 1024
"""Pages that several parts of a model file have in common."""


@dataclass(frozen=True)
class Target:
    """`run` is given one input; `seeds` are inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def pieces(data: bytes) -> Iterator[bytes]:
    """The input without its first byte, in pieces of that many bytes."""
    if not data:
        return
    body = data[1:]
    step = data[0] or max(1, len(body))
    for start in range(0, len(body), step):
        yield body[start : start + step]


# --- codecs that say how many bytes they want


def run_usbmux(data: bytes) -> None:
    """As usbmuxd reads: never more than the packet at hand."""
    decoder = usbmux.UsbmuxDecoder()
    rest = memoryview(data)
    try:
        while True:
            event = decoder.next_event()
            if isinstance(event, usbmux.UnsupportedVersion):
                usbmux.encode_bad_version(event.tag)
                return
            if event is not None:
                usbmux.port_from_wire(event.message.get("PortNumber"))
                continue
            wanted = decoder.wants
            assert wanted > 0, "nothing to do and nothing wanted: a reader would spin"
            if not rest:
                return
            decoder.receive_data(bytes(rest[:wanted]))
            rest = rest[wanted:]
            check_held(decoder, usbmux.PACKET_LIMIT_BYTES)
    except usbmux.UsbmuxError:
        return


def run_plist(data: bytes) -> None:
    """As services read property lists."""
    decoder = plist.PlistDecoder()
    rest = memoryview(data)
    try:
        while True:
            if decoder.next_event() is not None:
                continue
            wanted = decoder.wants
            assert wanted > 0, "nothing to do and nothing wanted: a reader would spin"
            if not rest:
                return
            decoder.receive_data(bytes(rest[:wanted]))
            rest = rest[wanted:]
            check_held(decoder, plist.FRAME_LIMIT_BYTES)
    except plist.PlistFrameError:
        return


# --- codecs that take whatever comes


def run_afc(data: bytes) -> None:
    """Requests and streamed writes."""
    decoder = afc.AfcDecoder()
    try:
        for piece in pieces(data):
            decoder.receive_data(piece)
            while decoder.next_event() is not None:
                pass
            check_held(decoder, afc.REQUEST_LIMIT_BYTES)
    except afc.AfcError:
        return


async def _never(*arguments: object) -> object:
    return len(arguments)


_SELECTORS = {"run:with:": _never, "run": _never, "_requestChannelWithCode:identifier:": _never}


def _invoke(message: dtx.DtxMessage) -> None:
    """Drives the call by hand: no event loop is needed for methods that do not wait."""
    steps = invoke(_SELECTORS, message)
    try:
        steps.send(None)
    except StopIteration:
        return
    except Refused as refusal:
        archive(refusal.error)


def run_dtx(data: bytes) -> None:
    """Fragments, messages, arguments, and the call inside."""
    receiver = dtx.DtxReceiver()
    try:
        for piece in pieces(data):
            for message in receiver.receive_data(piece):
                _invoke(message)
            check_held(receiver, dtx.MAXIMUM_UNFINISHED_BYTES + dtx.MAXIMUM_RECEIVED_FRAGMENT_BYTES)
    except dtx.DtxError:
        return


def run_dtx_call(data: bytes) -> None:
    """One call: two argument bytes say how the rest is cut into selector and arguments."""
    if len(data) < 2:
        return
    cut = struct.unpack_from("<H", data)[0] % max(1, len(data) - 1)
    try:
        arguments = dtx.decode_arguments(data[2 + cut :])
    except dtx.DtxError:
        arguments = ()
    _invoke(dtx.DtxMessage(dtx.MessageType.DISPATCH, 1, 1, arguments=arguments, payload=data[2 : 2 + cut]))


def run_keyed_archive(data: bytes) -> None:
    """Any archive is a value or an ArchiveError; values of plain types can be archived again."""
    try:
        value = unarchive(data)
    except ArchiveError:
        return
    try:
        archive(value)
    except ArchiveError:
        return


def run_xpc(data: bytes) -> None:
    """What can be read can be written, and reading that again changes nothing."""
    try:
        value = xpc.decode_object(data)
        again = xpc.encode_object(value)
    except xpc.XpcError:
        return
    assert xpc.encode_object(xpc.decode_object(again)) == again


def run_remote_xpc(data: bytes) -> None:
    """Frames after the preface; every message that wants an answer gets its own body back."""
    server = remote_xpc.RemoteXpcServer()
    server.receive_data(remote_xpc.PREFACE)
    sent = len(server.data_to_send())
    fed = 0
    try:
        for piece in pieces(data):
            fed += len(piece)
            for event in server.receive_data(piece):
                if isinstance(event, remote_xpc.MessageReceived) and event.wants_reply:
                    server.send(event.body, reply_to=event.message_id)
            sent += len(server.data_to_send())
            # a frame of nine bytes is answered by 26 at most, a message by one of its own size
            assert sent <= 1024 + 8 * fed, "small input makes large output"
            check_held(server, xpc.MAXIMUM_MESSAGE_BYTES)
    except (remote_xpc.RemoteXpcError, xpc.XpcError):
        return


def run_cdtunnel(data: bytes) -> None:
    """Handshake, then packets."""
    server = cdtunnel.CdTunnelServer()
    phone, host = IPv6Address("fd00::1"), IPv6Address("fd00::2")
    try:
        for piece in pieces(data):
            for event in server.receive_data(piece):
                if isinstance(event, cdtunnel.HandshakeRequested):
                    server.accept(server=phone, client=host, rsd_port=1, mtu_bytes=event.mtu_bytes)
            check_held(server, (1 << 16) + cdtunnel.IPV6_HEADER_BYTES)
    except cdtunnel.CdTunnelError:
        return


# --- the host's side


def run_ips(data: bytes) -> None:
    """Crash reports come from a phone."""
    try:
        parse_report(data, "fuzzed.ips")
    except ReportError:
        return


def run_runner_wire(data: bytes) -> None:
    """The runner's events at the host, and the same bytes as the runner's own splitter would take them."""
    app_lines = AppLineSplitter()
    for piece in pieces(data):
        app_lines.feed(piece)
        check_held(app_lines, APP_LINE_BYTES)
    session = Session()
    try:
        for piece in pieces(data):
            session.receive_data(piece)
            check_held(session, MAX_LINE_BYTES)
    except (FramingError, MessageError):
        return


# --- files that people give


class CountedSource(BytesSource):
    """A file that knows how much of it was read."""

    read_bytes = 0

    def read(self, offset: int, size_bytes: int) -> bytes:
        object.__setattr__(self, "read_bytes", self.read_bytes + size_bytes)
        return super().read(offset, size_bytes)


def run_model_file(data: bytes) -> None:
    """Model files come from wherever a person found them."""
    source = CountedSource("fuzzed.task", data)
    try:
        model = read_model_file(source)
    except ModelFileError:
        return
    finally:
        assert source.read_bytes <= 4 * len(data) + MODEL_EXTRA_BYTES, "a small file is read over and over"
    figures = [model.weight_bytes, model.embedding_bytes, model.context, model.kv_bytes_per_token]
    figures += [model.mask_bytes_per_token, *(signature.activation_bytes for signature in model.signatures)]
    assert all(figure is None or 0 <= figure < 1 << 63 for figure in figures), "a figure that no table holds"


TARGETS: dict[str, Target] = {
    "app_service": Target(run_app_service, app_service_seeds),
    "afc": Target(run_afc, afc_seeds),
    "cdtunnel": Target(run_cdtunnel, cdtunnel_seeds),
    "dtx": Target(run_dtx, dtx_seeds),
    "dtx_call": Target(run_dtx_call, dtx_call_seeds),
    "instruments": Target(run_instruments, instruments_seeds),
    "ips": Target(run_ips, ips_seeds),
    "keyed_archive": Target(run_keyed_archive, archive_seeds),
    "model_file": Target(run_model_file, model_file_seeds),
    "packet": Target(run_packet, packet_seeds),
    "plist": Target(run_plist, plist_seeds),
    "remote_xpc": Target(run_remote_xpc, remote_xpc_seeds),
    "runner_wire": Target(run_runner_wire, runner_seeds),
    "tcp": Target(run_tcp, tcp_seeds),
    "usbmux": Target(run_usbmux, usbmux_seeds),
    "xpc": Target(run_xpc, xpc_seeds),
}
