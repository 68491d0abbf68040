"""A host's phones, each in its process: trials run there, records come home, whatever dies or freezes meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.core.phone import Virtual
from harness.farm import wire
from harness.farm.host.join import Host, HostOptions, open_host
from harness.store.database import ResultStore
from harness.store.deliveries import undelivered
from harness.store.telemetry import SPOOL_SUFFIX
from tests.functional.farm_tiny_hub import TinyHub
from tests.functional.whole_way import Bench

pytestmark = pytest.mark.anyio

SUITE = """
name = "host"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
caches = ["none"]
[options]
trials = 2
max_tokens = 64
decode_tokens = 1
sample_hz = 100
hold_ms = {hold_ms}
"""
QUICK, LONG = SUITE.format(hold_ms=0), SUITE.format(hold_ms=6000)


@asynccontextmanager
async def host_with_a_phone(
    tmp_path: Path, hub: TinyHub, told: list[str] | None = None, *, stall_limit_s: float = 60.0
) -> AsyncIterator[Host]:
    options = HostOptions(name="bench", spool=tmp_path / "spool", stall_limit_s=stall_limit_s)
    lines = told if told is not None else []
    async with open_host(hub.address, None, [Virtual()], options, lines.append) as host:
        yield host


def spooled_bytes(results: Path) -> int:
    """Readings of running trials that are on the disk."""
    return sum(path.stat().st_size for path in (results / "telemetry").glob(f"*{SPOOL_SUFFIX}"))


@asynccontextmanager
async def tiny_hub() -> AsyncIterator[TinyHub]:
    hub = TinyHub()
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def test_trials_run_and_their_records_come_home_also_of_a_host_that_drains(bench: Bench, tmp_path: Path) -> None:
    async with tiny_hub() as hub:
        async with host_with_a_phone(tmp_path, hub) as host:
            phone = await hub.free_phone()
            assert phone.phone == f"{phone.udid}@bench"
            assert phone.word.startswith("virtual:")
            reports = [await hub.report(hub.job(QUICK, number)) for number in (1, 2)]
            before = len(hub.said)
            given = hub.give(hub.job(SUITE.format(hold_ms=2000), 1, run_id="run-2"))
            await hub.until(lambda: any(said.doing == "hold" for said in hub.said[before:]))
            draining = asyncio.create_task(host.drain())
            other = wire.JobReport.read(await given)
            await draining
        assert [report.end for report in (*reports, other)] == [wire.JobEnd.DELIVERED] * 3
        records = [hub.records[report.trial_id or ""] for report in (*reports, other)]
        assert [(record["run_id"], record["ordinal"], record["outcome"]) for record in records] == [
            ("run-1", 1, "loaded"),
            ("run-1", 2, "loaded"),
            ("run-2", 1, "loaded"),
        ]
        names = {name for trial_id, name in hub.files if trial_id == reports[0].trial_id}
        assert {"telemetry", "journal.ndjson"} <= names
        # it is said of a phone what it has, so that the hub can place trials where the model is
        assert any(records[0]["model_sha256"] in said.models for said in hub.said)
        # while the trial was under way it was said
        assert any(said.job is not None and said.job.ordinal == 2 for said in hub.said)
        assert [leaves.phone for leaves in hub.left] == [phone.phone]
    with ResultStore.open(tmp_path / "spool") as store:
        assert len(store.trial_ids()) == 3
        assert undelivered(store) == []


@pytest.mark.thorough
async def test_a_killed_process_comes_back_and_what_it_left_is_delivered(bench: Bench, tmp_path: Path) -> None:
    async with tiny_hub() as hub, host_with_a_phone(tmp_path, hub) as host:
        phone = await hub.free_phone()
        before = len(hub.said)
        hub.give(hub.job(LONG))
        await hub.until(lambda: any(said.doing == "hold" for said in hub.said[before:]))
        await hub.until(lambda: spooled_bytes(tmp_path / "spool") > 1000)
        os.kill(phone.pid, signal.SIGKILL)
        after = len(hub.said)
        again = await hub.free_phone(after)
        assert again.pid != phone.pid
        await host.sweep()
        await hub.until(lambda: hub.records)
        (record,) = hub.records.values()
        assert (record["cut_short"], record["outcome"], record["attempt"]) == (True, "harness_error", 1)
        # what had been measured until then came along
        assert record["sample_count"] > 10
        assert any(name == "telemetry" for _, name in hub.files)
        assert host.phones[0].starts == 2


@pytest.mark.thorough
async def test_a_trial_outlives_its_hub(bench: Bench, tmp_path: Path) -> None:
    async with tiny_hub() as hub, host_with_a_phone(tmp_path, hub):
        await hub.free_phone()
        before = len(hub.said)
        hub.give(hub.job(LONG))
        await hub.until(lambda: any(said.doing == "hold" for said in hub.said[before:]))
        await hub.stop()
        with ResultStore.open(tmp_path / "spool") as store:
            # it ends without a hub, and the record stays for now
            await hub.until(lambda: store.trials(state="done"))
            (record,) = undelivered(store)
            assert record.outcome == "loaded"
        away = len(hub.said)
        await hub.start()
        await hub.until(lambda: hub.records)
        assert hub.records[record.trial_id]["cut_short"] is False
        await hub.free_phone(away)
        states = [said.job for said in hub.said[away:]]
        # a hub that is back must not hear of a free phone before it has the record
        assert not hub.said[away:] or states.index(None) == len([job for job in states if job is not None])
        assert (await hub.report(hub.job(QUICK))).end is wire.JobEnd.DELIVERED


@pytest.mark.thorough
async def test_a_process_that_froze_goes_on_and_delivers(bench: Bench, tmp_path: Path) -> None:
    async with tiny_hub() as hub, host_with_a_phone(tmp_path, hub):
        phone = await hub.free_phone()
        before = len(hub.said)
        hub.give(hub.job(LONG))
        await hub.until(lambda: any(said.doing == "hold" for said in hub.said[before:]))
        os.kill(phone.pid, signal.SIGSTOP)
        # the hub gives it up: Dask cuts its connection after 10 s without a word
        await hub.until(lambda: not hub.workers)
        frozen = len(hub.said)
        os.kill(phone.pid, signal.SIGCONT)
        await hub.until(lambda: hub.records)
        (record,) = hub.records.values()
        assert (record["attempt"], record["ordinal"]) == (1, 1)
        thawed = await hub.free_phone(frozen)
        assert thawed.pid == phone.pid
        assert thawed.worker != phone.worker
        assert (await hub.report(hub.job(QUICK, 2))).end is wire.JobEnd.DELIVERED


@pytest.mark.thorough
async def test_a_process_that_stays_frozen_is_replaced(bench: Bench, tmp_path: Path) -> None:
    told: list[str] = []
    async with tiny_hub() as hub, host_with_a_phone(tmp_path, hub, told, stall_limit_s=15.0):
        phone = await hub.free_phone()
        os.kill(phone.pid, signal.SIGSTOP)
        frozen = len(hub.said)
        again = await hub.free_phone(frozen)
        assert again.pid != phone.pid
        assert any("no sign of life" in line for line in told)


async def test_ending_a_host_keeps_and_delivers_what_was_cut_short(bench: Bench, tmp_path: Path) -> None:
    async with tiny_hub() as hub:
        async with host_with_a_phone(tmp_path, hub):
            await hub.free_phone()
            before = len(hub.said)
            hub.give(hub.job(LONG))
            await hub.until(lambda: any(said.doing == "hold" for said in hub.said[before:]))
        (record,) = hub.records.values()
        assert record["cut_short"] is True


async def test_doctor_examines_a_phone_and_what_cannot_be_run_is_refused(bench: Bench, tmp_path: Path) -> None:
    async with tiny_hub() as hub, host_with_a_phone(tmp_path, hub):
        phone = await hub.free_phone()
        hub.orders = wire.Orders(examine=True)
        await hub.until(lambda: hub.examined)
        (found,) = hub.examined
        assert (found.phone, found.passed) == (phone.phone, True), found.words
        job = hub.job(QUICK)
        strange = job.model_copy(update={"suite_digest": "0" * 12})
        elsewhere = QUICK.replace('synth = "tiny"', 'path = "tiny.task"')
        refused = [await hub.report(one) for one in (strange, hub.job(elsewhere))]
        assert [report.end for report in refused] == [wire.JobEnd.REFUSED] * 2
        assert "did not come with the run" in refused[1].reason
        reports = await asyncio.gather(hub.report(job), hub.report(hub.job(QUICK, 2)))
        assert {report.end for report in reports} == {wire.JobEnd.DELIVERED}
        assert hub.records
