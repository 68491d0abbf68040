"""The peers' detectors, run by the interpreter of an environment of their own: nothing of the harness is there.

    python peer_detectors.py DETECTOR SERIES.npz PLACES.npz

Reads one array of series per scenario, `first:` + its name holding the first night to ask about; writes their places
and, as `seconds`, processor seconds per 1000 series of 100 nights.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


def otava(max_pvalue: float, min_magnitude: float) -> Callable[[Any], list[int]]:
    """Otava's recipe with the two numbers that its users set."""
    from otava.analysis import compute_change_points  # type: ignore[import-not-found]  # lives in the peer's environment

    def detect(values: Any) -> list[int]:
        # it fails on an array
        found, _ = compute_change_points(
            values.tolist(), window_len=50, max_pvalue=max_pvalue, min_magnitude=min_magnitude
        )
        return [int(one.index) for one in found]

    return detect


def asv(threshold: float) -> Callable[[Any], list[int]]:
    """asv's steps, and of them those it would publish as regressions."""
    from asv.step_detect import detect_regressions, detect_steps  # type: ignore[import-not-found]  # lives in the peer's environment

    def detect(values: Any) -> list[int]:
        _, _, positions = detect_regressions(detect_steps(values.tolist()), threshold=threshold)
        return [int(position[1]) for position in positions or []]

    return detect


def scaled(values: Any) -> Any:
    """By the noise of neighbours, as ours does."""
    differences = np.diff(values)
    spread = np.median(np.abs(differences - np.median(differences)))
    return values / (1.4826 * spread / math.sqrt(2))


def ruptures_l2(min_shift: float) -> Callable[[Any], list[int]]:
    """PELT with squared errors, penalty 3 ln n."""
    import ruptures  # type: ignore[import-not-found]  # lives in the peer's environment

    def detect(values: Any) -> list[int]:
        algorithm = ruptures.KernelCPD(kernel="linear", min_size=3).fit(scaled(values)[:, None])
        bounds = [0, *algorithm.predict(pen=3 * math.log(len(values)))]
        medians = [np.median(values[start:end]) for start, end in pairwise(bounds)]
        levels = zip(bounds[1:-1], pairwise(medians), strict=True)
        return [int(bound) for bound, (before, after) in levels if abs(after / before - 1) >= min_shift]

    return detect


def ruptures_rbf() -> Callable[[Any], list[int]]:
    """The foreign oracle: the same kernel, gamma and penalty as ours."""
    import ruptures

    def detect(values: Any) -> list[int]:
        algorithm = ruptures.KernelCPD(kernel="rbf", params={"gamma": 0.25}, min_size=3).fit(scaled(values)[:, None])
        return [int(bound) for bound in algorithm.predict(pen=4.0)[:-1]]

    return detect


DETECTORS: dict[str, Callable[[], Callable[[Any], list[int]]]] = {
    "otava": lambda: otava(0.001, 0.0),
    "otava-strict": lambda: otava(1e-5, 0.02),
    "asv": lambda: asv(0.05),
    "ruptures-l2": lambda: ruptures_l2(0.02),
    "ruptures-rbf": ruptures_rbf,
}


def main(name: str, source: str, target: str) -> None:
    """Walks one detector through every scenario of the file."""
    place = Path(__file__).with_name("walk.py")
    spec = importlib.util.spec_from_file_location("walk", place)
    assert spec is not None
    assert spec.loader is not None
    walker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(walker)
    detector = DETECTORS[name]()
    given = np.load(source)
    names = [one for one in given.files if not one.startswith("first:")]
    window = walker.PEER_WINDOW
    told = {one: walker.walk(detector, given[one], int(given["first:" + one]), window) for one in names}
    timed = given[names[0]][:100, :100]
    np.savez(target, seconds=walker.seconds_per_thousand(detector, timed), **told)


if __name__ == "__main__":
    main(*sys.argv[1:])
