"""What a virtual phone tells its apps about itself: thermal state and Low Power Mode, from a file that it rewrites.

On a real phone these come from ``ProcessInfo``. The file, named by ``VIRTUAL_SYSTEM_STATE``, is replaced as a whole:
``{"thermal": 0..3, "low_power": false, "battery_percent": 87}``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

STATE_VARIABLE = "VIRTUAL_SYSTEM_STATE"
MAX_STATE_BYTES = 4096
THERMAL_NAMES = ("nominal", "fair", "serious", "critical")
"""By number, as ``ProcessInfo.ThermalState`` counts them."""


class Change(NamedTuple):
    """A notice to give: its kind (``thermal``, ``low_power``) and its text."""

    kind: str
    text: str


def state_of(system: SystemState | None) -> dict[str, object]:
    """The fields of ``hello`` that may change; null where the phone does not tell."""
    thermal = None if system is None else system.thermal
    return {
        "thermal": None if thermal is None else THERMAL_NAMES[thermal],
        "low_power": None if system is None else system.low_power,
    }


class SystemState:
    """The file's content as last read. ``refresh`` from one thread; the values may be read from any."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises ValueError when it is missing or not of the form above."""
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self.thermal: int | None = None
        self.low_power: bool | None = None
        self._told: tuple[int | None, bool | None] = (None, None)
        try:
            self._read()
        except OSError as error:
            raise ValueError(f"{STATE_VARIABLE}: {error}") from error
        self._told = (self.thermal, self.low_power)

    def refresh(self) -> list[Change]:
        """Read the file if it was replaced, and tell what is different.

        When it cannot be read any more the values are not known any more: None, and no change.
        """
        try:
            self._read()
        except (OSError, ValueError):
            self.thermal = self.low_power = self._stamp = None
            return []
        changes = []
        thermal, low_power = self._told
        if self.thermal is not None and self.thermal != thermal:
            changes.append(Change("thermal", THERMAL_NAMES[self.thermal]))
        if self.low_power != low_power:
            changes.append(Change("low_power", "on" if self.low_power else "off"))
        self._told = (self.thermal, self.low_power)
        return changes

    def _read(self) -> None:
        stat = self._path.stat()
        # the inode too: two replacements may fall into one tick of the file system's clock
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp == self._stamp:
            return
        with self._path.open("rb") as file:
            state = json.loads(file.read(MAX_STATE_BYTES))
        if not isinstance(state, dict):
            raise ValueError(f"{STATE_VARIABLE}: {self._path.name} is no JSON object")
        thermal, low_power = state.get("thermal"), state.get("low_power")
        if type(thermal) is not int or not 0 <= thermal < len(THERMAL_NAMES):
            raise ValueError(f"{STATE_VARIABLE}: thermal must be 0 to {len(THERMAL_NAMES) - 1}, got {thermal!r}")
        if type(low_power) is not bool:
            raise ValueError(f"{STATE_VARIABLE}: low_power must be true or false, got {low_power!r}")
        self.thermal, self.low_power, self._stamp = thermal, low_power, stamp
