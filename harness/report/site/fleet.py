"""The phones: how they are, when they were last seen, and what failed on them of late. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from harness.core.outcome import Family
from harness.core.phone import PhoneKind
from harness.report.outcome_words import known_outcome
from harness.report.site.entry_trials import RecentTrials, moment_text

if TYPE_CHECKING:
    import pandas as pd

FAILURES_NIGHTS = 7
"""Trials and failures are counted over so many nights."""
_SHORT_HEAD, _SHORT_TAIL = 8, 4
"""Characters of a UDID that are shown."""


@dataclass(frozen=True)
class Phone:
    """A phone as its newest trials tell."""

    device: str
    udid: str
    short_udid: str
    ios: str
    battery_percent: int | None
    battery_celsius: float | None
    thermal: str | None
    """Thermal state."""
    seen: str
    """When its newest trial ended, UTC."""
    tonight: bool
    """Whether that was in the page's night."""
    trials: int
    """In the last FAILURES_NIGHTS."""
    died: int
    """Of them, those that say that a model does not load."""
    in_the_way: tuple[tuple[str, int], ...]
    """Ends that say something about the phone: outcome → trials."""
    host: tuple[tuple[str, int], ...]
    """Ends that say something about the host, or the way to the phone."""


@dataclass(frozen=True)
class Fleet:
    physical: tuple[Phone, ...]
    virtual: tuple[Phone, ...]
    nights: int
    shown_nights: int
    not_seen: int
    """Phones whose last trial is older than the nights shown."""


def fleet(recent: RecentTrials, shown_nights: int, ever: int) -> Fleet:
    """Phones of the recent trials; `ever`: how many the results know."""
    frame = recent.frame
    phones = {kind: _phones(frame[frame["device_kind"] == kind.value], recent) for kind in PhoneKind}
    seen = sum(len(ones) for ones in phones.values())
    return Fleet(
        phones[PhoneKind.PHYSICAL], phones[PhoneKind.VIRTUAL], FAILURES_NIGHTS, shown_nights, max(ever - seen, 0)
    )


def phones_known(trials: pd.DataFrame, runs: pd.DataFrame) -> int:
    """How many phones there are in the trials of these runs."""
    known = trials[trials["run_id"].isin(runs["run_id"])]
    return int((~known.duplicated(["device_kind", "device_udid"])).sum())


def _phones(frame: pd.DataFrame, recent: RecentTrials) -> tuple[Phone, ...]:
    first = (recent.night - timedelta(days=FAILURES_NIGHTS - 1)).toordinal()
    found = [_phone(str(udid), ones, first, recent) for udid, ones in frame.groupby("device_udid", sort=True)]
    return tuple(sorted(found, key=lambda phone: (phone.device, phone.udid)))


def _phone(udid: str, ones: pd.DataFrame, first: int, recent: RecentTrials) -> Phone:
    newest = ones.iloc[-1]
    lately = ones[ones["night"] >= first]
    counts = {str(name): int(count) for name, count in lately["outcome"].value_counts(sort=False).items()}
    finished = newest["finished_at"]
    return Phone(
        device=str(newest["device_product_type"]),
        udid=udid,
        short_udid=_short(udid),
        ios=str(newest["device_os_version"]),
        battery_percent=_number(_last_known(ones, "battery_percent"), int),
        battery_celsius=_number(_last_known(ones, "battery_celsius"), float),
        thermal=_text(_last_known(ones, "thermal_state_start")),
        seen=moment_text(_text(finished) or str(newest["started_at"])),
        tonight=bool(newest["night"] == recent.night.toordinal()),
        trials=len(lately),
        died=sum(count for name, count in counts.items() if _family(name) is Family.MODEL),
        in_the_way=_of_family(counts, Family.DEVICE),
        host=_of_family(counts, Family.HOST),
    )


def _last_known(ones: pd.DataFrame, column: str) -> Any:
    """What the phone's newest run knows of it: an older reading is no news of today."""
    values = ones.loc[ones["run_id"] == ones["run_id"].iloc[-1], column].dropna()
    return None if values.empty else values.iloc[-1]


def _of_family(counts: dict[str, int], family: Family) -> tuple[tuple[str, int], ...]:
    return tuple((name, count) for name, count in sorted(counts.items()) if _family(name) is family)


def _family(outcome: str) -> Family | None:
    known = known_outcome(outcome)
    return None if known is None else known.family


def _short(udid: str) -> str:
    if len(udid) <= _SHORT_HEAD + _SHORT_TAIL + 1:
        return udid
    return f"{udid[:_SHORT_HEAD]}…{udid[-_SHORT_TAIL:]}"


def _number(value: Any, kind: type[int] | type[float]) -> Any:
    return None if value is None else kind(value)


def _text(value: Any) -> str | None:
    import pandas as pd

    return None if value is None or pd.isna(value) else str(value)
