"""How fast the virtual phone takes a file over AFC, against a bare copy from a socket to a file in the same run.

    python tests/benchmarks/bench_afc_push.py [--mib 512] [--rounds 5]

Prints MB/s (10^6 bytes) of each round's pushes, and the median with its ratio to the bare copy. `raw` is a client of
this file's own with four writes of 4 MiB under way; pymobiledevice3 waits for each answer before it sends the next.
`plain` asks the phone for services without TLS (`--set plain_services=true`), which no real phone gives.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import ssl
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.service_connection import create_ssl_context
from pymobiledevice3.services.afc import AfcService

from harness.virtual.running import RunningPhone, start_phone
from harness.virtual.wire import afc, usbmux

CHUNK_BYTES = 4 * 1024 * 1024
UNDER_WAY = 4
SERVICE = "com.apple.afc"
FILE = "/Downloads/bench.bin"
OPEN_FOR_WRITING = 3
ANSWER_BYTES = 48
BARE_READ_BYTES = 1024 * 1024


def bare_copy(folder: Path, content: bytes, chunks: int) -> float:
    """Seconds from a socket's first byte to the file's last."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            with socket.create_connection(server.getsockname()) as connection:
                for _ in range(chunks):
                    connection.sendall(content)

        sender = threading.Thread(target=send)
        sender.start()
        connection, _ = server.accept()
    view = memoryview(bytearray(BARE_READ_BYTES))
    with connection, (folder / "bare.bin").open("wb", buffering=0) as file:
        begin = time.perf_counter()
        while size := connection.recv_into(view):
            file.write(view[:size])
        seconds = time.perf_counter() - begin
    sender.join()
    return seconds


def connect(phone: RunningPhone, port: int, context: ssl.SSLContext | None) -> socket.socket:
    """A connection to a port of the phone through its usbmuxd."""
    host, _, usbmux_port = phone.usbmux.rpartition(":")
    connection = socket.create_connection((host, int(usbmux_port)))
    devices = ask(connection, 1, {"MessageType": "ListDevices"})["DeviceList"]
    wanted = {"MessageType": "Connect", "DeviceID": devices[0]["DeviceID"], "PortNumber": socket.htons(port)}
    answer = ask(connection, 2, wanted)
    if answer["Number"] != 0:
        raise SystemExit(f"the phone's usbmuxd refused port {port}: {answer}")
    return connection if context is None else context.wrap_socket(connection)


def ask(connection: socket.socket, tag: int, message: dict[str, Any]) -> dict[str, Any]:
    connection.sendall(usbmux.encode(tag, message))
    decoder = usbmux.UsbmuxDecoder()
    while (event := decoder.next_event()) is None:
        decoder.receive_data(receive(connection, decoder.wants))
    assert isinstance(event, usbmux.Request)
    return event.message


def receive(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        data = connection.recv(size - len(parts))
        if not data:
            raise SystemExit("the phone hung up")
        parts += data
    return parts


def raw_push(connection: socket.socket, content: bytes, chunks: int) -> float:
    """Seconds from the first write to the last answer."""
    parameters = struct.pack("<Q", OPEN_FOR_WRITING) + FILE.encode() + b"\0"
    connection.sendall(afc.encode(1, afc.Operation.OPEN, parameters))
    handle = receive(connection, ANSWER_BYTES)[-8:]
    own = ANSWER_BYTES
    begin = time.perf_counter()
    for number in range(chunks + UNDER_WAY):
        if number >= UNDER_WAY:
            check(receive(connection, ANSWER_BYTES))
        if number < chunks:
            header = struct.pack("<8sQQQQ", afc.MAGIC, own + len(content), own, number + 2, afc.Operation.WRITE)
            connection.sendall(header + handle)
            connection.sendall(content)
    seconds = time.perf_counter() - begin
    connection.sendall(afc.encode(chunks + 2, afc.Operation.CLOSE, handle))
    check(receive(connection, ANSWER_BYTES))
    return seconds


def check(answer: bytes) -> None:
    if answer[-8:] != bytes(8):
        raise SystemExit(f"the phone refused: status {answer[-8:].hex()}")


async def library_push(afc_service: AfcService, content: bytes, chunks: int) -> float:
    """The same through pymobiledevice3's public API."""
    handle = await afc_service.fopen(FILE, "w")
    begin = time.perf_counter()
    for _ in range(chunks):
        await afc_service.fwrite(handle, content)
    seconds = time.perf_counter() - begin
    await afc_service.fclose(handle)
    return seconds


async def push_both(phone: RunningPhone, content: bytes, chunks: int) -> tuple[float, float]:
    """Seconds of the raw client and of the library, to one phone."""
    async with await create_using_usbmux(serial=phone.udid, usbmux_address=phone.usbmux) as client:
        attributes = await client.get_service_connection_attributes(SERVICE)
        context = None
        if attributes.get("EnableServiceSSL"):
            with client.ssl_file() as certificate:
                context = create_ssl_context(certificate)
        connection = await asyncio.to_thread(connect, phone, attributes["Port"], context)
        with connection:
            raw = await asyncio.to_thread(raw_push, connection, content, chunks)
        async with AfcService(client) as service:
            library = await library_push(service, content, chunks)
    return raw, library


def measure(folder: Path, mib: int, rounds: int, tell: Callable[[str], None]) -> None:
    """Runs everything in turn, round by round, so that the machine's moods meet all alike."""
    content = os.urandom(CHUNK_BYTES)
    chunks = mib * 1024 * 1024 // CHUNK_BYTES
    size_mb = chunks * CHUNK_BYTES / 1e6
    rates: dict[str, list[float]] = {}
    os.environ["HOME"] = str(folder)  # the library keeps pair records under it
    with (
        start_phone(settings={"plain_services": "true"}, home=folder / "plain") as plain,
        start_phone(home=folder / "tls") as tls,
    ):
        for _ in range(rounds):
            seconds = {"bare copy": bare_copy(folder, content, chunks)}
            for name, phone in (("plain", plain), ("TLS", tls)):
                # the library finds usbmuxd by it when it keeps a pair record
                os.environ["USBMUXD_SOCKET_ADDRESS"] = phone.usbmux
                both = asyncio.run(push_both(phone, content, chunks))
                seconds[f"{name}, raw"], seconds[f"{name}, pymobiledevice3"] = both
            for name, duration in seconds.items():
                rates.setdefault(name, []).append(size_mb / duration)
    bare = statistics.median(rates["bare copy"])
    for name, values in rates.items():
        middle = statistics.median(values)
        each = " ".join(f"{value:.0f}" for value in values)
        tell(f"{name:24} {middle:6.0f} MB/s  {middle / bare:5.2f} of bare   rounds: {each}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.mib, options.rounds, print)


if __name__ == "__main__":
    main()
