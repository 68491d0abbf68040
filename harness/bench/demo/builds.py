"""Which build of the app, which engine and which iOS there was on each night. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.bench.demo.events import PlantedEvent
from harness.bench.demo.world import MIDDLE, NEW, OLD, DeviceClass

_NEW_BUILD_SHARE = 0.4
"""Of the nights, that bring a new build of the app."""
_FIRST_BUILD = 4100
# event → the system of the class before it and since
_SYSTEMS: dict[str, tuple[DeviceClass, tuple[str, str], tuple[str, str]]] = {
    "ios-26": (NEW, ("18.5", "22F76"), ("26.0", "23A341")),
    "slow-decode": (MIDDLE, ("18.5", "22F76"), ("18.6", "22G86")),
    "ios-18": (OLD, ("17.7", "21H16"), ("18.5", "22F76")),
}
_ENGINES = ("0.17.0", "0.18.1")


@dataclass(frozen=True)
class AppBuild:
    """A build of the runner app."""

    name: str
    digest: str
    commit: str


@dataclass(frozen=True)
class Builds:
    """By the number of nights before the last one."""

    seed: int
    nights: int
    events: Sequence[PlantedEvent]

    def app(self, ago: int) -> AppBuild:
        number = self._numbers[ago]
        digest = hashlib.sha256(f"demo app {self.seed}/{number}".encode()).hexdigest()
        return AppBuild(f"demo-{_FIRST_BUILD + number}", digest[:12], digest[12:52])

    def engine(self, ago: int) -> str:
        return _ENGINES[self._since("engine", ago)]

    def system(self, device: DeviceClass, ago: int) -> tuple[str, str]:
        """iOS version and build."""
        name, (_, *systems) = next((name, told) for name, told in _SYSTEMS.items() if told[0] is device)
        return systems[self._since(name, ago)]

    def _since(self, name: str, ago: int) -> bool:
        """Whether that had happened; what is not planted has always been so."""
        return all(ago <= one.ago for one in self.events if one.name == name)

    @cached_property
    def _numbers(self) -> dict[int, int]:
        random = np.random.default_rng([self.seed, 2])
        chances = random.uniform(size=self.nights)
        new = {one.ago for one in self.events if one.with_new_app}
        # what mends a case is a new build, too
        new |= {one.until - 1 for one in self.events if one.with_new_app and one.until}
        same = {one.ago for one in self.events if not one.with_new_app} - new
        numbers, number = {}, 0
        for ago in reversed(range(self.nights)):
            number += ago in new or (ago not in same and chances[ago] < _NEW_BUILD_SHARE)
            numbers[ago] = number
        return numbers
