"""Which trials are behind each night of each case, and how their ids are shown. For all series at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.nightly import KEY_COLUMNS
from harness.analysis.series import IDENTITY, OS_MAJOR, CaseHistory, CaseKey, Segment
from harness.analysis.summary import counted
from harness.core.record import DEMO_ORIGIN, TrialState

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from harness.report.site.data import SiteData

ID_CHARS = 15
"""Date and time of an id, which `harness explain` takes as well as the whole, where no other trial has the same."""
_TOLD_BY_RUNNER = "engine_version"
"""Of a trial that ended before its app answered, nobody knows it: it is of the segment that the others are of."""


@dataclass(frozen=True)
class NightTrials:
    """The trials that count, in order of their beginnings, and where among them those of each night are."""

    frame: pd.DataFrame
    shown: list[str]
    """Of each trial: its id, or as much of it as tells it from all others."""
    ids: list[str]
    places: Mapping[CaseKey, Mapping[int, NDArray[np.intp]]]
    """Case → night as an ordinal → places in the frame."""
    demo: frozenset[CaseKey]
    """Cases of which some trial was made by seed."""

    @classmethod
    def of(cls, data: SiteData) -> NightTrials:
        """Reads nothing; all trials of the site at once."""
        trials = data.trials
        nights: NDArray[np.int64] = _nights(trials, data.options.night_starts_utc)
        counts = trials["state"].eq(TrialState.DONE.value) & trials["arm"].isna() & trials["outcome"].notna()
        kept = counts.fillna(False).to_numpy(dtype=bool)
        if data.as_of is not None:
            kept &= nights <= data.as_of.toordinal()
        frame = trials.assign(night=nights).loc[kept]
        frame = counted(frame).reset_index(drop=True)
        codes = np.asarray(frame.groupby(list(KEY_COLUMNS), sort=False, dropna=False).ngroup(), dtype=np.int64)
        keys = _keys(frame, codes)
        of_demo = frame["origin"].fillna("").astype(str).str.startswith(DEMO_ORIGIN).to_numpy(dtype=bool)
        return cls(
            frame,
            _shown(frame["trial_id"], trials["trial_id"]),
            frame["trial_id"].tolist(),
            _places(codes, np.asarray(frame["night"], dtype=np.int64), keys),
            frozenset(keys[code] for code in np.unique(codes[of_demo]).tolist()),
        )

    def of_segment(self, history: CaseHistory, segment: Segment) -> dict[int, list[int]]:
        """Night as an ordinal → places of the segment's trials."""
        of_case = self.places.get(history.key, {})
        others = [one.dates for one in history.segments if one is not segment]
        shared = [night for night in segment.dates if any(night in dates for dates in others)]
        found = {night.toordinal(): of_case.get(night.toordinal(), _NONE) for night in segment.dates}
        if shared:
            is_of = self._is_of(segment, np.concatenate([found[night.toordinal()] for night in shared]))
            for night in shared:
                places = found[night.toordinal()]
                found[night.toordinal()] = places[np.isin(places, is_of)]
        return {night: places.tolist() for night, places in found.items()}

    def _is_of(self, segment: Segment, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of the places whose trials have the segment's identity."""
        rows = self.frame.iloc[places]
        fits = np.ones(len(places), dtype=bool)
        for name, wanted in zip(IDENTITY, segment.identity, strict=True):
            column = rows["device_os_version"].str.partition(".")[0] if name == OS_MAJOR else rows[name]
            missing = column.isna().to_numpy()
            same = missing if wanted is None else _equal(column, wanted) & ~missing
            fits &= (same | missing) if name == _TOLD_BY_RUNNER else same
        return places[fits]


_NONE: NDArray[np.intp] = np.empty(0, dtype=np.intp)


def _equal(column: pd.Series[Any], wanted: object) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = column.eq(wanted).fillna(False).to_numpy(dtype=bool)  # type: ignore[arg-type]  # a cell
    return same


def _nights(trials: pd.DataFrame, starts: time) -> NDArray[np.int64]:
    """The night of each trial as an ordinal: that of the first trial of its run, as `analysis.nightly` has it."""
    import pandas as pd

    first_of_run = trials.groupby("run_id", sort=False)["started_at"].min()
    moments = pd.to_datetime(first_of_run, format="ISO8601", utc=True)
    moments -= timedelta(hours=starts.hour, minutes=starts.minute)
    ordinals = {run: moment.date().toordinal() for run, moment in moments.items()}
    return np.asarray(trials["run_id"].map(ordinals), dtype=np.int64)


def _keys(frame: pd.DataFrame, codes: NDArray[np.int64]) -> list[CaseKey]:
    """By code."""
    firsts = np.unique(codes, return_index=True)[1].tolist()
    rows = frame[list(KEY_COLUMNS)].iloc[firsts]
    return [CaseKey(*map(str, row)) for row in rows.itertuples(index=False, name=None)]


def _places(
    codes: NDArray[np.int64], nights: NDArray[np.int64], keys: list[CaseKey]
) -> dict[CaseKey, dict[int, NDArray[np.intp]]]:
    order = np.lexsort((nights, codes))
    if not order.size:
        return {}
    codes, nights = codes[order], nights[order]
    firsts = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(nights) != 0)])
    found: dict[CaseKey, dict[int, NDArray[np.intp]]] = {key: {} for key in keys}
    for code, night, places in zip(
        codes[firsts].tolist(), nights[firsts].tolist(), np.split(order, firsts[1:]), strict=True
    ):
        found[keys[code]][night] = places
    return found


def _shown(ids: pd.Series[str], all_ids: pd.Series[str]) -> list[str]:
    begins = ids.str.slice(0, ID_CHARS)
    clear = ~begins.isin(_twice(all_ids.str.slice(0, ID_CHARS)))
    return begins.where(clear, ids).tolist()


def _twice(texts: pd.Series[str]) -> set[str]:
    return set(texts[texts.duplicated()])
