"""Items of groups with seats, shared out among workers that end, or die, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pytest_plugin.turns import PhoneTurns

GROUPS = ("shared", "one", "other", None)
SEATS = {"shared": 2, "one": 1}
"""`other` has one, as any group of which nothing is said."""


@dataclass(frozen=True)
class MadeUpGateway:
    id: str


@dataclass(eq=False)
class MadeUpWorker:
    """Behaves as xdist's worker: begins an item only when it knows of the next one or of the end."""

    gateway: MadeUpGateway
    queue: list[int] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def may_begin(self) -> bool:
        return len(self.queue) > 1 or (bool(self.queue) and self.shutting_down)


def turns(config: Any, groups: Sequence[str | None], workers: int) -> PhoneTurns:
    return PhoneTurns(config, SEATS, workers, lambda _worker: groups)


def join(scheduler: PhoneTurns, number: int, items: Sequence[str]) -> MadeUpWorker:
    worker = MadeUpWorker(MadeUpGateway(f"gw{number}"))
    scheduler.add_node(worker)
    scheduler.add_node_collection(worker, items)
    return worker


@given(st.lists(st.sampled_from(GROUPS), max_size=30), st.integers(1, 6), st.data())
def test_each_item_runs_once_and_a_group_has_no_more_workers_than_seats(
    groups: list[str | None], count: int, data: st.DataObject
) -> None:
    items = [f"suite.toml::trial#{number}" for number in range(len(groups))]
    scheduler = turns(None, groups, count)
    workers = [join(scheduler, number, items) for number in range(count)]
    assert scheduler.collection_is_completed
    scheduler.schedule()
    ran: list[int] = []
    phones: dict[MadeUpWorker, str] = {}
    while ready := [worker for worker in workers if worker.may_begin]:
        worker = data.draw(st.sampled_from(ready))
        index = worker.queue.pop(0)
        group = groups[index]
        if group is not None:
            phones[worker] = group
        held = Counter(phones.values())
        assert all(held[name] <= SEATS.get(name, 1) for name in held), held
        ran.append(index)
        if data.draw(st.integers(0, 9)) == 0:
            phones.pop(worker, None)
            workers.remove(worker)
            # it is still told of as busy with that item
            assert scheduler.remove_node(worker) == items[index]
            workers.append(join(scheduler, len(workers) + count, items))
            scheduler.schedule()
        else:
            scheduler.mark_test_complete(worker, index)
        if scheduler.tests_finished:
            for one in workers:
                one.shutdown()
    assert sorted(ran) == list(range(len(items)))
    assert not scheduler.has_pending
    assert scheduler.tests_finished


def test_a_worker_without_a_seat_gets_nothing_and_ends() -> None:
    scheduler = turns(None, ["one"] * 4, 2)
    first, second = (join(scheduler, number, ["a", "b", "c", "d"]) for number in range(2))
    scheduler.schedule()
    assert (first.queue, second.queue) == ([0, 1], [])
    assert (first.shutting_down, second.shutting_down) == (False, True)


def test_as_many_items_as_phones_are_one_for_each() -> None:
    scheduler = turns(None, ["shared", "shared"], 2)
    workers = [join(scheduler, number, ["a", "b"]) for number in range(2)]
    scheduler.schedule()
    assert [worker.queue for worker in workers] == [[0], [1]]
    assert all(worker.may_begin for worker in workers)


class MadeUpConfig:
    """Takes the reports of collection."""

    def __init__(self) -> None:
        self.hook = self
        self.reports: list[pytest.CollectReport] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.reports.append(report)


def test_workers_that_collected_different_tests_share_nothing() -> None:
    config = MadeUpConfig()
    scheduler = turns(config, ["one"], 2)
    workers = [join(scheduler, number, [name]) for number, name in enumerate(("a", "b"))]
    scheduler.schedule()
    (report,) = config.reports
    assert report.failed
    assert "gw1 has collected other tests" in str(report.longrepr)
    assert all(not worker.queue for worker in workers)
    assert scheduler.tests_finished
