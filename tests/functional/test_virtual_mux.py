"""A virtual phone at the end of a cable: usbmuxd's ports and protocol, the cable itself, the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import plistlib
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import (
    ConnectionFailedError,
    PyMobileDevice3Exception,
)
from pymobiledevice3.services.afc import AfcService

from harness.virtual.running import ControlRefused, RunningPhone
from tests.functional.classic_clients import BUNDLE_ID, installed, lockdown

if TYPE_CHECKING:
    from tests.functional.conftest import MakeIpa, StartPhone

pytestmark = pytest.mark.anyio


ECHO = f"""#!{sys.executable}
import os, socket
listener = socket.create_server(("127.0.0.1", int(os.environ["RUNNER_PORT"])))
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)
"""


async def test_an_app_that_listens_is_reached_and_nothing_else_is(
    virtual_phone: RunningPhone, make_ipa: MakeIpa, unused_port: int
) -> None:
    async with installed(virtual_phone, make_ipa(ECHO)):
        device = await usbmux.select_device(virtual_phone.udid)
        assert device is not None
        virtual_phone.control("launch", bundle_id=BUNDLE_ID, environment={"RUNNER_PORT": str(unused_port)})
        for _ in range(500):
            with contextlib.suppress(ConnectionFailedError):
                connection = await device.connect(unused_port)
                break
            await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection(sock=connection)
        sent = os.urandom(300_000)
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        writer.close()
        await writer.wait_closed()
        # the phone's own listener is a port of this machine, not of an app
        with pytest.raises(ConnectionFailedError):
            await device.connect(int(virtual_phone.usbmux.rpartition(":")[2]))


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_a_pulled_cable_breaks_connections_and_is_told_to_listeners(virtual_phone: RunningPhone) -> None:
    mux: Any = await usbmux.create_mux()
    try:
        await mux.listen()
        await mux.receive_device_state_update()
        assert [device.serial for device in mux.devices] == [virtual_phone.udid]
        async with lockdown(virtual_phone) as client, AfcService(client) as afc:
            virtual_phone.control("unplug")
            with pytest.raises((PyMobileDevice3Exception, OSError)):
                await afc.listdir("/")
            await update_until(mux, lambda: not mux.devices)
            assert await usbmux.list_devices() == []
            virtual_phone.control("plug")
            await update_until(mux, lambda: bool(mux.devices))
            assert mux.devices[0].devid == 2
            assert await client.get_value(key="ProductType") == "iPhone17,1"
    finally:
        await mux.close()


async def update_until(mux: Any, condition: Callable[[], bool]) -> None:
    """Takes events (a Paired may come between) until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await mux.receive_device_state_update()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(16),
        struct.pack("<IIII", 20, 1, 8, 1) + b"junk",
        struct.pack("<IIII", 2**31, 1, 8, 1),
    ],
)
async def test_a_client_that_talks_nonsense_is_alone_with_it(virtual_phone: RunningPhone, garbage: bytes) -> None:
    host, _, port = virtual_phone.usbmux.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(garbage)
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()
    assert len(await usbmux.list_devices()) == 1


async def test_the_old_protocol_and_unknown_requests_are_answered(virtual_phone: RunningPhone) -> None:
    host, _, port = virtual_phone.usbmux.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = plistlib.dumps({"MessageType": "Dance"})
    writer.write(struct.pack("<IIII", 16 + len(body), 1, 8, 5) + body)
    size, _, _, tag = struct.unpack("<IIII", await reader.readexactly(16))
    assert (plistlib.loads(await reader.readexactly(size - 16))["Number"], tag) == (1, 5)
    writer.write(struct.pack("<IIII", 16, 0, 3, 7))
    assert await reader.read() == struct.pack("<IIIII", 20, 0, 1, 7, 6)
    writer.close()
    await writer.wait_closed()


# -- the control socket and the command


async def test_the_control_socket_says_what_it_does_not_do(virtual_phone: RunningPhone) -> None:
    for words, said in (
        ({"do": "fly"}, "fly"),
        ({"do": "trust", "state": "maybe"}, "state"),
        ({"do": "battery", "percent": 101}, "percent"),
        ({"do": "kill", "pid": 1}, "pid 1"),
        ({"do": "launch", "bundle_id": "com.example.absent"}, "com.example.absent"),
        ({"do": "unplug", "hard": True}, "hard"),
    ):
        with pytest.raises(ControlRefused, match=said):
            virtual_phone.control(**words)
    assert len(await usbmux.list_devices()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "iphone-1"], "iphone-16-pro"),
        (["--set", "colour=red"], "footprint_limit"),
        (["--set", "footprint_limit=90"], "MiB"),
        (["--set", "ios=3.0"], "18.5"),
        (["--set", "udid=x"], "UDID"),
        (["--listen", "somewhere"], "HOST:PORT"),
    ],
)
def test_wrong_use_names_what_is_right(arguments: list[str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.virtual", "--home", str(tmp_path / "home"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr


def test_two_phones_do_not_share_a_home(virtual_phone: RunningPhone, phone_starter: StartPhone) -> None:
    command = [sys.executable, "-m", "harness.virtual", "--home", str(virtual_phone.home)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 2
    assert "another virtual phone" in ended.stderr
    assert phone_starter(home_name="other").udid != virtual_phone.udid
