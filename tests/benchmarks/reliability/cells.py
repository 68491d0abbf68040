"""Every fault at every moment of a trial, and the outcomes that are right for it: the matrix as data.

A cell's trial ends as `expected` says, its record is kept, and the next trial on the same phone loads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.core.outcome import Outcome

# Bytes of the model at which a push is met: in its first, a middle and its last chunk; `wide` has 75,605,881.
PUSH_OFFSETS = (1, 40_000_000, 75_000_000)
MOMENTS = ("install", *(f"push:{offset}" for offset in PUSH_OFFSETS), "launch", "load", "generate", "unload", "report")
FOR_GOOD = "seconds=inf"

_LOADED = frozenset({Outcome.LOADED})
_INSTALL = ("install",)
_PUSH = tuple(moment for moment in MOMENTS if moment.startswith("push"))
_WITH_APP = ("launch", "load", "generate", "unload")

# the service that the harness needs soonest after each moment
_NEEDED = {
    "install": "com.apple.mobile.installation_proxy",
    **dict.fromkeys((*_PUSH, *_WITH_APP), "com.apple.mobile.house_arrest"),
    "report": "com.apple.crashreportcopymobile",
}

FAULTS = (
    "unplug:seconds=1",
    f"unplug:{FOR_GOOD}",
    "tunnel-drop",
    "drop-large-packets",
    "slow-link:bandwidth=20MB:latency_ms=10",
    "service-refuses",
    "service-hangs",
    "afc-error",
    "file-truncated",
    "file-corrupted",
    "kill-app",
    "app-silent",
    "app-garbage",
    "reboot",
    "revoke-trust",
    "jetsam-other",
    "sysmontap-silent",
    "sysmontap-slow",
    "clock-jump:offset=3600",
    "clock-jump:offset=-3600",
)

# What a fault makes of a trial at a moment, where that is not what the trial would have been without it.
_SPOILT: dict[str, dict[tuple[str, ...], frozenset[Outcome]]] = {
    f"unplug:{FOR_GOOD}": {
        MOMENTS[:-1]: frozenset({Outcome.LOST}),
        # the phone's word of the signal that ended the app may have come before the cable went
        ("report",): frozenset({Outcome.LOST, Outcome.ABORTED}),
    },
    "service-refuses": {_INSTALL: frozenset({Outcome.INSTALL_FAILED})},
    "service-hangs": {_INSTALL: frozenset({Outcome.INSTALL_FAILED})},
    # refused as one of several writes under way it is done again alone, and this fault refuses only once
    "afc-error": {
        _INSTALL: frozenset({Outcome.PUSH_FAILED}),
        _PUSH: frozenset({Outcome.PUSH_FAILED, Outcome.LOADED}),
    },
    "file-truncated": {(*_INSTALL, *_PUSH): frozenset({Outcome.PUSH_FAILED})},
    "file-corrupted": {(*_INSTALL, *_PUSH): frozenset({Outcome.PUSH_FAILED})},
    # SIGKILL leaves no report: who sent it cannot be proved
    "kill-app": {
        ("launch",): frozenset({Outcome.LAUNCH_FAILED}),
        ("load", "generate", "unload"): frozenset({Outcome.UNKNOWN}),
    },
    # before its greeting nothing is known of the app but that it runs; later its journal tells the rest
    "app-silent": {(*_INSTALL, *_PUSH, "launch"): frozenset({Outcome.HUNG, Outcome.LAUNCH_FAILED})},
    # before `run` was sent a fresh process is as good
    "reboot": {("load", "generate", "unload"): frozenset({Outcome.LOST})},
    # the app's port needs no trust (assumed): what it still says there counts, as does a report that is being read
    "revoke-trust": {
        (*_INSTALL, *_PUSH, "launch"): frozenset({Outcome.NOT_READY}),
        ("load", "generate", "unload"): frozenset({Outcome.NOT_READY, Outcome.LOADED}),
        ("report",): frozenset({Outcome.NOT_READY, Outcome.ABORTED}),
    },
}


@dataclass(frozen=True)
class Cell:
    """One fault at one moment."""

    fault: str
    moment: str

    @property
    def text(self) -> str:
        """As the virtual phone reads it; at `report` the app is aborted first, so that there is one to pull."""
        name = self.fault
        if name.startswith("service-"):
            name += f":service={_NEEDED[self.moment]}"
        text = f"{name}@{self.moment}"
        return f"kill-app:signal=6@load+{text}" if self.moment == "report" else text

    @property
    def model(self) -> str:
        """The recipe of its model: one of many chunks where the push is met, else the smallest."""
        return "wide" if self.moment in _PUSH else "tiny"

    @property
    def expected(self) -> frozenset[Outcome]:
        """The outcomes that are right."""
        for moments, outcomes in _SPOILT.get(self.fault, {}).items():
            if self.moment in moments:
                return outcomes
        return frozenset({Outcome.ABORTED}) if self.moment == "report" else _LOADED


def all_cells() -> Iterator[Cell]:
    """Fault by fault, moment by moment."""
    for fault in FAULTS:
        for moment in MOMENTS:
            yield Cell(fault, moment)
