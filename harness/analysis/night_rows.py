"""What the trials of each case, identity and night say together. Pure; may know only `core` and `series`.

A year of a farm is a hundred thousand trials, of which a report asks every morning: all nights are counted at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.metrics import METRICS
from harness.analysis.series import CONTEXT, Identity, Night, Segment
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    import pandas as pd

METRIC_NAMES = tuple(metric.name for metric in METRICS)
_UNMEASURED = frozenset(one.value for one in Outcome if not one.is_about_model)
_QUARTILES = (0.5, 0.25, 0.75)

Place = tuple[int, int, int]
"""Code of the case, code of the identity, night as a date's ordinal."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class NightRows:
    """Everything by place: `places[number]` is what tuples and rows with that number are about."""

    places: list[Place]
    """In order."""
    _outcomes: list[dict[str, int]]
    _backends: list[dict[str, int]]
    _contexts: list[Mapping[str, tuple[str, ...]]]
    _spread: NDArray[np.float64]
    """`[place, metric, median and quartiles]`; NaN: no trial of that place has loaded."""
    _counts: Ints
    """`[place, metric]`: trials with a figure."""
    _numbers: Mapping[Place, int]

    @classmethod
    def of(cls, frame: pd.DataFrame, where: tuple[Ints, Ints, Ints], contexts: Ints, told: list[Any]) -> NightRows:
        """`where`: case, identity and night of each row; `contexts`: its context as a code, whose values `told` has."""
        places, numbers = np.unique(np.stack(where, axis=1), axis=0, return_inverse=True)
        numbers = numbers.reshape(-1).astype(np.int64)
        outcome = frame["outcome"]
        measured = ~outcome.isin(_UNMEASURED).to_numpy(dtype=bool)
        loaded = outcome.eq(Outcome.LOADED.value).to_numpy(dtype=bool)
        figures = frame.loc[loaded, list(METRIC_NAMES)].to_numpy(dtype=np.float64, na_value=np.nan)
        spread, counts = _spread(figures, numbers[loaded], len(places))
        listed: list[Place] = [(case, identity, night) for case, identity, night in places.tolist()]
        return cls(
            listed,
            _counted(numbers, outcome, len(places)),
            _counted(numbers[measured], frame.loc[measured, "backend_effective"], len(places)),
            _told(numbers, contexts, told, len(places)),
            spread,
            counts,
            {place: number for number, place in enumerate(listed)},
        )

    def segment(self, identity: Identity, case_code: int, identity_code: int, nights: Sequence[int]) -> Segment:
        """Of these nights of a case."""
        numbers = [self._numbers[case_code, identity_code, night] for night in nights]
        spread, counts = self._spread[numbers], self._counts[numbers]
        return Segment(
            identity,
            tuple(map(self._night, numbers)),
            {name: spread[:, column, 0] for column, name in enumerate(METRIC_NAMES)},
            {name: spread[:, column, 1:] for column, name in enumerate(METRIC_NAMES)},
            {name: counts[:, column] for column, name in enumerate(METRIC_NAMES)},
        )

    def _night(self, number: int) -> Night:
        outcomes = self._outcomes[number]
        night = date.fromordinal(self.places[number][2])
        return Night(night, sum(outcomes.values()), outcomes, self._backends[number], self._contexts[number])


def _spread(figures: NDArray[np.float64], numbers: Ints, places: int) -> tuple[NDArray[np.float64], Ints]:
    """Median and quartiles (between two values in proportion) of each place and metric, and how many values there are.

    `figures[row, metric]`, NaN where there is none; `numbers[row]`: its place.
    """
    found = np.full((places, figures.shape[1], len(_QUARTILES)), np.nan)
    counts = np.zeros((places, figures.shape[1]), dtype=np.int64)
    begins = np.searchsorted(np.sort(numbers), np.arange(places))
    for metric, values in enumerate(figures.T):
        # within each place in order, those that are none at its end
        ordered = values[np.lexsort((values, numbers))]
        count = counts[:, metric] = np.bincount(numbers[~np.isnan(values)], minlength=places)
        has = np.flatnonzero(count)
        for column, share in enumerate(_QUARTILES):
            at = share * (count[has] - 1)
            below = np.floor(at).astype(np.int64)
            low = ordered[begins[has] + below]
            high = ordered[begins[has] + np.minimum(below + 1, count[has] - 1)]
            found[has, metric, column] = low + (high - low) * (at - below)
    return found, counts


def _counted(numbers: Ints, values: pd.Series[Any], places: int) -> list[dict[str, int]]:
    """Of each place: value → count, in the order in which they came; missing values are none."""
    import pandas as pd

    found: list[dict[str, int]] = [{} for _ in range(places)]
    codes, names = pd.factorize(values)
    for number, code, count in _pairs(numbers[codes >= 0], codes[codes >= 0].astype(np.int64)):
        found[number][str(names[code])] = count
    return found


def _told(numbers: Ints, contexts: Ints, told: list[Any], places: int) -> list[Mapping[str, tuple[str, ...]]]:
    """Of each place: its contexts, column by column; most nights have one, and the same."""
    codes: list[list[int]] = [[] for _ in range(places)]
    for number, code, _ in _pairs(numbers, contexts):
        codes[number].append(code)
    kept: dict[tuple[int, ...], Mapping[str, tuple[str, ...]]] = {}
    for ones in set(map(tuple, codes)):
        rows = [told[code] for code in ones]
        kept[ones] = {
            name: tuple(dict.fromkeys(str(row[column]) for row in rows if row[column] is not None))
            for column, name in enumerate(CONTEXT)
        }
    return [kept[tuple(ones)] for ones in codes]


def _pairs(numbers: Ints, codes: Ints) -> list[tuple[int, int, int]]:
    """Each pair that there is and how often, in the order in which they came first."""
    if not len(numbers):
        return []
    width = int(codes.max()) + 1
    found, first, count = np.unique(numbers * width + codes, return_index=True, return_counts=True)
    order = np.argsort(first)
    pairs = found[order]
    return list(zip((pairs // width).tolist(), (pairs % width).tolist(), count[order].tolist(), strict=True))
