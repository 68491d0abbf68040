"""A host whose phones come and go, and one that is killed: each phone's process lives as long as it should."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.core.phone import AnyAttached
from harness.device.lease import FOLDER_VARIABLE, LockFolder, who_holds
from harness.farm import wire
from harness.farm.host import join as join_module
from harness.farm.host.join import HostOptions, open_host
from harness.store.database import ResultStore
from harness.virtual.running import RunningPhone
from tests.farm_network import harness
from tests.functional.farm_tiny_hub import TinyHub
from tests.functional.whole_way import Bench

pytestmark = pytest.mark.anyio

SUITE = """
name = "cables"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
caches = ["none"]
[options]
max_tokens = 64
decode_tokens = 1
hold_ms = 60_000
"""
LONG_S = 3600.0


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockFolder:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "locks"))
    return LockFolder.shared()


@asynccontextmanager
async def tiny_hub() -> AsyncIterator[TinyHub]:
    hub = TinyHub()
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def test_a_phone_is_in_the_farm_as_long_as_its_cable_is_in(
    virtual_phone: RunningPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join_module, "REPLUG_S", LONG_S)
    options = HostOptions(name="bench", spool=tmp_path / "spool")
    every = AnyAttached(every=True)
    async with tiny_hub() as hub, open_host(hub.address, None, [every], options, lambda _line: None) as host:
        first = await hub.free_phone()
        assert first.udid == virtual_phone.udid
        # a cable that is put back soon: the same process, which says meanwhile that it is of no use
        virtual_phone.control("unplug")
        await hub.until(lambda: hub.said[-1].state is wire.PhoneState.NOT_READY)
        assert "unplugged" in hub.said[-1].note
        before = len(hub.said)
        virtual_phone.control("plug")
        assert (await hub.free_phone(before)).pid == first.pid
        assert hub.left == []
        # one that stays out
        monkeypatch.setattr(join_module, "REPLUG_S", 0.0)
        virtual_phone.control("unplug")
        await hub.until(lambda: host.phones == [])
        assert [leaves.phone for leaves in hub.left] == [first.phone]
        assert hub.workers == []
        before = len(hub.said)
        virtual_phone.control("plug")
        again = await hub.free_phone(before)
        assert (again.phone, again.pid == first.pid) == (first.phone, False)


async def test_a_host_that_is_killed_takes_its_phones_processes_with_it(
    bench: Bench, tmp_path: Path, locks: LockFolder
) -> None:
    spool = tmp_path / "spool"
    async with tiny_hub() as hub:
        words = ("--device", "virtual", "--host-name", "bench", "--spool", spool, "--runner", "python")
        command = harness("farm", "join", hub.address.text, *words)
        quiet = asyncio.subprocess.DEVNULL
        joined = await asyncio.create_subprocess_exec(*command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            phone = await hub.free_phone()
            given = hub.give(hub.job(SUITE))
            await hub.until(lambda: hub.said[-1].doing == "hold")
            assert who_holds(locks)
        finally:
            joined.kill()
            await joined.wait()
        # nobody asks it to, and nobody else could
        await hub.until(lambda: not _lives(phone.pid))
        assert who_holds(locks) == {}
        assert [leaves.phone for leaves in hub.left] == [phone.phone]
        # the trial's record is kept, and says how it ended; it may have been delivered already
        with ResultStore.open(spool) as store:
            (record,) = store.trials()
        assert (record.state, record.cut_short) == ("done", True)
        given.release()


def _lives(pid: int) -> bool:
    """Not one that is only waited for."""
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.strip()[:1] not in ("", "Z")
