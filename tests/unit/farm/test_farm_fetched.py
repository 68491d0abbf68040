"""Files by their digests: fetched once, checked, gone on with where they were cut."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any, cast

import pytest

from harness.core.errors import HarnessError
from harness.farm.host import fetched as fetched_module
from harness.farm.host.fetched import BrokenFile, fetched
from harness.farm.link import HubUnreachable, Link
from harness.farm.wire import FetchedChunk, FileRef, FileUse

pytestmark = pytest.mark.anyio

DATA = b"model" * 1000
PART_BYTES = 2000


class HubAtHand:
    def __init__(self, data: bytes = DATA, *, away_after: int | None = None) -> None:
        self.data = data
        self.away_after = away_after
        self.offsets: list[int] = []

    async def ask(self, _operation: str, message: Any, _answer: object, *, limit_s: float = 0.0) -> FetchedChunk:
        if self.away_after is not None and len(self.offsets) >= self.away_after:
            raise HubUnreachable("away")
        self.offsets.append(message.offset)
        await asyncio.sleep(0)
        return FetchedChunk(size_bytes=len(self.data), data=self.data[message.offset : message.offset + PART_BYTES])


def ref(name: str = "mine.task") -> FileRef:
    digest = hashlib.sha256(DATA).hexdigest()
    return FileRef(use=FileUse.MODEL, name="mine", file_name=name, sha256=digest, size_bytes=len(DATA))


async def get(hub: HubAtHand, root: Path, name: str = "mine.task") -> Path:
    return await fetched(cast(Link, hub), ref(name), lambda what, done, total: None, root)


async def test_a_file_is_fetched_once_whoever_asks(tmp_path: Path) -> None:
    hub = HubAtHand()
    paths = await asyncio.gather(*(get(hub, tmp_path) for _ in range(4)))
    assert set(paths) == {tmp_path / ref().sha256 / "mine.task"}
    assert paths[0].read_bytes() == DATA
    assert hub.offsets == [0, 2000, 4000]
    # the same bytes under another name
    assert (await get(hub, tmp_path, "other.task")).read_bytes() == DATA
    assert len(hub.offsets) == 3


async def test_it_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    with pytest.raises(HubUnreachable):
        await get(HubAtHand(away_after=2), tmp_path)
    hub = HubAtHand()
    assert (await get(hub, tmp_path)).read_bytes() == DATA
    assert hub.offsets == [4000]


async def test_other_bytes_are_never_taken(tmp_path: Path) -> None:
    for other in (b"x" * len(DATA), DATA + b"more"):
        with pytest.raises(BrokenFile):
            await get(HubAtHand(other), tmp_path)
    assert (await get(HubAtHand(), tmp_path)).read_bytes() == DATA


async def test_what_had_arrived_and_was_not_looked_at_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / ref().sha256
    folder.mkdir()
    (folder / ".part").write_bytes(b"x" * len(DATA))
    with pytest.raises(BrokenFile):
        await get(HubAtHand(), tmp_path)
    assert (await get(HubAtHand(), tmp_path)).read_bytes() == DATA


@pytest.mark.parametrize("name", [".", "..", ".part", "a\nb", "\x1b[2J"])
async def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    hub = HubAtHand()
    with pytest.raises(BrokenFile, match="no name"):
        await get(hub, tmp_path / "files", name)
    assert hub.offsets == []
    assert not (tmp_path / "files").exists()


async def test_a_disk_is_not_filled_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = HubAtHand()
    monkeypatch.setattr(fetched_module, "DISK_RESERVE_BYTES", 2**62)
    with pytest.raises(HarnessError, match="this host's disk"):
        await get(hub, tmp_path)
    assert hub.offsets == []
