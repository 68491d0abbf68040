"""Which of a run's waiting trials a free phone takes. Pure: no clock, no phones, only numbers.

The longest first, for what is long and begins late makes the night long. A model that is on the phone is preferred, as
bringing one costs time and a share of a USB root; a new one goes where most work waits for each phone that has it, and
only if the phones that have it would not be done sooner by themselves. A trial so long that it has to begin now goes
before both.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import count

EVEN_SHARE, EVEN_PUSHES = 0.25, 4.0
"""A model whose phones would be done later than the phone's own by this share, and by so many pushes, is brought."""
NEAR_SHARE = 0.2
"""Models of which the waiting work for each phone differs by no more are wanted about as much."""
_NOBODY_S = 1e12


@dataclass(eq=False)
class Waiting:
    """A trial that waits in a queue."""

    case: str
    ordinal: int
    number: int
    model: str
    takes_s: float
    """As far as is known or guessed, with the phone's rest after it."""
    push_s: float = 0.0
    """To a phone that does not have the model."""
    pause_s: float = 0.0
    """Of `takes_s`, the rest."""
    failed_on: set[str] = field(default_factory=set)
    """Phones that spoilt or lost it: another one takes it, if there is another and it is free soon."""
    ticket: int = 0
    """Of its place in the queue; places with another ticket are void."""


_Place = tuple[float, int, int, Waiting]


class _Group:
    """The trials of one model."""

    __slots__ = ("count", "holders", "longest_s", "places", "push_s", "strength", "work_s")

    def __init__(self) -> None:
        self.places: list[_Place] = []
        self.work_s = 0.0
        self.longest_s = 0.0
        self.count = 0
        self.push_s = 0.0
        self.holders = 0
        # a phone that has several models of which trials wait counts as a part for each
        self.strength = 0.0

    def head(self) -> Waiting | None:
        """The longest; void places are dropped."""
        while self.places:
            place = self.places[0]
            if place[3].ticket == place[2]:
                return place[3]
            heapq.heappop(self.places)
        return None


class RunQueue:
    """The waiting trials of one run, and the phones that may take them."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._crew: dict[str, set[str]] = {}
        self._tickets = count(1)
        self.work_s = 0.0
        """Of all that wait."""
        self.running_s = 0.0
        """Of all that were taken and are not told to have ended."""
        self.version = 0
        """Rises when a phone that got nothing may get something now."""

    def __len__(self) -> int:
        return sum(group.count for group in self._groups.values())

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def crew(self) -> AbstractSet[str]:
        """Phones that may take trials, now or when they are free again."""
        return self._crew.keys()

    def copy(self) -> RunQueue:
        """As it is now, to be played through: neither changes the other."""
        other = RunQueue()
        other._crew = {phone: set(models) for phone, models in self._crew.items()}
        other._tickets = count(next(self._tickets))
        other.work_s, other.running_s = self.work_s, self.running_s
        for model, group in self._groups.items():
            copied = other._groups[model] = _Group()
            for length, number, ticket, trial in group.places:
                if trial.ticket == ticket:
                    twin = Waiting(trial.case, trial.ordinal, number, model, trial.takes_s, trial.push_s, trial.pause_s)
                    twin.failed_on, twin.ticket = trial.failed_on, ticket
                    copied.places.append((length, number, ticket, twin))
            heapq.heapify(copied.places)
            copied.work_s, copied.count, copied.push_s = group.work_s, group.count, group.push_s
            copied.longest_s = group.longest_s
            copied.holders, copied.strength = group.holders, group.strength
        return other

    def known(self, phone: str) -> int:
        """How many models a phone of the crew has, as far as the queue was told."""
        return len(self._crew.get(phone, ()))

    def put(self, trial: Waiting) -> None:
        """It waits, or waits with another `takes_s`: call `remove` before that is changed."""
        group = self._groups.get(trial.model)
        if group is None:
            having = [phone for phone, models in self._crew.items() if trial.model in models]
            self._weigh(having, -1)
            group = self._groups[trial.model] = _Group()
            group.holders = len(having)
            self._weigh(having, 1)
        trial.ticket = next(self._tickets)
        heapq.heappush(group.places, (-trial.takes_s, trial.number, trial.ticket, trial))
        group.work_s += trial.takes_s
        group.longest_s = max(group.longest_s, trial.takes_s)
        group.count += 1
        group.push_s = max(group.push_s, trial.push_s)
        self.work_s += trial.takes_s
        self.version += 1

    def remove(self, trial: Waiting) -> None:
        """It waits no more."""
        group = self._groups[trial.model]
        trial.ticket = 0
        group.work_s -= trial.takes_s
        group.count -= 1
        self.work_s -= trial.takes_s
        if not group.count:
            having = [phone for phone, models in self._crew.items() if trial.model in models]
            self._weigh(having, -1)
            del self._groups[trial.model]
            self._weigh(having, 1)
            if not self._groups:
                self.work_s = 0.0
        elif trial.takes_s >= group.longest_s and (head := group.head()) is not None:
            group.longest_s = head.takes_s

    def join(self, phone: str, models: AbstractSet[str]) -> None:
        """The phone may take trials from now on; or its models are others."""
        self.leave(phone)
        self._crew[phone] = set(models)
        for model in models:
            if (group := self._groups.get(model)) is not None:
                group.holders += 1
        self._weigh((phone,), 1)
        self.version += 1

    def gained(self, phone: str, model: str) -> None:
        """A phone of the crew has a model, or will have it soon."""
        models = self._crew.get(phone)
        if models is None or model in models:
            return
        self._weigh((phone,), -1)
        models.add(model)
        if (group := self._groups.get(model)) is not None:
            group.holders += 1
        self._weigh((phone,), 1)

    def leave(self, phone: str) -> None:
        """The phone may take none."""
        if phone not in self._crew:
            return
        self._weigh((phone,), -1)
        for model in self._crew.pop(phone):
            if (group := self._groups.get(model)) is not None:
                group.holders -= 1
                self.version += 1

    def _weigh(self, phones: Iterable[str], sign: int) -> None:
        for phone in phones:
            groups = [group for model in self._crew[phone] if (group := self._groups.get(model)) is not None]
            for group in groups:
                group.strength += sign / len(groups)

    def take(self, phone: str, root_s: float = 0.0, idle_s: float = 0.0) -> Waiting | None:
        """What a phone of the crew takes now: it waits no more. None: nothing that is worth it.

        `root_s`: so long a push to it would wait for others at its USB root; `idle_s`: so long it has got nothing. What
        the phones that have a model should have done by now, and have not, is worth a push.
        """
        models = self._crew.get(phone)
        if models is None or not self._groups:
            return None
        for model in self._wanted(models, root_s, idle_s):
            if (trial := self._first_for(phone, self._groups[model], idle_s)) is not None:
                self.remove(trial)
                self.running_s += trial.takes_s
                self.gained(phone, model)
                return trial
        return None

    def _first_for(self, phone: str, group: _Group, idle_s: float) -> Waiting | None:
        # a phone is out after a few failures, so that few places are ever passed over
        passed: list[_Place] = []
        found = None
        while (trial := group.head()) is not None:
            if phone not in trial.failed_on or idle_s > trial.takes_s or self._crew.keys() <= trial.failed_on:
                found = trial
                break
            passed.append(heapq.heappop(group.places))
        for place in passed:
            heapq.heappush(group.places, place)
        return found

    def _wanted(self, models: set[str], root_s: float, idle_s: float) -> list[str]:
        """The models of which a phone that has these takes a trial, the most wanted first."""
        left_s = (self.work_s + self.running_s / 2) / max(1, len(self._crew))
        urgent: list[tuple[float, str]] = []
        own: list[tuple[float, str]] = []
        new: list[tuple[float, str]] = []
        # the farm's hottest loop: a model of each run, for each trial
        for model, group in self._groups.items():
            longest_s, work_s = group.longest_s, group.work_s
            if model in models:
                own.append((work_s / group.strength if group.strength > 1.0 else work_s, model))
                if longest_s > left_s:
                    urgent.append((longest_s, model))
                continue
            push_s = group.push_s + root_s
            if not group.holders:
                new.append((_NOBODY_S + work_s, model))
                if longest_s + push_s > left_s:
                    urgent.append((longest_s + push_s, model))
                continue
            waits_s = work_s / group.strength if group.strength > 0.1 else work_s * 10
            if waits_s + idle_s > push_s:
                new.append((waits_s, model))
            # those that have it take the longest of it next, after about so long
            soon_s = waits_s / group.count
            if push_s < soon_s and longest_s + soon_s > left_s:
                urgent.append((longest_s + push_s, model))
        own.sort(reverse=True)
        new.sort(reverse=True)
        if len(new) > 1 and not own:
            # of those that are wanted about as much the smallest: others wait for the root meanwhile
            least = _NOBODY_S if new[0][0] >= _NOBODY_S else new[0][0] * (1 - NEAR_SHARE)
            near = [one for one in new if one[0] >= least]
            near.sort(key=lambda one: self._groups[one[1]].push_s)
            new = near + new[len(near) :]
        if own and new and new[0][0] < _NOBODY_S and root_s <= 0.0:
            # its own are well ahead of another: the two are evened out before the end, when many would want a push
            ahead_s = new[0][0] - own[0][0]
            if ahead_s > max(EVEN_PUSHES * self._groups[new[0][1]].push_s, EVEN_SHARE * new[0][0]):
                own, new = new[:1], own + new[1:]
        if urgent:
            urgent.sort(reverse=True)
            return list(dict.fromkeys(model for part in (urgent, own, new) for _, model in part))
        return [model for part in (own, new) for _, model in part]
