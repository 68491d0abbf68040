"""Nights of trials: from a frame of records to the history of each case. Pure; may know only `core` and `series`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.metrics import METRICS
from harness.analysis.series import CONTEXT, IDENTITY, OS_MAJOR, CaseHistory, CaseKey, Identity, Night, Segment
from harness.core.errors import HarnessError
from harness.core.judgement import NIGHT_STARTS_UTC
from harness.core.outcome import Outcome
from harness.core.record import TrialState

if TYPE_CHECKING:
    import pandas as pd

KEY_COLUMNS = ("device_kind", "device_product_type", "suite", "case")
_STANDING_COLUMNS = ("run_id", "ordinal", "attempt", "cut_short", "state", "arm", "started_at", "outcome")
METRIC_NAMES = tuple(metric.name for metric in METRICS)
COLUMNS = tuple(
    dict.fromkeys(
        [
            *KEY_COLUMNS,
            *_STANDING_COLUMNS,
            "backend_effective",
            *(name for name in IDENTITY if name != OS_MAJOR),
            *CONTEXT,
            *METRIC_NAMES,
        ]
    )
)
"""What a frame needs to have, as `ResultStore.frame` gives it."""
NIGHT = "night"
"""A column that is made: the night of each trial, as a date's ordinal."""
_TOLD_BY_RUNNER = ("engine_version",)
"""Part of the identity that a trial which ended before its app answered does not know: the case's other trials do."""
_UNMEASURED = frozenset(one.value for one in Outcome if not one.is_about_model)


class UnreadableRecords(HarnessError):
    """A record's time or outcome is none that this program knows."""


@dataclass(frozen=True)
class _Coded:
    """Trials as codes: equal codes, equal values."""

    codes: NDArray[np.int64]
    values: list[tuple[Any, ...]]
    """By code."""


def histories(
    trials: pd.DataFrame, *, as_of: date | None = None, night_starts_utc: time = NIGHT_STARTS_UTC
) -> list[CaseHistory]:
    """The histories of all cases, in order of their keys; later nights than `as_of` are as if they had not been.

    Counted are done trials, without warm-ups, replaced attempts and the arms of comparisons. A frame that has NIGHT
    already is not asked for its nights again.
    """
    nights = trials[NIGHT] if NIGHT in trials else nights_of(trials, night_starts_utc)
    frame = trials.loc[:, list(COLUMNS)].assign(**{NIGHT: nights})
    if as_of is not None:
        frame = frame[frame["night"] <= as_of.toordinal()]
    frame = _counted(frame)
    if frame.empty:
        return []
    strange = sorted(set(frame["outcome"]) - {outcome.value for outcome in Outcome})
    if strange:
        raise UnreadableRecords(f"outcomes that this harness does not know: {', '.join(strange)}; use a newer one")
    if not frame["started_at"].is_monotonic_increasing:
        frame = frame.sort_values("started_at", kind="stable")
    frame = frame.copy(deep=False)
    frame[OS_MAJOR] = frame["device_os_version"].str.partition(".")[0]
    return _histories(frame)


def _counted(frame: pd.DataFrame) -> pd.DataFrame:
    from harness.analysis.summary import counted

    done = frame["state"].eq(TrialState.DONE.value) & frame["arm"].isna() & frame["outcome"].notna()
    kept = done.fillna(False).astype(bool)
    return counted(frame if kept.all() else frame[kept])


def nights_of(trials: pd.DataFrame, starts: time) -> pd.Series[int]:
    """The night of each trial, as a date's ordinal: that of the first trial of its run."""
    import pandas as pd

    first_of_run = trials.groupby("run_id", sort=False)["started_at"].min()
    try:
        moments = pd.to_datetime(first_of_run, format="ISO8601", utc=True)
    except (ValueError, TypeError) as error:
        raise UnreadableRecords(f"started_at of a trial cannot be read: {error}; another program wrote it") from error
    offset = timedelta(hours=starts.hour, minutes=starts.minute)
    ordinals = {run: (moment - offset).date().toordinal() for run, moment in moments.items()}
    return trials["run_id"].map(ordinals).astype("int64")


def _histories(frame: pd.DataFrame) -> list[CaseHistory]:
    cases = _code(frame, KEY_COLUMNS)
    _fill_in_what_the_runner_tells(frame, cases.codes)
    identities, contexts = _code(frame, tuple(IDENTITY)), _code(frame, tuple(CONTEXT))
    frame = frame.assign(case_code=cases.codes, identity_code=identities.codes, context_code=contexts.codes)
    where = ["case_code", "identity_code", "night"]
    rows = _Rows(frame, where, contexts.values)
    # trials that say nothing about the model are a night without figures of the segment that there is, none of its own
    of_case: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for case_code, identity_code, night in sorted(rows.places):
        of_case[case_code][identity_code].append(night)
    suite_nights = _suite_nights(cases, of_case)
    found = []
    for case_code, of_identity in of_case.items():
        key = CaseKey(*cases.values[case_code])
        segments = [rows.segment(identities, case_code, code, nights) for code, nights in of_identity.items()]
        segments.sort(key=lambda segment: segment.first)
        nights = suite_nights[cases.values[case_code][:3]]
        found.append(CaseHistory(key, tuple(segments), tuple(map(date.fromordinal, nights))))
    return sorted(found, key=lambda history: history.key)


def _suite_nights(cases: _Coded, of_case: Mapping[int, Mapping[int, list[int]]]) -> dict[tuple[Any, ...], list[int]]:
    nights: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for case_code, of_identity in of_case.items():
        nights[cases.values[case_code][:3]].update(*of_identity.values())
    return {suite: sorted(those) for suite, those in nights.items()}


def _fill_in_what_the_runner_tells(frame: pd.DataFrame, case_codes: NDArray[np.int64]) -> None:
    for name in _TOLD_BY_RUNNER:
        of_case = frame[name].groupby(case_codes)
        known = of_case.ffill()
        frame[name] = known.fillna(known.groupby(case_codes).bfill())


def _code(frame: pd.DataFrame, columns: Iterable[str]) -> _Coded:
    """Codes of the rows by several columns; missing is a value of its own, None."""
    import pandas as pd

    codes = np.zeros(len(frame), dtype=np.int64)
    names = list(columns)
    for name in names:
        of_column, values = pd.factorize(frame[name], use_na_sentinel=True)
        # coded anew after each column, so that the product of all never grows beyond 64 bits
        codes = pd.factorize(codes * (len(values) + 1) + of_column + 1)[0].astype(np.int64)
    firsts = np.unique(codes, return_index=True)[1]
    rows = frame[names].iloc[firsts].astype(object)
    table = rows.where(rows.notna(), None)
    return _Coded(codes, [tuple(row) for row in table.itertuples(index=False, name=None)])


class _Rows:
    """What the frame says of each case, identity and night."""

    def __init__(self, frame: pd.DataFrame, where: list[str], contexts: list[tuple[Any, ...]]) -> None:
        self._contexts = contexts
        self._told: dict[tuple[int, ...], Mapping[str, tuple[str, ...]]] = {}
        self._outcomes = _counts(frame, where, "outcome")
        result = frame[~frame["outcome"].isin(_UNMEASURED)]
        self._backends = _counts(result, where, "backend_effective")
        self._of_night: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for *place, code in frame[[*where, "context_code"]].drop_duplicates().itertuples(index=False, name=None):
            self._of_night[place[0], place[1], place[2]].append(code)
        loaded = frame[frame["outcome"].eq(Outcome.LOADED.value)]
        figures = loaded.loc[:, list(METRIC_NAMES)].astype("Float64").astype("float64")
        grouped = figures.groupby([loaded[name] for name in where], sort=False)
        self._medians = dict(_by_place(grouped.median()))
        self._lower = dict(_by_place(grouped.quantile(0.25)))
        self._upper = dict(_by_place(grouped.quantile(0.75)))
        self._counts = dict(_by_place(grouped.count()))

    @property
    def places(self) -> list[tuple[int, int, int]]:
        return list(self._outcomes)

    def segment(self, identities: _Coded, case_code: int, identity_code: int, nights: list[int]) -> Segment:
        places = [(case_code, identity_code, night) for night in nights]
        none = (0,) * len(METRIC_NAMES)
        medians, lower, upper = (_table(places, told) for told in (self._medians, self._lower, self._upper))
        quartiles = np.stack([lower, upper], axis=-1)
        counts = np.array([self._counts.get(place, none) for place in places], dtype=np.int64)
        identity: Identity = identities.values[identity_code]
        return Segment(
            identity,
            tuple(self._night(place) for place in places),
            {name: medians[:, column] for column, name in enumerate(METRIC_NAMES)},
            {name: quartiles[:, column] for column, name in enumerate(METRIC_NAMES)},
            {name: counts[:, column] for column, name in enumerate(METRIC_NAMES)},
        )

    def _night(self, place: tuple[int, int, int]) -> Night:
        outcomes = self._outcomes[place]
        ran = sum(outcomes.values())
        context = self._context(tuple(self._of_night[place]))
        return Night(date.fromordinal(place[2]), ran, outcomes, self._backends.get(place, {}), context)

    def _context(self, codes: tuple[int, ...]) -> Mapping[str, tuple[str, ...]]:
        """The same for most nights, hence kept."""
        if codes not in self._told:
            rows = [self._contexts[code] for code in codes]
            self._told[codes] = {
                name: tuple(dict.fromkeys(str(row[column]) for row in rows if row[column] is not None))
                for column, name in enumerate(CONTEXT)
            }
        return self._told[codes]


def _counts(frame: pd.DataFrame, where: list[str], column: str) -> dict[tuple[int, int, int], dict[str, int]]:
    """Place → value → count."""
    counts: dict[tuple[int, int, int], dict[str, int]] = defaultdict(dict)
    sizes = frame.groupby([*where, column], sort=False).size().reset_index(name="count")
    for case, identity, night, value, count in sizes.itertuples(index=False, name=None):
        counts[case, identity, night][str(value)] = int(count)
    return dict(counts)


def _table(
    places: list[tuple[int, int, int]], told: Mapping[tuple[int, int, int], tuple[float, ...]]
) -> NDArray[np.float64]:
    """`[place, metric]`; NaN: no trial of that place has loaded."""
    nothing = (float("nan"),) * len(METRIC_NAMES)
    return np.array([told.get(place, nothing) for place in places], dtype=np.float64)


def _by_place(table: pd.DataFrame) -> Iterable[tuple[tuple[int, int, int], tuple[float, ...]]]:
    return zip(map(tuple, table.index), table.itertuples(index=False, name=None), strict=True)
