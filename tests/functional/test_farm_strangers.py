"""Who has no certificate: whatever he does to the hub's port, members get in; and nothing else listens."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.farm import listening
from harness.farm.address import Certificates, FarmAddress
from harness.farm.certs import ephemeral
from harness.farm.hub.hub import Hub, HubOptions, open_hub
from harness.farm.link import Link, open_link
from harness.farm.wire import Nothing, Status

pytestmark = pytest.mark.anyio

LIMIT_S = 60.0
ROOM = 4


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    folder = tmp_path / "certificates"
    folder.mkdir(mode=0o700)
    return ephemeral(folder)


@asynccontextmanager
async def a_hub(tmp_path: Path, certificates: Certificates) -> AsyncIterator[tuple[Hub, Link]]:
    options = HubOptions(tmp_path / "results", FarmAddress("tls", "127.0.0.1", 0), certificates)
    async with open_hub(options, lambda _line: None) as hub, open_link(hub.address, certificates) as link:
        yield hub, link


async def strangers(hub: Hub, count: int, says: bytes) -> list[asyncio.StreamReader]:
    """Connections that say that much, and no more; they last as long as the hub lets them."""
    found = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.address.port)
        writer.write(says)
        found.append(reader)
    return found


async def is_over(stranger: asyncio.StreamReader) -> bool:
    """Once the hub has closed it."""
    async with asyncio.timeout(LIMIT_S):
        try:
            while await stranger.read(4096):
                pass
        except ConnectionError:
            pass
        return stranger.at_eof() or stranger.exception() is not None


# a handshake that never goes on: nothing at all, and the begin of a first message
@pytest.mark.parametrize("says", [b"", b"\x16\x03\x01\x40\x00\x01"])
async def test_half_open_handshakes_make_room_for_members(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, says: bytes
) -> None:
    monkeypatch.setattr(listening, "MAX_HANDSHAKES", ROOM)
    monkeypatch.setattr(listening, "HANDSHAKE_LIMIT_S", 3600.0)
    async with a_hub(tmp_path, certificates) as (hub, link):
        found = await strangers(hub, 5 * ROOM, says)
        for oldest in found[: 4 * ROOM]:
            assert await is_over(oldest)
        assert await link.ask("status", Nothing(), Status)


async def test_a_handshake_has_a_limit_of_time(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_hub(tmp_path, certificates) as (hub, link):
        # a member's, made while there is time enough, stays as it is
        assert await link.ask("status", Nothing(), Status)
        monkeypatch.setattr(listening, "HANDSHAKE_LIMIT_S", 0.1)
        for stranger in await strangers(hub, 3, b"\x16\x03\x01"):
            assert await is_over(stranger)
        monkeypatch.undo()
        assert await link.ask("status", Nothing(), Status)


async def test_nothing_listens_beside_the_hubs_port(tmp_path: Path, certificates: Certificates) -> None:
    async with a_hub(tmp_path, certificates) as (hub, _link):
        pages: int = hub.scheduler.service_ports["dashboard"]
        assert pages != hub.address.port
        with socket.socket() as tried:
            assert tried.connect_ex(("127.0.0.1", pages)) != 0


def test_keys_of_one_command_are_nobody_elses(certificates: Certificates, tmp_path: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "certificates").rglob("*")}
    assert modes[certificates.key] == 0o600
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
