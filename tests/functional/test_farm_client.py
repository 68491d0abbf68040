"""A client of a farm against a hub that a test plays: what is sent, what is asked again, and how it ends."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from distributed import Scheduler

from harness.bench.run_options import RunOptions
from harness.bench.suite import load_suite
from harness.cli import exits
from harness.cli.farm_run import exit_code, for_machines
from harness.cli.main import entry
from harness.core.errors import HarnessError, UsageError
from harness.core.standing import GivenUpBy
from harness.farm.address import FarmAddress, parse_address
from harness.farm.client import FarmResult, News, follow, greet, made, results_of, submission_of, submit
from harness.farm.dask_settings import NO_DASHBOARD, set_dask
from harness.farm.link import PREFIX, HubUnreachable, open_link
from harness.farm.wire import (
    Cancel,
    Chunk,
    ChunkAnswer,
    Drain,
    FarmEvent,
    Followed,
    FollowRequest,
    GivenUp,
    GivenUpTrial,
    JobId,
    Nothing,
    Records,
    RecordsRequest,
    RunView,
    Submission,
    Submitted,
    SubmittedRun,
    Wire,
    answer,
    refusal,
)
from harness.farm.wish import Wish
from harness.store.exchange.records import record_to_plain
from tests.simulated_nights import simulated_record

RUN = "20261123-120000-000000-0000abcd"
AT = "2026-11-23T12:00:00.000+00:00"
SUITE = """
name = "small"
[[models]]
name = "mine"
path = "mine.task"
"""

Answering = Callable[[Mapping[str, Any]], Awaitable[Wire]]


@pytest.fixture(autouse=True)
def _short_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that is away on this machine is known to be so at once."""
    monkeypatch.setattr("harness.farm.dask_settings.CONNECT_TIMEOUT_S", 1)


@dataclass
class PlayedHub:
    """Answers as its `says` say; keeps what it was asked."""

    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    says: dict[str, Callable[[Any], Wire]] = field(default_factory=dict)

    def handler(self, operation: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def handle(message: Any = None) -> dict[str, Any]:
            self.asked.append((operation, message))
            try:
                return answer(self.says[operation](message))
            except HarnessError as error:
                return refusal(error)

        return handle

    @asynccontextmanager
    async def open(self, port: int = 0) -> AsyncIterator[FarmAddress]:
        set_dask()
        scheduler = Scheduler(
            host="127.0.0.1", port=port, dashboard=False, dashboard_address=NO_DASHBOARD, protocol="tcp"
        )
        for operation in self.says:
            scheduler.handlers[PREFIX + operation] = self.handler(operation)
        async with scheduler:
            yield parse_address(scheduler.address)


def _run_view(**changes: Any) -> RunView:
    told: dict[str, Any] = {
        "run_id": RUN,
        "suite": "small",
        "target": "virtual:iphone-16-pro",
        "priority": 0,
        "by": "ann@bench",
        "submitted_at": "2026-11-23T12:00:00+00:00",
        "state": "active",
        "total": 2,
        "waiting": 1,
        "running": 1,
        "done": 0,
        "given_up": 0,
    }
    return RunView(**told | changes)


def _event(number: int, text: str = "") -> FarmEvent:
    job = JobId(run_id=RUN, case="tiny/litert_lm/cpu/cold", ordinal=number, attempt=1)
    at = f"2026-11-23T12:00:0{number}+00:00"
    return FarmEvent(number=number, run_id=RUN, at=at, what="ended", job=job, phone="p@h", outcome="loaded", text=text)


_GIVEN_UP = GivenUpTrial(trial="x#1", by=GivenUpBy.REFUSED, reason="why")


def _suite(folder: Path, model: bytes = b"weights") -> Path:
    (folder / "mine.task").write_bytes(model)
    path = folder / "small.toml"
    path.write_text(SUITE)
    return path


def _wish(*words: str, **changes: Any) -> Wish:
    return Wish(words or ("all",), RunOptions(**changes))


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


def test_a_file_is_sent_by_its_digest_from_where_it_ended_before(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000
    path = _suite(tmp_path, data)
    arrived = bytearray(data[:1000])

    def chunk(plain: Any) -> Wire:
        told = Chunk.read(plain)
        assert (told.sha256, told.size_bytes, told.of) == (hashlib.sha256(data).hexdigest(), len(data), "")
        if told.offset == len(arrived):
            arrived.extend(told.data)
        return ChunkAnswer(next_offset=len(arrived))

    def submitted(plain: Any) -> Wire:
        told = Submission.read(plain)
        assert told.base == str(tmp_path.resolve())
        assert [(ref.name, ref.file_name, ref.size_bytes) for ref in told.options.files] == [
            ("mine", "mine.task", len(data))
        ]
        assert told.options.build == "7"
        run = SubmittedRun(run_id=RUN, target="all", trials=1, phones=1, planned_s=None, unknown=1)
        return Submitted(runs=(run,))

    async def send() -> Submitted:
        hub = PlayedHub(says={"chunk": chunk, "submit": submitted})
        submission, uploads = submission_of(load_suite(path), path, _wish(build="7"), _silent)
        async with hub.open() as address, open_link(address, None) as link:
            done = await submit(link, submission, uploads, _silent)
            # a second time there is nothing to be sent but the question
            before = len(hub.asked)
            await submit(link, submission, uploads, _silent)
            assert [operation for operation, _ in hub.asked[before:]] == ["chunk", "submit"]
        return done

    assert asyncio.run(send()).runs[0].run_id == RUN
    assert bytes(arrived) == data


def test_a_hub_that_takes_no_more_of_a_file_is_not_asked_for_ever(tmp_path: Path) -> None:
    path = _suite(tmp_path)

    async def send() -> None:
        hub = PlayedHub(says={"chunk": lambda _plain: ChunkAnswer(next_offset=0)})
        submission, uploads = submission_of(load_suite(path), path, _wish(), _silent)
        async with hub.open() as address, open_link(address, None) as link:
            await submit(link, submission, uploads, _silent)

    with pytest.raises(HarnessError, match="does not take"):
        asyncio.run(send())


def test_files_that_are_not_there_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    path = _suite(tmp_path)
    (tmp_path / "mine.task").unlink()
    with pytest.raises(UsageError, match=r"model mine: there is no file .*mine\.task"):
        submission_of(load_suite(path), path, _wish(), _silent)
    with pytest.raises(UsageError, match=r"there is no file"):
        submission_of(load_suite(path), path, _wish(), _silent, own_paths=True)


def test_on_one_machine_files_are_named_and_not_sent(tmp_path: Path) -> None:
    path = _suite(tmp_path)
    submission, uploads = submission_of(load_suite(path), path, _wish(), _silent, own_paths=True)
    assert uploads == ()
    assert submission.options.files == ()


def test_following_outlives_the_hub_and_tells_each_event_once() -> None:
    told: list[str] = []
    hub = PlayedHub()
    ends = iter([(1, "active"), (2, "active"), (1, "active"), (2, "active"), (3, "done")])
    state = [next(ends)]

    def followed(plain: Any) -> Wire:
        since = FollowRequest.read(plain).since
        last, run_state = state[0]
        events = tuple(_event(number) for number in range(since + 1, last + 1))
        return Followed(runs=(_run_view(state=run_state, done=last),), phones=(), events=events, last=last)

    hub.says["follow"] = followed

    async def go() -> list[News]:
        found: list[News] = []
        away = asyncio.Event()
        async with hub.open() as address:
            port = address.port
            link_opening = open_link(address, None)
            link = await link_opening.__aenter__()

            def tell(line: str) -> None:
                told.append(line)
                away.set()

            news = follow(link, [RUN], tell, poll_s=0.01)
            found.append(await anext(news))
            state[0] = next(ends)
            found.append(await anext(news))
        # the hub is away; when it is back it counts its events anew
        waiting = asyncio.ensure_future(anext(news))
        await away.wait()
        assert not waiting.done()
        state[0] = next(ends)
        async with hub.open(port):
            found.append(await waiting)
            for state[0] in ends:
                found.append(await anext(news))
            with pytest.raises(StopAsyncIteration):
                await anext(news)
            await link_opening.__aexit__(None, None, None)
        return found

    found = asyncio.run(go())
    numbers = [event.job.ordinal for news in found for event in news.events if event.job is not None]
    assert numbers == [1, 2, 3]
    assert found[-1].runs[0].state == "done"
    assert len([line for line in told if "cannot be reached" in line]) == 1
    assert "is back" in told[-1]


def test_a_hub_that_stays_away_is_told_in_the_end() -> None:
    async def go() -> None:
        async with open_link(parse_address("tcp://127.0.0.1:1"), None) as link:
            with pytest.raises(HubUnreachable, match="cannot be reached"):
                await greet(link)
            async for _ in follow(link, [RUN], lambda _line: None, away_limit_s=0.0):
                pass

    with pytest.raises(HubUnreachable):
        asyncio.run(go())


def test_records_come_page_by_page_and_are_checked() -> None:
    first = simulated_record(trial_id="a1", case="x", started_at=AT, run_id=RUN, ordinal=1, cut_short=True, attempt=1)
    second = simulated_record(trial_id="a2", case="x", started_at=AT, run_id=RUN, ordinal=1, attempt=2)
    third = simulated_record(trial_id="a3", case="x", started_at=AT, run_id=RUN, ordinal=0)
    pages = {"": (first, second), "a2": (third,)}
    spoilt: dict[str, Any] = {}

    def records(plain: Any) -> Wire:
        after = RecordsRequest.read(plain).after
        return Records(records=tuple(record_to_plain(one) | spoilt for one in pages[after]), more=after == "")

    async def go() -> Any:
        hub = PlayedHub(says={"records": records, "given_up": lambda _plain: GivenUp(trials=(_GIVEN_UP,))})
        async with hub.open() as address, open_link(address, None) as link:
            return await results_of(link, {RUN: _run_view(state="done")}, lambda _line: None)

    (result,) = asyncio.run(go())
    assert [record.trial_id for record in result.records] == ["a1", "a2", "a3"]
    assert [record.trial_id for record in result.replaced] == ["a1"]
    assert [record.trial_id for record in result.counted] == ["a2"]
    assert result.given_up == (_GIVEN_UP,)
    spoilt["ordinal"] = "many"
    with pytest.raises(HarnessError, match="ordinal"):
        asyncio.run(go())


def test_what_a_person_types_is_refused_with_its_name() -> None:
    with pytest.raises(UsageError, match=r"what '\.\./x'"):
        made(Drain, what="../x")
    with pytest.raises(UsageError, match="run_id ''"):
        made(Cancel, run_id="")
    with pytest.raises(UsageError, match="a hub that"):
        asyncio.run(_refused())


async def _refused() -> None:
    def refuse(_plain: Any) -> Wire:
        raise UsageError("a hub that does not want it")

    async with PlayedHub(says={"hello": refuse}).open() as address, open_link(address, None) as link:
        await greet(link)


def _harness(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["harness", *words])
    with pytest.raises(SystemExit) as end:
        entry()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resume"], "--resume does not go with --farm"),
        (["--results", "x"], "--results does not go with --farm"),
        (["--confirm"], "--confirm does not go with --farm"),
        (["--lease-wait", "3"], "--lease-wait does not go with --farm"),
        (["--phones", "3"], "--phones does not go with --farm"),
        (["--device", "somebody"], "not a device word"),
        (["--certs", "/nowhere"], "no ca.pem, cert.pem, key.pem"),
    ],
)
def test_flags_that_mean_nothing_in_a_farm_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], told: str
) -> None:
    assert _harness(monkeypatch, "run", str(_suite(tmp_path)), "--farm", "tls://nowhere", *words) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--detach"], ["--priority", "3"], ["--certs", "x"], ["--each"], ["--attempts", "2"]])
def test_flags_of_a_farm_are_refused_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: list[str]
) -> None:
    assert _harness(monkeypatch, "run", str(_suite(tmp_path)), "--device", "virtual", *flag) == 2
    assert flag[0] in capsys.readouterr().err


@pytest.mark.parametrize(("by", "code"), [(GivenUpBy.LOST, exits.DEVICE), (GivenUpBy.REFUSED, exits.MODEL_FAILED)])
def test_what_left_a_trial_without_a_result_decides_the_exit_code(by: GivenUpBy, code: int) -> None:
    # whatever its reason says
    given_up = GivenUpTrial(trial="x#1", by=by, reason="attempt 1 on A: too large")
    result = FarmResult(_run_view(state="done"), (), (given_up,))
    assert exit_code(result) == code
    assert for_machines(result, None)["not_run"] == [{"trial": "x#1", "by": by.value, "reason": given_up.reason}]


def test_nothing_is_taken_for_an_answer_of_the_wrong_kind() -> None:
    async def go() -> None:
        hub = PlayedHub(says={"hello": lambda _plain: ChunkAnswer(next_offset=3)})
        async with hub.open() as address, open_link(address, None) as link:
            await link.ask("hello", Nothing(), Nothing)

    with pytest.raises(HarnessError, match="Nothing"):
        asyncio.run(go())


def test_submitted_data_is_json(tmp_path: Path) -> None:
    path = _suite(tmp_path)
    submission, _ = submission_of(load_suite(path), path, _wish("virtual"), _silent)
    assert Submission.read(json.loads(json.dumps(submission.plain()))) == submission
