"""Nights of trials: from a frame of records to the history of each case. Pure; may know only `core` and `series`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.night_rows import METRIC_NAMES, NightRows
from harness.analysis.series import CONTEXT, IDENTITY, OS_MAJOR, CaseHistory, CaseKey
from harness.core.errors import HarnessError
from harness.core.judgement import NIGHT_STARTS_UTC
from harness.core.outcome import Outcome
from harness.core.record import TrialState

if TYPE_CHECKING:
    import pandas as pd

KEY_COLUMNS = ("device_kind", "device_product_type", "suite", "case")
_STANDING_COLUMNS = ("run_id", "ordinal", "attempt", "cut_short", "state", "arm", "started_at", "outcome")
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
    if moments.isna().any():
        raise UnreadableRecords("started_at of a trial is empty; another program wrote it")
    offset = timedelta(hours=starts.hour, minutes=starts.minute)
    ordinals = {run: (moment - offset).date().toordinal() for run, moment in moments.items()}
    return trials["run_id"].map(ordinals).astype("int64")


def _histories(frame: pd.DataFrame) -> list[CaseHistory]:
    cases = _code(frame, KEY_COLUMNS)
    _fill_in_what_the_runner_tells(frame, cases.codes)
    identities, contexts = _code(frame, tuple(IDENTITY)), _code(frame, tuple(CONTEXT))
    where = (cases.codes, identities.codes, np.asarray(frame[NIGHT], dtype=np.int64))
    rows = NightRows.of(frame, where, contexts.codes, contexts.values)
    # trials that say nothing about the model are a night without figures of the segment that there is, none of its own
    of_case: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for case_code, identity_code, night in rows.places:
        of_case[case_code][identity_code].append(night)
    suite_nights = _suite_nights(cases, of_case)
    found = []
    for case_code, of_identity in of_case.items():
        key = CaseKey(*cases.values[case_code])
        segments = [
            rows.segment(identities.values[code], case_code, code, nights) for code, nights in of_identity.items()
        ]
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
