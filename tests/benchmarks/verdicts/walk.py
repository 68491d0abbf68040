"""Asks a detector every night again, with what was known that night. Knows numpy only: the peers use it, too."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Detector = Callable[[NDArray[np.float64]], list[int]]
"""Nights up to now, oldest first (medians, or `[night, quartile]`) → places of the first nights of new levels."""

NONE = -1
SLOTS = 16
_ROUNDS = 5
_FIRST_NIGHT = 6
"""Fewer nights are no series."""
PEER_WINDOW = 120
"""Nights that a peer is shown; ours looks back as far by itself."""


def walk(
    detector: Detector, series: NDArray[np.float64], first_night: int, window: int | None = None
) -> NDArray[np.int32]:
    """`[series, night, slot]`: what the detector says on each night from `first_night` on; None: it is shown all."""
    count, nights = series.shape[:2]
    places = np.full((count, nights, SLOTS), NONE, dtype=np.int32)
    for place, values in enumerate(series):
        for night in range(max(first_night, _FIRST_NIGHT - 1), nights):
            start = max(0, night + 1 - window) if window else 0
            told = sorted((start + found for found in detector(values[start : night + 1])), reverse=True)[:SLOTS]
            places[place, night, : len(told)] = told
    return places


def seconds_per_thousand(detector: Detector, series: NDArray[np.float64]) -> float:
    """Processor seconds for 1000 series, each judged once: the best of a few rounds, for neighbours cost time, too."""
    rounds = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        for values in series:
            detector(values)
        rounds.append(time.process_time() - began)
    return min(rounds) / len(series) * 1000
