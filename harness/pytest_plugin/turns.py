"""Which worker of pytest-xdist runs which item: a phone's items stay with the worker that has the phone.

xdist's own `loadgroup` gives each group of items to one worker. Here a group may have several *seats*: as many workers
take its items as there are phones, each whenever it has nearly done its last one. A worker for which there is no seat
gets the items that need no phone, and nothing when there are none.

Knows nothing of phones, and of xdist only what it asks of a scheduler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import pytest

# A worker begins an item only when it knows the next one, or that there is none.
AHEAD = 2

Item = tuple[str, str | None]
"""Its id, and its group."""


class Gateway(Protocol):
    """The connection to a worker's process."""

    @property
    def id(self) -> str: ...


class Worker(Protocol):
    """What is asked of xdist's worker."""

    @property
    def gateway(self) -> Gateway: ...

    @property
    def shutting_down(self) -> bool: ...

    def send_runtest_some(self, indices: Sequence[int]) -> None: ...

    def shutdown(self) -> None: ...


class PhoneTurns:
    """A scheduler as xdist wants it.

    `seats`: how many workers may have a group's items at once; one where nothing is said. `groups_of`: by a worker's
    name the group of each of its items, None for those that anyone may run.
    """

    def __init__(
        self,
        config: pytest.Config,
        seats: Mapping[str, int],
        workers: int,
        groups_of: Callable[[str], Sequence[str | None]],
    ) -> None:
        self.config = config
        self._seats = seats
        self._workers = workers
        self._groups_of = groups_of
        self._collections: dict[Worker, list[Item]] = {}
        self._pending: dict[Worker, list[int]] = {}
        self._group: dict[Worker, str] = {}
        """Of the phone that a worker has, also while it does other work."""
        self._items: list[Item] | None = None
        self._left: dict[str | None, deque[int]] = {}

    @property
    def nodes(self) -> list[Worker]:
        """The workers there are."""
        return list(self._pending)

    @property
    def collection_is_completed(self) -> bool:
        """Once true it stays so, whatever workers end later."""
        return self._items is not None or len(self._collections) >= self._workers

    @property
    def tests_finished(self) -> bool:
        """Nothing is left to give; whoever has one item runs it when told that it is the last."""
        return self.collection_is_completed and not self._left and all(len(one) < AHEAD for one in self._of_all())

    @property
    def has_pending(self) -> bool:
        return bool(self._left) or any(self._of_all())

    def add_node(self, node: Worker) -> None:
        self._pending[node] = []

    def add_node_collection(self, node: Worker, collection: Sequence[str]) -> None:
        self._collections[node] = list(zip(collection, self._groups_of(node.gateway.id), strict=True))

    def schedule(self) -> None:
        """The first time when all have collected; then for each worker that takes the place of one that died."""
        if self._items is None:
            items = next(iter(self._collections.values()))
            for node in self._collections:
                if not self._agrees(node, items):
                    self._items = []
                    return
            self._items = items
            for index, (_nodeid, group) in enumerate(items):
                self._left.setdefault(group, deque()).append(index)
        fresh = [node for node in self.nodes if node in self._collections and self._agrees(node, self._items)]
        # one for each first: of as many items as phones, each phone has one
        for ahead in range(1, AHEAD + 1):
            for node in fresh:
                self._feed(node, ahead)

    def mark_test_complete(self, node: Worker, item_index: int, duration: float = 0) -> None:
        self._pending[node].remove(item_index)
        self._feed(node)

    def mark_test_pending(self, item: str) -> None:
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: Worker, indices: Sequence[int]) -> None:
        raise NotImplementedError

    def remove_node(self, node: Worker) -> str | None:
        """The item under way when the worker died; None: it had done all. What it had not begun goes to others."""
        pending = self._pending.pop(node)
        self._group.pop(node, None)
        self._collections.pop(node, None)
        if not pending or self._items is None:
            return None
        died_in, *others = pending
        for index in reversed(others):
            self._left.setdefault(self._items[index][1], deque()).appendleft(index)
        for one in self.nodes:
            self._feed(one)
        return self._items[died_in][0]

    def _of_all(self) -> list[list[int]]:
        return list(self._pending.values())

    def _agrees(self, node: Worker, items: list[Item]) -> bool:
        """Indices mean the same for this worker; the session fails if not."""
        if self._collections[node] == items:
            return True
        words = f"worker {node.gateway.id} has collected other tests than the others, so none can be shared among them"
        report = pytest.CollectReport(nodeid=node.gateway.id, outcome="failed", longrepr=words, result=[])
        self.config.hook.pytest_collectreport(report=report)
        return False

    def _feed(self, node: Worker, ahead: int = AHEAD) -> None:
        """Items until it has `ahead` of them, or word that there will be no more."""
        if node.shutting_down or node not in self._collections:
            return
        while len(self._pending[node]) < ahead:
            index = self._next_of(node)
            if index is None:
                node.shutdown()
                return
            self._pending[node].append(index)
            node.send_runtest_some([index])

    def _next_of(self, node: Worker) -> int | None:
        group = self._group_for(node)
        if group is None:
            return self._take(None) if None in self._left else None
        self._group[node] = group
        return self._take(group)

    def _group_for(self, node: Worker) -> str | None:
        """Its own while anything of that is left, else where most is left for each phone; None: no seat is free."""
        own = self._group.get(node)
        if own is not None and own in self._left:
            return own
        taken = list(self._group.values())
        open_to_it = [one for one in self._left if one is not None and taken.count(one) < self._seats.get(one, 1)]
        return max(open_to_it, key=lambda one: len(self._left[one]) / (taken.count(one) + 1), default=None)

    def _take(self, group: str | None) -> int:
        """The group's next item; a group that is empty is no group any more."""
        index = self._left[group].popleft()
        if not self._left[group]:
            del self._left[group]
        return index
