"""From the spool to the hub, with a hub that is away, loses files, or refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.core.record import TrialRecord
from harness.core.standing import Kept
from harness.farm import wire
from harness.farm.host.delivery import ASIDE_FOLDER, Courier, NotTaken, files_of
from harness.farm.host.file_store import check_file_store, put
from harness.farm.host.spool import host_word, is_delivered, phone_key
from harness.farm.link import HubUnreachable, Link
from harness.store.database import ResultStore
from tests.store_records import a_record

pytestmark = pytest.mark.anyio


class HubAtHand:
    """A link without a wire."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.delivered: list[wire.Delivery] = []
        self.chunks: list[tuple[str, int]] = []
        self.error: HarnessError | None = None
        self.forgets = 0

    async def ask(self, operation: str, message: Any, answer: type[wire.Wire], *, limit_s: float = 0.0) -> wire.Wire:
        if self.error is not None:
            raise self.error
        # as it would have crossed the wire
        told = type(message).read(message.plain())
        return answer.read(getattr(self, operation)(told).plain())

    def chunk(self, chunk: wire.Chunk) -> wire.ChunkAnswer:
        self.chunks.append((chunk.name, chunk.offset))
        there = self.files.setdefault(chunk.name, bytearray())
        if chunk.offset == len(there):
            there += chunk.data
        return wire.ChunkAnswer(next_offset=len(there))

    def deliver(self, delivery: wire.Delivery) -> wire.DeliveryAnswer:
        if self.forgets and self.files:
            self.forgets -= 1
            self.files.clear()
        missing = [file.name for file in delivery.files if not self._has(file)]
        if not missing:
            self.delivered.append(delivery)
        return wire.DeliveryAnswer(kept=Kept.RESULT, missing=tuple(missing))

    def _has(self, file: wire.DeliveredFile) -> bool:
        return hashlib.sha256(self.files.get(file.name, b"?")).hexdigest() == file.sha256


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore.open(tmp_path / "spool") as store:
        yield store


def done_trial(store: ResultStore, trial_id: str = "trial-1") -> TrialRecord:
    record = store.begin(a_record(trial_id))
    folder = store.artifacts_dir(trial_id)
    (folder / "journal.ndjson").write_bytes(b"j" * 10)
    (folder / "empty").touch()
    (folder / "reports").mkdir()
    (folder / "reports" / "one.ips").write_bytes(b"i" * 5_000_000)
    return store.finish(record, [])


def courier_of(store: ResultStore, hub: HubAtHand, told: list[str] | None = None) -> Courier:
    return Courier(store, cast(Link, hub), "bench", (told if told is not None else []).append)


async def test_a_record_goes_with_all_its_files_and_once(store: ResultStore) -> None:
    hub, record = HubAtHand(), done_trial(store)
    courier = courier_of(store, hub)
    assert await courier.deliver(record) is Kept.RESULT
    assert {name: len(data) for name, data in hub.files.items()} == {
        "journal.ndjson": 10, "empty": 0, "reports/one.ips": 5_000_000,
    }  # fmt: skip  # a listing
    assert hub.delivered[0].phone == phone_key(record.device_udid, record.device_kind, "bench")
    assert is_delivered(store, record.trial_id)
    assert await courier.deliver(record) is Kept.ALREADY
    assert await courier.sweep() == 0
    assert len(hub.delivered) == 1


async def test_a_file_goes_on_where_it_was_cut(store: ResultStore) -> None:
    hub, record = HubAtHand(), done_trial(store)
    hub.files["reports/one.ips"] = bytearray(b"i" * 1000)
    await courier_of(store, hub).deliver(record)
    offsets = [offset for name, offset in hub.chunks if name == "reports/one.ips"]
    # the first is a try; then what the hub asks for
    assert offsets[:2] == [0, 1000]
    assert len(hub.files["reports/one.ips"]) == 5_000_000


async def test_a_hub_that_lost_files_gets_them_again(store: ResultStore) -> None:
    hub, record = HubAtHand(), done_trial(store)
    hub.forgets = 2
    assert await courier_of(store, hub).deliver(record) is Kept.RESULT


async def test_what_the_hub_never_takes_is_set_aside_and_told_once(store: ResultStore) -> None:
    hub, told, record = HubAtHand(), cast(list[str], []), done_trial(store)
    hub.error = UsageError("no such column")
    courier = courier_of(store, hub, told)
    assert [await courier.sweep() for _ in range(3)] == [0, 0, 0]
    assert len(told) == 1
    assert "no such column" in told[0]
    hub.error = None
    assert await courier.sweep() == 0
    (store.folder / ASIDE_FOLDER / record.trial_id).unlink()
    assert await courier.sweep() == 1


async def test_what_the_hub_cannot_take_now_goes_later(store: ResultStore) -> None:
    hub, record = HubAtHand(), done_trial(store)
    hub.error = HarnessError("the disk is full")
    courier = courier_of(store, hub)
    with pytest.raises(NotTaken, match="disk is full"):
        await courier.deliver(record)
    hub.error = HubUnreachable("away")
    with pytest.raises(HubUnreachable):
        await courier.sweep()
    assert not is_delivered(store, record.trial_id)
    hub.error = None
    assert await courier.sweep() == 1


def test_links_and_odd_names_stay_here(store: ResultStore, tmp_path: Path) -> None:
    record = done_trial(store)
    folder = store.artifacts_dir(record.trial_id)
    secret = tmp_path / "secret"
    secret.write_text("not a trial's")
    (folder / "link").symlink_to(secret)
    (folder / "back\\slash").write_text("")
    deep = folder / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "file").write_text("")
    told: list[str] = []
    names = [file.told.name for file in files_of(store, record, told.append)]
    assert sorted(names) == ["empty", "journal.ndjson", "reports/one.ips"]
    (line,) = told
    assert "back\\slash" in line
    assert "a/b/c/d/file" in line


def test_of_too_many_files_the_same_go_each_time_and_one_line_tells(store: ResultStore) -> None:
    record = done_trial(store)
    folder = store.artifacts_dir(record.trial_id) / "reports"
    for number in range(1200):
        (folder / f"{number:04}.ips").touch()
    told: list[str] = []
    names = [file.told.name for file in files_of(store, record, told.append)]
    assert names == ["empty", "journal.ndjson", *(f"reports/{number:04}.ips" for number in range(998))]
    (line,) = told
    assert "reports/0998.ips (0 bytes), reports/0999.ips (0 bytes), reports/1000.ips (0 bytes) and 200 more" in line


@pytest.mark.parametrize(
    ("name", "word"), [("mac mini (3)", "mac-mini-3"), ("", "host"), ("ü", "host"), ("a.b", "a.b")]
)
def test_a_hosts_name_is_one_for_the_wire(name: str, word: str) -> None:
    assert host_word(name) == word


async def test_files_go_to_the_file_store_where_the_farm_has_one(store: ResultStore, tmp_path: Path) -> None:
    hub, record = HubAtHand(), done_trial(store)
    url = check_file_store(f"file://{tmp_path}/central/")
    courier = Courier(store, cast(Link, hub), "bench", lambda _text: None, url)
    assert await courier.deliver(record) is Kept.RESULT
    there = tmp_path / "central" / "artifacts" / record.trial_id
    files = {path.relative_to(there).as_posix(): path.stat().st_size for path in there.rglob("*") if path.is_file()}
    assert files == {"journal.ndjson": 10, "empty": 0, "reports/one.ips": 5_000_000}
    assert (hub.chunks, hub.delivered[0].files, hub.delivered[0].elsewhere) == ([], (), True)


async def test_a_file_store_that_takes_nothing_keeps_the_record_here(store: ResultStore, tmp_path: Path) -> None:
    hub, record = HubAtHand(), done_trial(store)
    (tmp_path / "taken").write_text("a file where a folder has to be")
    courier = Courier(store, cast(Link, hub), "bench", lambda _text: None, f"file://{tmp_path}/taken")
    with pytest.raises(NotTaken, match="file store"):
        await courier.deliver(record)
    assert hub.delivered == []
    assert not is_delivered(store, record.trial_id)


def test_a_password_of_the_file_store_stays_here(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(HarnessError, match="took no files") as refused:
        put("gopher://ann:secret@nowhere/loads", [(path, "file")])
    assert "secret" not in str(refused.value)
    assert "//…@nowhere/loads" in str(refused.value)


@pytest.mark.parametrize("url", ["/srv/loads", "nowhere", "gopher://old/files", "file:// a", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--files"):
        check_file_store(url)
