"""Verdicts beside the segments that they are about, and which of them are of last night. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import groupby

import numpy as np

from harness.analysis.outcome_series import nights_of
from harness.analysis.series import OUTCOME, CaseHistory, CaseKey, Segment, identity_differences, nights_between
from harness.analysis.verdict import Verdict, VerdictOptions
from harness.report.site.data import SiteData

SuiteClass = tuple[str, str, str]
"""Kind of phone, device class, suite."""


def suite_class(key: CaseKey) -> SuiteClass:
    return key.device_kind, key.device_product_type, key.suite


def last_night(data: SiteData) -> date | None:
    """The night that the page is about: the one that was asked for, else the newest."""
    return data.as_of or data.tonight


@dataclass(frozen=True)
class Judged:
    """All verdicts on one segment of a case."""

    history: CaseHistory
    segment: Segment
    label: str
    """What tells it from segments beside it; empty when there is one."""
    verdicts: tuple[Verdict, ...]
    """Worst first; never empty."""

    @property
    def key(self) -> CaseKey:
        return self.history.key

    @property
    def night(self) -> date:
        return self.verdicts[0].night

    @cached_property
    def outcome(self) -> Verdict | None:
        return next((one for one in self.verdicts if one.series.metric == OUTCOME), None)

    def has_figure(self, metric: str) -> bool:
        """Whether the night of the verdicts has one; of outcomes, whether it says anything about the model."""
        return self._last_figure(metric) == self.night

    def silent_since(self, metric: str) -> date:
        """The first night of the suite that should have had the figure, and since which none has."""
        last = self._last_figure(metric)
        if last is None:
            return self.segment.first
        return next((night for night in self.history.suite_nights if night > last), self.night)

    def _last_figure(self, metric: str) -> date | None:
        if metric == OUTCOME:
            told = nights_of(self.segment.nights)
            return told[-1].night if told else None
        values = self.segment.values[metric]
        known = np.flatnonzero(~np.isnan(values))
        return self.segment.nights[int(known[-1])].night if known.size else None


def judged(data: SiteData) -> Iterator[Judged]:
    """Of every case and segment that has a verdict, in order of keys."""
    ones = sorted(data.verdicts, key=lambda one: (one.series.of_case, one.segment))
    for (key, label), group in groupby(ones, key=lambda one: (one.series.of_case, one.segment)):
        verdicts = sorted(group, key=lambda one: one.rank)
        history = data.history_of[key]
        yield Judged(history, _segment(history, label, verdicts[0].night, data.options), label, tuple(verdicts))


def _segment(history: CaseHistory, label: str, night: date, options: VerdictOptions) -> Segment:
    """The one of that label among those that are judged."""
    every = history.current()
    lately = [one for one in every if sum(one.last < n <= night for n in history.suite_nights) < options.retired_nights]
    for ones in (lately, every):
        for one in ones:
            if identity_differences(one.identity, [other.identity for other in ones]) == label:
                return one
    return max(every, key=lambda one: one.last)


@dataclass(frozen=True)
class Calendar:
    """Which suites ran on which device classes, and when last."""

    night: date
    as_of: bool
    """The night was asked for: verdicts are of that night, whether or not anything ran in it."""
    nights: dict[SuiteClass, tuple[date, ...]]

    @classmethod
    def of(cls, data: SiteData, night: date) -> Calendar:
        return cls(night, data.as_of is not None, {suite_class(one.key): one.suite_nights for one in data.histories})

    def is_news(self, where: SuiteClass, night: date) -> bool:
        """Whether what was told on `night` is of last night; of a suite that runs at other hours: of the night before.

        The page of a suite that ran in the small hours must not call its changes old because another one began at noon.
        """
        if night == self.night:
            return True
        return (
            not self.as_of
            and night == self.nights[where][-1]
            and self.night - night <= timedelta(days=1)
            and not self._ran_elsewhere(where)
        )

    def stood_still(self, where: SuiteClass) -> bool:
        """Whether the whole suite did not run on that device class last night."""
        return self.nights[where][-1] < self.night

    def is_missed(self, where: SuiteClass, retired_nights: int) -> bool:
        """Whether it ought to have run: it did on other classes, or nothing ran at all. Not for ever."""
        idle = nights_between(self.nights[where][-1], self.night)
        everything = all(self.stood_still(one) for one in self.nights)
        return self.stood_still(where) and idle < retired_nights and (everything or self._ran_elsewhere(where))

    def missed_since(self, where: SuiteClass) -> date:
        """The first night on which the suite ran on other classes only; without any: last night."""
        last = self.nights[where][-1]
        elsewhere = [night for one in self._others(where) for night in self.nights[one] if last < night <= self.night]
        return min(elsewhere, default=last + timedelta(days=1))

    def _ran_elsewhere(self, where: SuiteClass) -> bool:
        return any(not self.stood_still(one) for one in self._others(where))

    def _others(self, where: SuiteClass) -> list[SuiteClass]:
        return [one for one in self.nights if one != where and (one[0], one[2]) == (where[0], where[2])]
