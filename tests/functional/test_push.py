"""Pushes to a virtual phone that goes wrong: each arrives, byte by byte, and nothing goes over the cable twice.

What becomes of a trial whose push goes wrong is in the last tests; here a model is a file of chance.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.core.outcome import Outcome
from harness.core.units import ByteCount
from harness.device import limits, push
from harness.device.afc_pipeline import CHUNK_BYTES, WINDOW, safe_offset
from harness.device.errors import StepError
from harness.device.lease import LockFolder
from harness.device.push import PushedModel, PushOptions, forget_model, push_model
from harness.device.pymobiledevice3_ import Pymobiledevice3Transport
from harness.device.usb import root_hub
from harness.virtual.running import RunningPhone
from tests.functional.app_packages import BUNDLE_ID
from tests.functional.conftest import MakeIpa, StartPhone
from tests.functional.whole_way import Bench, Watcher

pytestmark = pytest.mark.anyio

# ten chunks, and an end that is none
SIZE = 10 * CHUNK_BYTES + 12_345
MIDDLE = 5 * CHUNK_BYTES + 1
SMALL = 300_000
LIMIT_S = 180.0
Eventually = Callable[[Callable[[], object]], None]


def file_of_chance(path: Path, size: int = SIZE, seed: int = 1) -> Model:
    path.write_bytes(random.Random(seed).randbytes(size))
    return Model(path, hashlib.sha256(path.read_bytes()).hexdigest())


@dataclass(frozen=True)
class Model:
    path: Path
    sha256: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size


class Pusher:
    """A phone with an app, and pushes into it; notes what it was told."""

    def __init__(self, phone: RunningPhone, transport: Pymobiledevice3Transport) -> None:
        self.phone = phone
        self.transport = transport
        self.told: list[str] = []
        self.steps: list[tuple[int, int]] = []

    async def push(self, model: Model, **options: object) -> PushedModel:
        wanted = replace(PushOptions(tell=self.told.append, grace_s=LIMIT_S), **options)  # type: ignore[arg-type]  # by name
        async with asyncio.timeout(LIMIT_S):
            return await push_model(self.transport, BUNDLE_ID, model.path, model.sha256, self._note, wanted)

    async def fails(self, model: Model, **options: object) -> StepError:
        with pytest.raises(StepError) as caught:
            await self.push(model, **options)
        return caught.value

    def _note(self, what: str, done: int, total: int) -> None:
        assert isinstance(done, ByteCount)
        assert isinstance(total, ByteCount)
        self.steps.append((done, total))

    @property
    def folder(self) -> Path:
        (container,) = (self.phone.home / "Containers").iterdir()
        return container / "Documents/models"

    def has(self, model: Model) -> bool:
        """Whole, under its name, and with a manifest that says so."""
        file = self.folder / f"{model.sha256}.task"
        if not file.exists():
            return False
        assert hashlib.sha256(file.read_bytes()).hexdigest() == model.sha256
        manifest = self.manifest(model)
        assert (manifest["name"], manifest["bytes"]) == (model.path.name, model.size)
        return not file.with_name(f"{file.name}.part").exists()

    def part(self, model: Model) -> Path:
        return self.folder / f"{model.sha256}.task.part"

    def manifest(self, model: Model) -> dict[str, object]:
        told: dict[str, object] = json.loads((self.folder / f"{model.sha256}.json").read_text())
        assert told["sha256"] == model.sha256
        return told

    def set_last_used(self, model: Model, when: str) -> None:
        (self.folder / f"{model.sha256}.json").write_text(json.dumps(self.manifest(model) | {"last_used": when}))


@pytest.fixture
async def pusher(
    phone_starter: StartPhone, make_ipa: MakeIpa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pusher]:
    monkeypatch.setenv("IPHONE_LOAD_HARNESS_LOCKS", str(tmp_path / "locks"))
    phone = phone_starter()
    transport = await Pymobiledevice3Transport.open(
        phone.udid, usbmux_address=phone.usbmux, pair_records=tmp_path / "host"
    )
    await transport.install(make_ipa(), lambda what, done, total: None)
    yield Pusher(phone, transport)
    await transport.close()


# -- once


async def test_a_second_push_moves_nothing(pusher: Pusher, tmp_path: Path) -> None:
    model = file_of_chance(tmp_path / "a.task")
    first = await pusher.push(model)
    assert first == PushedModel(f"models/{model.sha256}.task", SIZE, pipelined=True, cuts=0)
    assert pusher.has(model)
    assert pusher.steps[0] == (0, SIZE)
    assert pusher.steps[-1] == (SIZE, SIZE)
    pusher.set_last_used(model, "2026-01-01T00:00:00+00:00")
    pushed_at = pusher.manifest(model)["pushed_at"]

    second = await pusher.push(model)
    assert second.pushed_bytes == 0
    assert pusher.manifest(model)["pushed_at"] == pushed_at
    assert str(pusher.manifest(model)["last_used"]) > "2026-01-01T00:00:00+00:00", "it was used again"
    assert pusher.told == []


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES])
async def test_any_size_arrives(pusher: Pusher, tmp_path: Path, size: int) -> None:
    model = file_of_chance(tmp_path / "a.task", size)
    assert (await pusher.push(model)).pushed_bytes == size
    assert pusher.has(model)


async def test_the_same_content_under_another_name_is_there(pusher: Pusher, tmp_path: Path) -> None:
    await pusher.push(file_of_chance(tmp_path / "a.task", SMALL))
    assert (await pusher.push(file_of_chance(tmp_path / "b.task", SMALL))).pushed_bytes == 0


async def test_a_forgotten_model_is_pushed_anew(pusher: Pusher, tmp_path: Path) -> None:
    model, other = file_of_chance(tmp_path / "a.task", SMALL), file_of_chance(tmp_path / "b.task", SMALL, seed=2)
    await pusher.push(model)
    await pusher.push(other)
    pusher.part(model).write_bytes(b"left over")
    await forget_model(pusher.transport, BUNDLE_ID, model.sha256)
    assert sorted(file.name for file in pusher.folder.iterdir()) == [f"{other.sha256}.json", f"{other.sha256}.task"]
    assert (await pusher.push(model)).pushed_bytes == SMALL


# -- cut


@pytest.mark.parametrize("offset", [1, MIDDLE, SIZE - 1])
@pytest.mark.parametrize("fault", ["unplug:seconds=0.3", "reboot:seconds=0.3"])
async def test_a_cut_push_goes_on_at_the_last_acknowledged_byte(
    pusher: Pusher, tmp_path: Path, fault: str, offset: int
) -> None:
    model = file_of_chance(tmp_path / "a.task")
    pusher.phone.control("fault", text=f"{fault}@push:{offset}")
    pushed = await pusher.push(model)
    assert pusher.has(model)
    assert (pushed.pushed_bytes, pushed.pipelined) == (SIZE, True), "no acknowledged byte went over the cable twice"
    assert pushed.cuts >= 1
    begins = [
        before for (before, _), (after, _) in zip(pusher.steps, pusher.steps[1:], strict=False) if before == after
    ]
    assert begins[0] >= max(0, offset - (WINDOW + 1) * CHUNK_BYTES), "the rest of its window at most"
    assert [done for done, _ in pusher.steps] == sorted(done for done, _ in pusher.steps), "it never went back"


async def test_many_cuts_are_survived_as_long_as_bytes_arrive(pusher: Pusher, tmp_path: Path) -> None:
    model = file_of_chance(tmp_path / "a.task")
    cuts = [CHUNK_BYTES * number + 5 for number in range(1, 10, 2)]
    for offset in cuts:
        pusher.phone.control("fault", text=f"unplug:seconds=0.1@push:{offset}")
    pushed = await pusher.push(model)
    assert pusher.has(model)
    assert (pushed.pushed_bytes, pushed.cuts >= len(cuts)) == (SIZE, True)


@pytest.mark.parametrize("offset", [1, MIDDLE])
async def test_an_error_among_several_writes_makes_it_go_on_one_by_one(
    pusher: Pusher, tmp_path: Path, offset: int
) -> None:
    model = file_of_chance(tmp_path / "a.task")
    pusher.phone.control("fault", text=f"afc-error:status=1@push:{offset}")
    pushed = await pusher.push(model)
    assert pusher.has(model), "what landed too early behind the error is gone"
    assert (pushed.pushed_bytes, pushed.pipelined, pushed.cuts) == (SIZE, False, 0)
    assert any("one write at a time" in text and "AFC status 1" in text for text in pusher.told)


@pytest.mark.parametrize("service", ["com.apple.mobile.house_arrest"])
async def test_a_service_that_hangs_for_a_while_is_waited_for(
    pusher: Pusher, tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SERVICE_LIMIT_S", 1.0)
    model = file_of_chance(tmp_path / "a.task", SMALL)
    pusher.phone.control("fault", text=f"service-hangs:service={service}:seconds=1.5@now")
    pushed = await pusher.push(model)
    assert pusher.has(model)
    assert pushed.cuts >= 1


async def test_a_service_that_hangs_for_good_is_given_up_on(
    pusher: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SERVICE_LIMIT_S", 0.3)
    monkeypatch.setattr(push, "PAUSE_S", 0.0)
    monkeypatch.setattr(push, "QUICK_S", 0.1)
    pusher.phone.control("fault", text="service-hangs:service=com.apple.mobile.house_arrest@now")
    error = await pusher.fails(file_of_chance(tmp_path / "a.task", SMALL))
    assert error.outcome is Outcome.PUSH_FAILED
    assert "3 connections in a row" in str(error)
    assert pusher.phone.udid in str(error)


async def test_a_phone_that_stays_away_is_lost_and_a_later_push_goes_on(pusher: Pusher, tmp_path: Path) -> None:
    model = file_of_chance(tmp_path / "a.task")
    pusher.phone.control("fault", text=f"unplug:seconds=inf@push:{8 * CHUNK_BYTES + 1}")
    error = await pusher.fails(model, grace_s=0.3)
    assert error.outcome is Outcome.LOST
    assert "was not back within 0.3 s" in str(error)
    pusher.phone.control("plug")
    at = safe_offset(pusher.part(model).stat().st_size)
    assert at > 0
    pushed = await pusher.push(model)
    assert pusher.has(model)
    assert pushed.pushed_bytes == SIZE - at


@pytest.mark.thorough
async def test_a_host_that_is_killed_is_continued_by_the_next(
    pusher: Pusher, tmp_path: Path, eventually: Eventually
) -> None:
    model = file_of_chance(tmp_path / "a.task")
    pusher.phone.control("fault", text="slow-link:bandwidth=30MB@now")
    process = start_pushing(pusher.phone, model)
    try:
        part = pusher.part(model)
        eventually(lambda: part.exists() and part.stat().st_size > 6 * CHUNK_BYTES)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # what the phone has received already it still writes
    sizes: list[int] = []

    def still() -> bool:
        sizes.append(part.stat().st_size)
        return len(sizes) > 20 and len(set(sizes[-20:])) == 1

    eventually(still)
    pusher.phone.control("heal")
    at = safe_offset(part.stat().st_size)
    assert at >= 2 * CHUNK_BYTES
    pushed = await pusher.push(model)
    assert pusher.has(model)
    assert pushed.pushed_bytes == SIZE - at
    assert any("goes on at" in text for text in pusher.told)


def start_pushing(phone: RunningPhone, model: Model) -> subprocess.Popen[bytes]:
    """A host of its own."""
    script = f"""
import asyncio, pathlib
from harness.device.pymobiledevice3_ import Pymobiledevice3Transport
from harness.device.push import push_model

async def main():
    phone = await Pymobiledevice3Transport.open({phone.udid!r})
    await push_model(phone, {BUNDLE_ID!r}, pathlib.Path({str(model.path)!r}), {model.sha256!r}, lambda *said: None)

asyncio.run(main())
"""
    return subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("part", [SIZE + 1, SIZE, CHUNK_BYTES])
async def test_a_part_that_proves_nothing_costs_no_right_byte(pusher: Pusher, tmp_path: Path, part: int) -> None:
    """Garbage within the window that may be wrong, or a part that is longer than the model."""
    model = file_of_chance(tmp_path / "a.task")
    pusher.folder.mkdir(parents=True)
    right = safe_offset(part) if part <= SIZE else 0
    pusher.part(model).write_bytes(model.path.read_bytes()[:right] + b"\xee" * (part - right))
    assert (await pusher.push(model)).pushed_bytes == SIZE - right
    assert pusher.has(model)


# -- room


async def filled(pusher: Pusher, tmp_path: Path, *names: str) -> list[Model]:
    """Models on the phone, the first used longest ago."""
    models = [file_of_chance(tmp_path / f"{name}.task", SMALL, seed) for seed, name in enumerate(names, start=10)]
    for day, model in enumerate(models, start=1):
        await pusher.push(model)
        pusher.set_last_used(model, f"2026-01-{day:02}T00:00:00+00:00")
    return models


async def test_a_full_phone_is_told_before_anything_is_written_or_removed(pusher: Pusher, tmp_path: Path) -> None:
    (old,) = await filled(pusher, tmp_path, "old")
    pusher.phone.control("disk", free_bytes=SMALL)
    error = await pusher.fails(file_of_chance(tmp_path / "a.task"), reserve_bytes=1024)
    assert error.outcome is Outcome.PUSH_FAILED
    assert "a.task needs 40.01 MiB" in str(error)
    assert "292.97 KiB" in str(error)
    assert "--keep" in str(error)
    assert pusher.has(old), "what would not have helped was left alone"


async def test_a_disk_that_fills_up_meanwhile_fails_the_push(pusher: Pusher, tmp_path: Path) -> None:
    pusher.phone.control("fault", text="afc-error:status=18@push:1")
    error = await pusher.fails(file_of_chance(tmp_path / "a.task", SMALL))
    assert error.outcome is Outcome.PUSH_FAILED
    assert "no space (AFC status 18)" in str(error)
    assert "Free storage" in str(error)


async def test_the_least_recently_used_go_first_and_no_more_than_needed(pusher: Pusher, tmp_path: Path) -> None:
    one, two, three, four = await filled(pusher, tmp_path, "one", "two", "three", "four")
    pusher.set_last_used(one, "2026-02-01T00:00:00+00:00")
    pusher.phone.control("disk", free_bytes=SMALL)
    new = file_of_chance(tmp_path / "new.task", 3 * SMALL - 1000)
    assert (await pusher.push(new, reserve_bytes=0)).pushed_bytes == new.size
    assert [pusher.has(model) for model in (one, two, three, four, new)] == [True, False, False, True, True]
    assert [text.split(" (")[0] for text in pusher.told] == ["removed two.task", "removed three.task"]


async def test_what_is_kept_or_in_use_stays(pusher: Pusher, tmp_path: Path) -> None:
    one, two, three, four = await filled(pusher, tmp_path, "one", "two", "three", "four")
    pusher.phone.control("disk", free_bytes=0)
    keep = ("one", two.sha256[:8])
    new = file_of_chance(tmp_path / "new.task", SMALL - 1000)
    await pusher.push(new, reserve_bytes=0, keep=keep, in_use=frozenset({three.sha256}))
    assert [pusher.has(model) for model in (one, two, three, four, new)] == [True, True, True, False, True]
    pusher.phone.control("disk", free_bytes=0)
    more = file_of_chance(tmp_path / "more.task", SMALL, seed=3)
    error = await pusher.fails(more, reserve_bytes=0, keep=(*keep, "three", "new"))
    assert error.outcome is Outcome.PUSH_FAILED


@pytest.mark.parametrize("manifest", [b"", b"{", b'{"name": "two.task"}', b"\xff" * 9000, b"[]", None])
async def test_a_model_that_says_nothing_sensible_goes_first(
    pusher: Pusher, tmp_path: Path, manifest: bytes | None
) -> None:
    one, two = await filled(pusher, tmp_path, "one", "two")
    file = pusher.folder / f"{two.sha256}.json"
    if manifest is None:
        file.unlink()
    else:
        file.write_bytes(manifest)
    pusher.phone.control("disk", free_bytes=0)
    await pusher.push(file_of_chance(tmp_path / "new.task", SMALL - 1000), reserve_bytes=0)
    assert pusher.has(one)
    assert not pusher.has(two)


async def test_a_wrong_manifest_is_put_right_by_the_next_use(pusher: Pusher, tmp_path: Path) -> None:
    (model,) = await filled(pusher, tmp_path, "one")
    (pusher.folder / f"{model.sha256}.json").write_text(json.dumps({"name": "../../evil", "bytes": -1}))
    assert (await pusher.push(model)).pushed_bytes == 0
    assert pusher.has(model)
    assert pusher.manifest(model)["pushed_at"] is None, "nobody knows any more"


async def test_parts_of_others_go_before_any_model(pusher: Pusher, tmp_path: Path) -> None:
    (one,) = await filled(pusher, tmp_path, "one")
    stranger = pusher.folder / "notes.txt"
    stranger.write_bytes(b"not ours")
    part = pusher.folder / f"{'ab' * 32}.task.part"
    part.write_bytes(bytes(SMALL))
    pusher.phone.control("disk", free_bytes=0)
    await pusher.push(file_of_chance(tmp_path / "new.task", SMALL - 1000), reserve_bytes=0)
    assert (part.exists(), pusher.has(one), stranger.exists()) == (False, True, True)


# -- one at a time


async def test_pushes_on_one_hub_take_turns_and_say_so(pusher: Pusher, tmp_path: Path) -> None:
    model = file_of_chance(tmp_path / "a.task", SMALL)
    other = LockFolder.shared().try_take(f"hub-{root_hub(pusher.transport.facts)}", "push other.task")
    assert other is not None

    def let_go(text: str) -> None:
        pusher.told.append(text)
        assert not pusher.part(model).exists()
        other.release()

    pushed = await pusher.push(model, tell=let_go)
    assert pushed.pushed_bytes == SMALL
    assert "in use" in pusher.told[0]
    assert "push other.task" in pusher.told[0]
    assert LockFolder.shared().held() == []


async def test_a_push_of_nothing_waits_for_nobody(pusher: Pusher, tmp_path: Path) -> None:
    model = file_of_chance(tmp_path / "a.task", SMALL)
    await pusher.push(model)
    other = LockFolder.shared().try_take(f"hub-{root_hub(pusher.transport.facts)}", "push other.task")
    assert other is not None
    assert (await pusher.push(model)).pushed_bytes == 0
    other.release()


# -- whole trials


@pytest.mark.parametrize("fault", ["file-truncated", "file-corrupted"])
def test_a_harmed_model_is_forgotten_and_the_next_trial_pushes_it_again(bench: Bench, fault: str) -> None:
    result = bench.run(settings={"fault": f"{fault}@push:100000", "seed": "7"}, matrix={"caches": ["none"]}, trials=2)
    assert [record.outcome for record in result.records] == ["push_failed", "loaded"], result.records[-1].reason


def test_a_model_that_was_pushed_through_a_cut_loads(bench: Bench) -> None:
    record = bench.only(settings={"fault": "unplug:seconds=0.5@push:100000"}, matrix={"caches": ["none"]})
    assert record.outcome == "loaded", record.reason


@pytest.mark.thorough
def test_a_run_that_was_killed_while_it_pushed_is_continued(
    bench: Bench, tmp_path: Path, eventually: Eventually
) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text(
        'name = "test"\nmodels = [{name = "wide", synth = "wide"}]\n'
        'matrix = {caches = ["none"]}\noptions = {trials = 1, max_tokens = 128}\n'
    )
    device = "virtual:iphone-16-pro,fault=slow-link:bandwidth=40MB@now"
    command = [sys.executable, "-m", "harness.cli", "run", str(suite), f"--device={device}"]
    process = subprocess.Popen(
        [*command, f"--results={bench.results}"], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
    )

    def part() -> list[Path]:
        return [path for path in bench.state.rglob("*.part") if path.stat().st_size > (WINDOW + 2) * CHUNK_BYTES]

    try:
        eventually(part)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    watcher = Pushes()
    record = bench.only(
        "wide", settings={"fault": "slow-link:bandwidth=40MB@now"}, matrix={"caches": ["none"]}, watcher=watcher
    )
    assert record.outcome == "loaded", record.reason
    assert watcher.first is not None
    assert watcher.first > 0, "it began where the killed one had certainly come"


class Pushes(Watcher):
    """Notes where a push begins."""

    def __init__(self) -> None:
        super().__init__()
        self.first: int | None = None

    def step(self, what: str, done: int, total: int) -> None:
        super().step(what, done, total)
        if what.startswith("push ") and self.first is None:
            self.first = done
