"""Which trials are behind each night of each case, and how their ids are shown. For all series at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.series import IDENTITY, OS_MAJOR, CaseHistory, CaseKey, Segment
from harness.core.record import DEMO_ORIGIN

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
        known = data.known
        frame = known.in_series
        of_demo = frame["origin"].fillna("").str.startswith(DEMO_ORIGIN).to_numpy(dtype=bool)
        return cls(
            frame,
            _shown(frame["trial_id"], data.trials["trial_id"]),
            frame["trial_id"].tolist(),
            known.places,
            frozenset(
                key for key, of_case in known.places.items() if any(of_demo[one].any() for one in of_case.values())
            ),
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


def _shown(ids: pd.Series[str], all_ids: pd.Series[str]) -> list[str]:
    begins = ids.str.slice(0, ID_CHARS)
    clear = ~begins.isin(_twice(all_ids.str.slice(0, ID_CHARS)))
    return begins.where(clear, ids).tolist()


def _twice(texts: pd.Series[str]) -> set[str]:
    return set(texts[texts.duplicated()])
