"""A hub with real Dask and phones that the test plays: who gets which trial, what counts, and what ends it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli.devices_reserve import release
from harness.core.errors import HarnessError, UsageError
from harness.core.standing import Kept, TrialStanding
from harness.farm import wire
from harness.farm.address import FarmAddress, parse_address
from harness.farm.board.words import Assignment
from harness.farm.hub import intake as intake_module
from harness.farm.hub import operations
from harness.farm.hub.blobs import Arrivals, Blobs, remove_old
from harness.farm.hub.hub import Hub, HubOptions, open_hub
from harness.farm.hub.intake import Intake, check_name
from harness.farm.link import PREFIX, Link
from harness.store.cleaning import remove_leftovers
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.exchange.merge import LOCK_NAME as EXCHANGE_LOCK
from harness.store.telemetry import read_parquet
from tests.functional.farm_fake_phone import LIMIT_S, fake_phones, sha256, until

LOOPBACK = FarmAddress("tcp", "127.0.0.1", 0)
SUITE = """
name = "hub"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
engines = ["mmap"]
[options]
trials = {trials}
"""


@asynccontextmanager
async def a_hub(results: Path, told: list[str] | None = None) -> AsyncIterator[Hub]:
    async with open_hub(HubOptions(results, LOOPBACK), (told if told is not None else []).append) as hub:
        yield hub


def submission(trials: int = 3, *words: str, **changes: Any) -> wire.Submission:
    values: dict[str, Any] = {
        "suite_text": SUITE.format(trials=trials),
        "base": "/nowhere",
        "words": words or ("virtual",),
        "by": "somebody@desk",
    }
    return wire.Submission(**(values | changes))


async def submit(link: Link, asked: wire.Submission) -> list[str]:
    return [run.run_id for run in (await link.ask("submit", asked, wire.Submitted)).runs]


async def the_end(link: Link, run_id: str) -> wire.Followed:
    async with asyncio.timeout(LIMIT_S):
        while True:
            news = await link.ask("follow", wire.FollowRequest(run_ids=(run_id,)), wire.Followed)
            if news.runs[0].state != "active":
                return news
            await asyncio.sleep(0.05)


async def records_of(link: Link, run_id: str) -> list[dict[str, Any]]:
    return list((await link.ask("records", wire.RecordsRequest(run_id=run_id), wire.Records)).records)


@pytest.mark.anyio
async def test_a_suite_is_run_by_all_phones_that_share_it(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path, 2) as phones:
        link = phones[0].link
        told = await link.ask("submit", submission(7), wire.Submitted)
        run = told.runs[0]
        assert (run.target, run.trials, run.phones, run.planned_s, run.unknown) == (
            "virtual:iphone-16-pro", 7, 2, None, 7,
        )  # fmt: skip  # two rows to compare
        news = await the_end(link, run.run_id)
        view = news.runs[0]
        assert (view.state, view.done, view.waiting, view.running, view.given_up) == ("done", 7, 0, 0, 0)
        assert sorted(one.what for one in news.events) == ["begun"] * 7 + ["ended"] * 7
        assert all(phone.jobs for phone in phones)
        records = await records_of(link, run.run_id)
        assert [one["ordinal"] for one in sorted(records, key=lambda one: one["ordinal"])] == [*range(1, 8)]
        after = wire.RecordsRequest(run_id=run.run_id, after=records[4]["trial_id"])
        assert list((await link.ask("records", after, wire.Records)).records) == records[5:]
        with ResultStore.open_existing(tmp_path / "results") as store:
            for record in store.trials(run_id=run.run_id):
                assert record.telemetry_file is not None
                assert record.artifacts_dir is not None
                assert len(read_parquet(store.folder / record.telemetry_file)) == 2
                artifacts = store.folder / record.artifacts_dir
                assert (artifacts / "reports" / "crash.ips").read_text() == f"of {record.trial_id}"
                assert (artifacts / "stderr.txt").read_bytes() == b""
        assert not list((tmp_path / "results" / "incoming").iterdir())
        status = await link.ask("status", wire.Nothing(), wire.Status)
        assert [phone.state for phone in status.phones] == ["free", "free"]
        assert [one.run_id for one in status.runs] == [run.run_id]


@pytest.mark.anyio
async def test_what_a_phone_spoils_is_run_again_and_kept_as_evidence(tmp_path: Path) -> None:
    def spoilt(job: wire.JobId) -> str:
        return "harness_error" if job.attempt == 1 and job.ordinal == 1 else "loaded"

    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path, 2, spoilt) as phones:
        link = phones[0].link
        run_id = (await submit(link, submission(2)))[0]
        await the_end(link, run_id)
        records = {(one["ordinal"], one["attempt"]): one for one in await records_of(link, run_id)}
        assert sorted(records) == [(1, 1), (1, 2), (2, 1)]
        assert records[1, 1]["cut_short"]
        assert "run again" in records[1, 1]["reason"]
        assert not records[1, 2]["cut_short"]
        # another phone than the one that spoilt it
        where = {key: one["device_udid"] for key, one in records.items()}
        assert where[1, 1] != where[1, 2]


@pytest.mark.anyio
async def test_a_lost_worker_costs_an_attempt_and_its_late_record_does_not_count(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path, 2) as phones:
        link, victim, other = phones[0].link, phones[0], phones[1]
        victim.hold = threading.Event()
        await other.announce(state=wire.PhoneState.NOT_READY)
        run_id = (await submit(link, submission(1)))[0]
        await until(lambda: victim.jobs)
        job = victim.jobs[0]
        late = victim.record(job, outcome="loaded")
        # as Dask does with a worker whose connection is gone, or that it has not heard of
        await hub.scheduler.remove_worker(victim.worker.address, stimulus_id="test", close=False)
        await the_end(link, run_id)
        assert [one.attempt for one in other.jobs] == [2]
        assert await victim.deliver(late) is Kept.EVIDENCE
        assert await victim.deliver(late) is Kept.ALREADY
        records = {one["attempt"]: one for one in await records_of(link, run_id)}
        assert (records[1]["cut_short"], records[2]["cut_short"]) == (True, False)
        news = await link.ask("follow", wire.FollowRequest(run_ids=(run_id,)), wire.Followed)
        assert [one.what for one in news.events if one.what in ("lost", "late")] == ["lost", "late"]
        # its own delivery when the test lets it go is refused by nobody, and changes nothing
        victim.outcome = lambda _job: None
        victim.hold.set()


@pytest.mark.anyio
async def test_a_phone_whose_worker_has_not_come_is_given_nothing_until_it_has(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        board, clock = hub.coordinator.board, hub.coordinator.clock
        said = phone.announcement(phone="another@bench", udid="another", worker="tcp://127.0.0.1:1")
        await phone.link.ask("announce", said, wire.Orders)
        assert board.phones["another@bench"].said.note == "not connected for trials yet"
        assert board.state_word("another@bench", clock.now_s()) == "not_ready"
        hub.coordinator.phones.worker_came("tcp://127.0.0.1:1")
        await until(lambda: board.state_word("another@bench", clock.now_s()) == "free")


@pytest.mark.anyio
async def test_a_job_for_a_worker_that_is_away_costs_no_attempt(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        phone.hold = threading.Event()
        run_id = (await submit(phone.link, submission(1)))[0]
        await until(lambda: phone.jobs)
        job = phone.jobs[0]
        assert hub.coordinator.counts(run_id)[TrialStanding.RUNNING] == 1
        # its phone was given it, and then its process had another address
        given = Assignment(job, phone.name, "tcp://127.0.0.1:1")
        hub.coordinator.phones.give(given, hub.coordinator.runs[run_id].job(job))
        await until(lambda: hub.coordinator.counts(run_id)[TrialStanding.WAITING] == 1)
        phone.hold.set()
        await the_end(phone.link, run_id)
        assert {job.attempt for job in phone.jobs} == {1}


@pytest.mark.anyio
async def test_words_that_mean_no_phone_are_told_what_there_is(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        link = phone.link
        for word, told in (
            ("class:iPhone17,2", "there is: 00008140-0000000000000001@bench"),
            ("00008140-00000000000000AA", "the farm has no such phone"),
            ("virtual:iphone-13-mini", "the farm has no such phone"),
            ("any", "in a farm say"),
            ("nonsense", "not a device word"),
        ):
            with pytest.raises(UsageError, match=told):
                await link.ask("submit", submission(1, word), wire.Submitted)
        text = 'name = "s"\n[[models]]\nname = "m"\npath = "m.task"\n'
        with pytest.raises(UsageError, match="did not come with the suite"):
            await link.ask("submit", submission(suite_text=text), wire.Submitted)
        with pytest.raises(UsageError, match="more than a run may have"):
            await link.ask("submit", submission(suite_text=_huge()), wire.Submitted)
        with pytest.raises(UsageError, match="knows no such run"):
            await link.ask("follow", wire.FollowRequest(run_ids=("20200101-1",)), wire.Followed)
        with pytest.raises(UsageError, match="is not under way"):
            await link.ask("cancel", wire.Cancel(run_id="20200101-1"), wire.Nothing)
        app = wire.FileRef(use=wire.FileUse.RUNNER, name="a", file_name="a.ipa", sha256="0" * 64, size_bytes=1)
        with pytest.raises(UsageError, match=r"a\.ipa: did not arrive"):
            await link.ask("submit", submission(options=wire.JobOptions(files=(app,))), wire.Submitted)
        planned = await link.ask("plan", submission(3, "all"), wire.PlanAnswer)
        assert [(run.target, run.trials) for run in planned.runs] == [("virtual:iphone-16-pro", 3)]
        assert not hub.coordinator.runs
        each = await link.ask("plan", submission(3, each=True), wire.PlanAnswer)
        assert [run.target for run in each.runs] == [phone.name]


@pytest.mark.anyio
async def test_runs_of_one_submission_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_TRIALS_AT_ONCE", 5)
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path, 2) as (phone, _other):
        for operation in ("submit", "plan"):
            with pytest.raises(UsageError, match="6 trials in 2 runs are more than are taken at once"):
                await phone.link.ask(operation, submission(3, each=True), wire.Nothing)
        assert not hub.coordinator.runs
        assert len(await submit(phone.link, submission(2, each=True))) == 2


def _huge() -> str:
    tokens = ", ".join(str(number) for number in range(1, 1001))
    models = '[[models]]\nname = "m"\nsynth = "tiny"\n'
    return f'name = "s"\n{models}[matrix]\nmax_tokens = [{tokens}]\n[options]\ntrials = 1000\n'


@pytest.mark.anyio
async def test_who_is_drained_or_reserved_gets_nothing_even_from_the_next_hub(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        link = phone.link
        await link.ask("drain", wire.Drain(what="bench", by="me", reason="cables"), wire.Nothing)
        mine = wire.Reserve(phone=phone.name, for_s=3600, by="me", reason="demo")
        assert (await link.ask("reserve", mine, wire.Reserved)).was == ""
        for for_s in (60, 0):
            with pytest.raises(UsageError, match=r"reserved until .* UTC by me: demo; .*--force"):
                await link.ask("reserve", wire.Reserve(phone=phone.name, for_s=for_s, by="you"), wire.Reserved)
        with pytest.raises(UsageError, match="no such phone or host"):
            await link.ask("drain", wire.Drain(what="nobody"), wire.Nothing)
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        link = phone.link
        status = await link.ask("status", wire.Nothing(), wire.Status)
        assert [(one.state, one.note) for one in status.phones] == [("drained", "drained by me: cables")]
        run_id = (await submit(link, submission(1)))[0]
        await link.ask("drain", wire.Drain(what="bench", undo=True), wire.Nothing)
        status = await link.ask("status", wire.Nothing(), wire.Status)
        assert [one.state for one in status.phones] == ["reserved"]
        assert not phone.jobs
        # who takes it all the same has it then, and the former can do nothing
        yours = wire.Reserve(phone=phone.name, for_s=60, by="you", force=True)
        assert (await link.ask("reserve", yours, wire.Reserved)).was.endswith("UTC by me: demo")
        status = await link.ask("status", wire.Nothing(), wire.Status)
        assert [one.note for one in status.phones] == ["by you"]
        with pytest.raises(UsageError, match="by you; "):
            await link.ask("reserve", wire.Reserve(phone=phone.name, for_s=0, by="me"), wire.Reserved)
        assert not phone.jobs
        await link.ask("reserve", wire.Reserve(phone=phone.name, for_s=0, by="you"), wire.Reserved)
        assert (await the_end(link, run_id)).runs[0].done == 1


@pytest.mark.anyio
async def test_the_command_tells_whose_a_phone_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        mine = wire.Reserve(phone=phone.name, for_s=3600, by="me", reason="demo")
        await phone.link.ask("reserve", mine, wire.Reserved)
        with pytest.raises(UsageError, match="by me: demo"):
            await asyncio.to_thread(release, phone.name, hub.address.text)
        for told in ("is there for the farm again; it was reserved until", "was not reserved"):
            await asyncio.to_thread(release, phone.name, hub.address.text, force=True)
            assert f"{phone.name} {told}" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.anyio
async def test_a_cancelled_run_ends_with_what_is_under_way(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        phone.hold = threading.Event()
        run_id = (await submit(phone.link, submission(3)))[0]
        await until(lambda: phone.jobs)
        await phone.link.ask("cancel", wire.Cancel(run_id=run_id, by="me"), wire.Nothing)
        phone.hold.set()
        view = (await the_end(phone.link, run_id)).runs[0]
        assert (view.state, view.done, view.given_up) == ("cancelled", 1, 2)
        given_up = await phone.link.ask("given_up", wire.GivenUpRequest(run_id=run_id), wire.GivenUp)
        assert [(one.by, one.reason) for one in given_up.trials] == [("cancelled", "cancelled by me")] * 2


@pytest.mark.anyio
async def test_results_have_one_hub(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results"):
        with pytest.raises(StoreError, match="another hub has it"):
            async with a_hub(tmp_path / "results"):
                pass


@pytest.mark.anyio
async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "one") as hub:
        taken = FarmAddress("tcp", "127.0.0.1", hub.address.port)
        with pytest.raises(HarnessError, match="cannot listen there"):
            async with open_hub(HubOptions(tmp_path / "two", taken), print):
                pass


@pytest.mark.anyio
@pytest.mark.parametrize(("listen", "by"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
async def test_a_hub_that_listens_everywhere_needs_no_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: str, by: str
) -> None:
    def no_route() -> str:
        raise AssertionError("a machine without a network has no other address")

    monkeypatch.setattr("distributed.comm.utils.get_ip", no_route)
    monkeypatch.setattr("distributed.comm.utils.get_ipv6", no_route)
    async with open_hub(HubOptions(tmp_path / "results", FarmAddress("tcp", listen, 0)), print) as hub:
        assert hub.scheduler.address == f"tcp://{by}:{hub.address.port}"
        assert hub.address.host == socket.gethostname()


# files


NAMES = ["../up", "a/../../up", "/etc/passwd", "a//b", ".", "..", "", "a\\b", "a\nb", "a/b/c/d/e", "x" * 300, "a/\x00"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        check_name(name)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["../../up", "a/../../../up", "/tmp/up"])
async def test_a_file_lands_nowhere_else(tmp_path: Path, name: str) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        before = _files(tmp_path)
        with pytest.raises(UsageError, match="no name"):
            await phone.send("20261123-1", name, b"data")
        record = phone.record(wire.JobId(run_id="r", case="c", ordinal=1, attempt=1))
        with pytest.raises(UsageError, match="no name"):
            await phone.deliver(record, {name: b"data"})
        assert _files(tmp_path) == before


@pytest.mark.anyio
async def test_a_record_whose_files_are_elsewhere_names_them_as_results_do(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        record = phone.record(wire.JobId(run_id="r", case="c", ordinal=1, attempt=1))
        delivery = phone.delivery(record, {}).model_copy(update={"elsewhere": True})
        await phone.link.ask("deliver", delivery, wire.DeliveryAnswer)
        with ResultStore.open_existing(tmp_path / "results") as store:
            (kept,) = store.trials()
    # whatever the host says that they are called
    names = (kept.telemetry_file, kept.artifacts_dir)
    assert names == (f"telemetry/{record.trial_id}.parquet", f"artifacts/{record.trial_id}")


def _files(folder: Path) -> set[Path]:
    housekeeping = ("runs.db", ".lock")
    return {
        path for path in folder.rglob("*") if path.is_file() and not any(name in path.name for name in housekeeping)
    }


@pytest.mark.anyio
async def test_what_is_no_record_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        job = wire.JobId(run_id="r", case="c", ordinal=1, attempt=1)
        for record, told in (
            (phone.record(job, state="running"), "state is 'running'"),
            (phone.record(job, device_udid="00008140-00000000000000FF"), "comes from"),
            (phone.record(job, device_kind="physical"), "comes from"),
            (phone.record(job, origin="elsewhere"), "not made in a farm"),
            (phone.record(job, outcome="loaded", outcome_family="host"), "outcome_family"),
        ):
            with pytest.raises(UsageError, match=told):
                await phone.deliver(record, {})
        with pytest.raises(UsageError, match="telemetry cannot be read"):
            await phone.deliver(phone.record(job), {"telemetry": b"PAR1 it is not"})
        with ResultStore.open_existing(tmp_path / "results") as store:
            assert not store.trials()
        assert not list((tmp_path / "results" / "telemetry").iterdir())
        # of a run that is not known here it is kept as it is
        assert await phone.deliver(phone.record(job)) is Kept.EVIDENCE


@pytest.mark.anyio
async def test_an_upload_goes_on_where_it_was_also_with_the_next_hub(tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    results = tmp_path / "results"
    async with a_hub(results) as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        part = wire.Chunk(of="", name="", sha256=sha256(data), size_bytes=len(data), offset=0, data=data[:300_000])
        assert (await phone.link.ask("chunk", part, wire.ChunkAnswer)).next_offset == 300_000
        with pytest.raises(UsageError, match="no file"):
            await phone.link.ask("fetch", wire.FetchChunk(sha256=sha256(data), offset=0), wire.FetchedChunk)
    async with a_hub(results) as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        # whoever begins anew is told where it is
        assert (await phone.link.ask("chunk", part, wire.ChunkAnswer)).next_offset == 300_000
        assert await phone.send("", "", data, begin=300_000) == len(data)
        told = await phone.link.ask("fetch", wire.FetchChunk(sha256=sha256(data), offset=999_000), wire.FetchedChunk)
        assert (told.size_bytes, told.data) == (len(data), data[999_000:])
        other = part.model_copy(update={"sha256": "0" * 64, "size_bytes": 3, "data": b"abc"})
        # not for good: what was changed on its way may come whole the next time
        with pytest.raises(HarnessError, match="another digest") as refused:
            await phone.link.ask("chunk", other, wire.ChunkAnswer)
        assert not isinstance(refused.value, UsageError)
        assert sorted(path.name for path in (results / "farm-files").iterdir()) == [sha256(data)]


def test_files_are_bounded_and_old_ones_go(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        arrivals = Arrivals()
        intake, blobs = Intake(store, arrivals), Blobs(tmp_path, arrivals)
        base: dict[str, Any] = {"of": "t-1", "name": "a", "sha256": "0" * 64, "offset": 0, "data": b"x"}
        with pytest.raises(UsageError, match="512 MiB"):
            intake.add(wire.Chunk(**base, size_bytes=512 * 1024**2 + 1))
        assert intake.add(wire.Chunk(**base, size_bytes=512 * 1024**2)) == 1
        (tmp_path / "incoming" / "t-1" / ("1" * 64)).write_bytes(b"")
        os.truncate(tmp_path / "incoming" / "t-1" / ("1" * 64), 600 * 1024**2)
        with pytest.raises(UsageError, match="more than 1 GiB"):
            intake.add(wire.Chunk(**base, size_bytes=512 * 1024**2))
        with pytest.raises(UsageError, match="more bytes than were announced"):
            blobs.add(wire.Chunk(**{**base, "of": "", "data": b"abc"}, size_bytes=2))
        now_s = (tmp_path / "incoming" / "t-1").stat().st_mtime
        assert intake.tidy(now_s + 6 * 86400) == []
        assert intake.tidy(now_s + 8 * 86400) == ["t-1"]
        assert remove_old(tmp_path / "nothing", 1.0) == []


def test_a_trial_has_so_many_files_and_a_hub_so_many_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "MAX_TRIAL_FILES", 2)
    monkeypatch.setattr(intake_module, "MAX_INCOMING", 2)

    def part(of: str, number: int) -> wire.Chunk:
        return wire.Chunk(of=of, name=f"{number}", sha256=f"{number:064}", size_bytes=9, offset=0, data=b"x")

    with ResultStore.open(tmp_path) as store:
        intake = Intake(store, Arrivals())
        for number in range(2):
            intake.add(part("t-1", number))
        with pytest.raises(UsageError, match="more than 2 files"):
            intake.add(part("t-1", 2))
        intake.add(part("t-2", 0))
        with pytest.raises(HarnessError, match="files of 2 trials are here"):
            intake.add(part("t-3", 0))
        # those that have begun go on
        assert intake.add(part("t-1", 1).model_copy(update={"offset": 1})) == 2
        intake.done("t-2")
        assert intake.add(part("t-3", 0)) == 1


@pytest.mark.anyio
async def test_odd_records_are_refused_whole(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "results") as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        job = wire.JobId(run_id="r", case="c", ordinal=1, attempt=1)
        with pytest.raises(UsageError, match="reports is named as a file and as a folder"):
            await phone.deliver(phone.record(job), {"reports": b"", "reports/one.ips": b""})
        plain = phone.delivery(phone.record(job), {}).plain()
        plain["record"]["reason"] = "x" * 17_000_000
        answer = await hub.scheduler.handlers[PREFIX + "deliver"](message=plain)
        assert "is longer than 16 MiB" in answer["error"]["text"]
        with ResultStore.open_existing(tmp_path / "results") as store:
            assert not store.trials()


@pytest.mark.anyio
async def test_gc_removes_nothing_that_is_being_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results"
    async with a_hub(results) as hub, fake_phones(hub.address, None, tmp_path) as (phone,):
        record = phone.record(wire.JobId(run_id="r", case="c", ordinal=1, attempt=1))
        files = phone.files_of(record)
        with ResultStore.open(results) as beside:
            await phone.send(record.trial_id, "telemetry", files["telemetry"])
            # files whose record has not come yet
            assert remove_leftovers(beside) == []
            cleanings: list[asyncio.Future[Any]] = []
            take = hub.coordinator.take

            async def take_later(*words: Any) -> Any:
                # the files are in their places, and no row names them yet
                cleanings.append(asyncio.ensure_future(asyncio.to_thread(remove_leftovers, beside)))
                with (results / EXCHANGE_LOCK).open("rb") as lock, suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    fcntl.flock(lock, fcntl.LOCK_UN)
                    # nothing keeps gc from it: so it shall be through
                    await cleanings[0]
                return await take(*words)

            monkeypatch.setattr(hub.coordinator, "take", take_later)
            await phone.deliver(record, files)
            assert await cleanings[0] == []
            (kept,) = beside.trials()
            assert kept.telemetry_file is not None
            assert kept.artifacts_dir is not None
            assert len(read_parquet(results / kept.telemetry_file)) == 2
            assert (results / kept.artifacts_dir / "reports" / "crash.ips").is_file()


# what comes in


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
OPERATIONS: dict[str, type[wire.Wire]] = {
    "hello": wire.Hello, "announce": wire.Announcement, "leave": wire.Leaves, "examined": wire.Examined,
    "submit": wire.Submission, "plan": wire.Submission, "follow": wire.FollowRequest, "records": wire.RecordsRequest,
    "given_up": wire.GivenUpRequest, "status": wire.Nothing, "drain": wire.Drain, "reserve": wire.Reserve,
    "cancel": wire.Cancel, "chunk": wire.Chunk, "fetch": wire.FetchChunk, "deliver": wire.Delivery,
}  # fmt: skip  # a table


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Asks a hub that lives as long as this module's tests, in a loop of its own, with whatever is put in."""
    ready = threading.Event()
    here: dict[str, Any] = {}

    async def live() -> None:
        async with a_hub(tmp_path_factory.mktemp("asked") / "results") as hub:
            here["hub"], here["loop"], here["end"] = hub, asyncio.get_running_loop(), asyncio.Event()
            ready.set()
            await here["end"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    assert ready.wait(LIMIT_S)

    def ask(operation: str, message: object) -> Any:
        handler = here["hub"].scheduler.handlers[PREFIX + operation]
        return asyncio.run_coroutine_threadsafe(handler(message=message), here["loop"]).result(LIMIT_S)

    yield ask
    here["loop"].call_soon_threadsafe(here["end"].set)
    thread.join()


def almost(operation: str) -> st.SearchStrategy[object]:
    """Messages with the right names and any values."""
    names = list(OPERATIONS[operation].model_fields)
    return PLAIN | st.dictionaries(st.sampled_from(names) if names else st.text(), PLAIN, max_size=len(names))


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_message_gets_an_answer(asked: Any, operation: str, data: st.DataObject) -> None:
    answer = asked(operation, data.draw(almost(operation)))
    assert set(answer) in ({"ok"}, {"error"})
    if "error" in answer:
        assert answer["error"]["kind"] in ("usage", "device", "harness")
        assert "could not do it" not in answer["error"]["text"]
    assert asked("status", {}).keys() == {"ok"}


# a hub of its own process


@pytest.mark.anyio
async def test_a_killed_hub_goes_on_when_it_is_back(tmp_path: Path) -> None:
    hub, address = _start_hub(tmp_path)
    try:
        async with fake_phones(address, None, tmp_path) as (phone,):
            phone.hold = threading.Event()
            run_id = (await submit(phone.link, submission(3)))[0]
            await until(lambda: phone.jobs)
            running = phone.jobs[0]
            hub.kill()
            hub.wait()
            record = phone.record(running, outcome="loaded")
            with pytest.raises(HarnessError, match="cannot be reached"):
                await phone.deliver(record)
        hub, address = _start_hub(tmp_path, address.port)
        async with fake_phones(address, None, tmp_path) as (phone,):
            # the phone's own process: it says what it was at, and brings it home
            phone.job = running
            await phone.announce()
            assert await phone.deliver(record) is Kept.RESULT
            phone.job = None
            await phone.announce()
            news = await the_end(phone.link, run_id)
            view = news.runs[0]
            assert (view.state, view.done, view.total) == ("done", 3, 3)
            assert [job.attempt for job in phone.jobs] == [1, 1]
            assert running not in phone.jobs
            assert len(await records_of(phone.link, run_id)) == 3
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(LIMIT_S) == 0
    finally:
        hub.kill()
        hub.wait()


def _start_hub(folder: Path, port: int | None = None) -> tuple[subprocess.Popen[str], FarmAddress]:
    port = port if port is not None else _free_port()
    command = (sys.executable, "-m", "harness.cli", "farm", "hub", "--listen", f"tcp://127.0.0.1:{port}")
    process = subprocess.Popen(
        [*command, "--results", str(folder / "results")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    told = process.stdout.readline().strip()
    process.stdout.close()
    return process, parse_address(told)


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def test_the_command_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    for words, told in (
        (("--listen", "tcp://0.0.0.0:8786"), "refused off the loopback"),
        (("--listen", "here"), "--listen=here"),
        (("--certs", str(tmp_path)), "harness farm certs issue"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli", "farm", "hub", *words],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
