"""The trials that a site is about, with their nights, and where among them those of each case's nights are. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.nightly import KEY_COLUMNS, NIGHT
from harness.analysis.series import CaseKey

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class KnownTrials:
    """The trials up to the night as of which the site is, in order of their beginnings."""

    all: pd.DataFrame
    """SITE_COLUMNS and NIGHT."""
    in_series: pd.DataFrame
    """Those of them that count: no arms of comparisons, no warm-ups, no attempts that were run again. Rows from 0."""
    places: Mapping[CaseKey, Mapping[int, NDArray[np.intp]]]
    """Case → night as an ordinal → places in `in_series`."""

    @classmethod
    def of(cls, trials: pd.DataFrame, as_of: date | None) -> KnownTrials:
        """Of done trials with NIGHT, in order of their beginnings."""
        from harness.analysis.summary import counted

        kept = trials["outcome"].notna().to_numpy(dtype=bool)
        if as_of is not None:
            kept = kept & (trials[NIGHT].to_numpy(dtype=np.int64) <= as_of.toordinal())
        known = trials if kept.all() else trials.loc[kept]
        in_series = counted(known[known["arm"].isna()]).reset_index(drop=True)
        return cls(known, in_series, _places(in_series))


def _places(frame: pd.DataFrame) -> dict[CaseKey, dict[int, NDArray[np.intp]]]:
    if frame.empty:
        return {}
    codes = np.asarray(frame.groupby(list(KEY_COLUMNS), sort=False, dropna=False).ngroup(), dtype=np.int64)
    firsts = np.unique(codes, return_index=True)[1]
    rows = frame[list(KEY_COLUMNS)].iloc[firsts]
    keys = [CaseKey(*map(str, row)) for row in rows.itertuples(index=False, name=None)]
    nights = np.asarray(frame[NIGHT], dtype=np.int64)
    order = np.lexsort((nights, codes))
    codes, nights = codes[order], nights[order]
    begins = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(nights) != 0)])
    found: dict[CaseKey, dict[int, NDArray[np.intp]]] = {key: {} for key in keys}
    parts = zip(codes[begins].tolist(), nights[begins].tolist(), np.split(order, begins[1:]), strict=True)
    for code, night, places in parts:
        found[keys[code]][night] = places
    return found
