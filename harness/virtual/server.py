"""usbmuxd and the phones on its cables: hands connections of clients to the phones' ports, and tells of hotplug.

A client that sends garbage loses its own connection and disturbs nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.event_loop import forgive_second_close
from harness.virtual.app_link import splice
from harness.virtual.attachment import attached
from harness.virtual.pair_records import BadPairRecordName, PairRecordStore
from harness.virtual.services import lockdown
from harness.virtual.state import Connection
from harness.virtual.stream import READ_LIMIT_BYTES, SocketStream, StreamClosed
from harness.virtual.wire import usbmux
from harness.virtual.wire.plist import Plist
from harness.virtual.wire.usbmux import Result, UnsupportedVersion, UsbmuxDecoder, UsbmuxError

if TYPE_CHECKING:
    from harness.virtual.phone import Phone, PortHandler

log = logging.getLogger(__name__)

# Answers and events not yet taken by one client; beyond that it is hung up on.
OUTBOX_LIMIT = 256
APP_CONNECT_LIMIT_S = 5.0


@dataclass(frozen=True)
class _Port:
    """What a Connect leads to. `tls`: the first thing that happens there is a handshake."""

    phone: Phone
    serve: PortHandler
    tls: bool


class _Client:
    """One connection to usbmuxd before it has become a connection to the phone."""

    def __init__(self, stream: SocketStream, transport: asyncio.WriteTransport) -> None:
        self.stream = stream
        self.transport = transport
        self.program = ""
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue(OUTBOX_LIMIT)
        self._pump_task = asyncio.create_task(self._pump())

    def post(self, packet: bytes) -> None:
        """Queues a packet; a client that does not read loses its connection."""
        try:
            self._outbox.put_nowait(packet)
        except asyncio.QueueFull:
            self.stream.abort()

    async def flush(self) -> None:
        """Waits until everything posted is on its way; raises StreamClosed when it cannot be."""
        waiting = asyncio.create_task(self._outbox.join())
        await asyncio.wait({waiting, self._pump_task}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise StreamClosed

    async def stop(self) -> None:
        """Stops sending; the stream stays open."""
        self._pump_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump_task

    async def _pump(self) -> None:
        with contextlib.suppress(StreamClosed):
            while True:
                await self.stream.send(await self._outbox.get())
                self._outbox.task_done()


class Usbmuxd:
    """The multiplexer. `start_*` once, then `plug` and `unplug` phones at will, `close` at the end.

    `phones` are all that may ever be plugged in, at least one; the computer's own identity goes with the first.
    """

    def __init__(self, phones: Sequence[Phone]) -> None:
        self._records = PairRecordStore({phone.state.udid: phone.state.home for phone in phones})
        self._system_buid = phones[0].hosts.system_buid
        self._attached: dict[int, Phone] = {}
        self._next_device_id = 1
        self._listeners: dict[_Client, int] = {}
        self._connections: dict[SocketStream, Phone] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start_tcp(self, host: str, port: int) -> tuple[str, int]:
        """Listens on TCP; returns the address, with the port chosen if it was 0."""
        forgive_second_close()
        self._server = await asyncio.start_server(self._accept, host, port, limit=READ_LIMIT_BYTES)
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    async def start_unix(self, path: Path) -> None:
        """Listens on a unix socket."""
        forgive_second_close()
        self._server = await asyncio.start_unix_server(self._accept, path, limit=READ_LIMIT_BYTES)

    async def close(self) -> None:
        """Stops listening and drops every connection."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def is_plugged(self, phone: Phone) -> bool:
        """Whether the phone is on its cable."""
        return self._device_id(phone) is not None

    def plug(self, phone: Phone) -> None:
        """Puts a phone on its cable under a new device id, as every replug does."""
        if self._device_id(phone) is None:
            device_id, self._next_device_id = self._next_device_id, self._next_device_id + 1
            self._attached[device_id] = phone
            self._tell_all(attached(phone.state, device_id))

    def unplug(self, phone: Phone) -> None:
        """Pulls a cable: every connection to the phone breaks at once; other phones notice nothing."""
        device_id = self._device_id(phone)
        if device_id is not None:
            del self._attached[device_id]
            self._tell_all({"MessageType": "Detached", "DeviceID": device_id})
            self.drop_connections(phone)

    def drop_connections(self, phone: Phone) -> None:
        """Breaks every connection to the phone; it stays on its cable."""
        for stream, other in list(self._connections.items()):
            if other is phone:
                stream.abort()

    def _device_id(self, phone: Phone) -> int | None:
        return next((number for number, other in self._attached.items() if other is phone), None)

    # -- clients

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        stream = SocketStream(reader, writer)
        try:
            await self._serve(_Client(stream, writer.transport))
        except (StreamClosed, UsbmuxError, ConnectionError, ssl.SSLError) as error:
            log.debug("a client is dropped: %s", error)
        except asyncio.CancelledError:
            stream.abort()  # the phone is being switched off
        except Exception:
            log.exception("a conversation failed")
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(asyncio.CancelledError):
                await stream.close()

    async def _serve(self, client: _Client) -> None:
        try:
            port = await self._converse(client)
            if port is not None:
                await client.flush()
        finally:
            self._listeners.pop(client, None)
            await client.stop()
        if port is not None and self.is_plugged(port.phone):
            self._connections[client.stream] = port.phone
            try:
                async with port.phone.link.between(client.stream, tls=port.tls) as stream:
                    await port.serve(stream, port.phone)
            finally:
                del self._connections[client.stream]

    async def _converse(self, client: _Client) -> _Port | None:
        """Answers requests until the client goes (None) or has connected to a port (what serves it)."""
        decoder = UsbmuxDecoder()
        while True:
            while (event := decoder.next_event()) is None:
                # never a byte more than the packet: what follows a Connect belongs to the port
                try:
                    decoder.receive_data(await client.stream.receive_exactly(decoder.wants))
                except StreamClosed as error:
                    if decoder.at_boundary and not error.partial:
                        return None
                    raise
            if isinstance(event, UnsupportedVersion):
                client.post(usbmux.encode_bad_version(event.tag))
                await client.flush()
                return None
            port = await self._answer(client, event.tag, event.message)
            if port is not None:
                return port

    async def _answer(self, client: _Client, tag: int, request: Plist) -> _Port | None:
        kind = request.get("MessageType")
        client.program = str(request.get("ProgName", client.program))[:100]
        if kind == "Connect":
            port, result = await self._open(request)
            if port is not None and port.tls:
                # before the answer that lets the client's hello come, or it would be read as plain bytes and lost
                client.transport.pause_reading()  # type: ignore[attr-defined]  # typed one-way; sockets have it
            client.post(usbmux.encode_result(tag, result))
            return port
        if kind == "Listen":
            client.post(usbmux.encode_result(tag, Result.OK))
            self._listeners[client] = len(self._listeners) + 1
            for event in self._device_list():
                client.post(usbmux.encode(0, event))
        elif kind == "ListDevices":
            client.post(usbmux.encode(tag, {"DeviceList": self._device_list()}))
        elif kind == "ListListeners":
            rows = [{"Program Name": other.program, "ID": number} for other, number in self._listeners.items()]
            client.post(usbmux.encode(tag, {"ListenerList": rows}))
        elif kind == "ReadBUID":
            client.post(usbmux.encode(tag, {"BUID": self._system_buid}))
        elif kind in ("ReadPairRecord", "SavePairRecord", "DeletePairRecord"):
            client.post(self._pair_record(tag, kind, request))
        else:
            client.post(usbmux.encode_result(tag, Result.BAD_COMMAND))
        return None

    def _pair_record(self, tag: int, kind: str, request: Plist) -> bytes:
        name = request.get("PairRecordID")
        try:
            if kind == "ReadPairRecord":
                data = self._records.read(name)
                if data is None:
                    return usbmux.encode_result(tag, Result.BAD_DEVICE)
                return usbmux.encode(tag, {"PairRecordData": data})
            if kind == "DeletePairRecord":
                self._records.delete(name)
                return usbmux.encode_result(tag, Result.OK)
            if not self._records.save(name, request.get("PairRecordData")):
                return usbmux.encode_result(tag, Result.BAD_COMMAND)
        except BadPairRecordName:
            return usbmux.encode_result(tag, Result.BAD_COMMAND)
        for device_id, phone in self._attached.items():
            if phone.state.udid == name:
                self._tell_all({"MessageType": "Paired", "DeviceID": device_id})
        return usbmux.encode_result(tag, Result.OK)

    async def _open(self, request: Plist) -> tuple[_Port | None, Result]:
        """What serves the port a Connect asks for, and the answer to it."""
        port = usbmux.port_from_wire(request.get("PortNumber"))
        device_id = request.get("DeviceID")
        phone = self._attached.get(device_id) if isinstance(device_id, int) else None
        if phone is None:
            return None, Result.BAD_DEVICE
        if port is None:
            return None, Result.BAD_COMMAND
        if phone.state.connection is Connection.WIFI:
            # listed, but out of reach: figures over Wi-Fi are not to be trusted, and clients must cope with it
            return None, Result.REFUSED
        if port == lockdown.LOCKDOWN_PORT:
            return _Port(phone, lockdown.serve, tls=False), Result.OK
        service = phone.take_port(port)
        if service is not None:
            return _Port(phone, service.serve, tls=service.tls), Result.OK
        app = await _app_port(phone, port)
        return app, Result.REFUSED if app is None else Result.OK

    def _device_list(self) -> list[dict[str, Any]]:
        return [attached(phone.state, device_id) for device_id, phone in self._attached.items()]

    def _tell_all(self, event: dict[str, Any]) -> None:
        for client in list(self._listeners):
            client.post(usbmux.encode(0, event))


async def _app_port(phone: Phone, port: int) -> _Port | None:
    """A splice to an app of this phone that listens on the port; nothing else of this machine can be reached."""
    if not phone.processes.listener(port):
        return None
    try:
        connecting = asyncio.open_connection("127.0.0.1", port, limit=READ_LIMIT_BYTES)
        reader, writer = await asyncio.wait_for(connecting, APP_CONNECT_LIMIT_S)
    except (OSError, TimeoutError):
        return None
    app = SocketStream(reader, writer)

    async def handle(stream: SocketStream, phone: Phone) -> None:
        await splice(stream, app, phone)

    return _Port(phone, handle, tls=False)
