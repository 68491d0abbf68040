"""Last month's trials with their nights, for what the series do not tell: limits, phones, runs. No I/O."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from harness.analysis.nightly import KEY_COLUMNS, NIGHT
from harness.report.site.data import SiteData
from harness.report.words import rows_of

if TYPE_CHECKING:
    import pandas as pd

SHOWN_NIGHTS = 30
"""So far back the entry looks."""
_COLUMNS = [
    *KEY_COLUMNS,
    NIGHT,
    *("run_id", "arm", "ordinal", "started_at", "finished_at", "outcome", "expected_outcome", "broken_limits"),
    *("device_udid", "device_os_version", "device_settings", "footprint_limit_bytes"),
    *("battery_percent", "battery_celsius", "thermal_state_start"),
]
"""Few, for each look at some of the rows copies them all."""


@dataclass(frozen=True)
class RecentTrials:
    """Trials of runs that began by the night, and the night of each."""

    frame: pd.DataFrame
    """Those of the last SHOWN_NIGHTS, in order of their beginnings; `night` is a date's ordinal."""
    runs: pd.DataFrame
    """The first trial of each run there is, with `night`."""
    night: date

    @classmethod
    def of(cls, data: SiteData, night: date) -> RecentTrials:
        """Those that the night knows."""
        trials = data.trials.loc[data.trials[NIGHT] <= night.toordinal(), _COLUMNS]
        # in order of time, hence each run's first trial
        runs = trials.loc[~trials["run_id"].duplicated()]
        recent = trials[trials[NIGHT] > (night - timedelta(days=SHOWN_NIGHTS)).toordinal()]
        return cls(recent, runs, night)


@dataclass(frozen=True)
class CaseFacts:
    """What a case's trials of its newest night say beyond its series."""

    expected: str | None
    limit_bytes: int | None
    """The smallest footprint limit of that night's trials."""
    over_limits: int
    """Trials that broke a limit of the suite."""


FactsKey = tuple[str, ...]
"""KEY_COLUMNS, the iOS version and the settings of a virtual phone."""
_FACTS_KEY = [*KEY_COLUMNS, "device_os_version", "device_settings"]


def case_facts(recent: RecentTrials, nights: Collection[date]) -> dict[FactsKey, dict[int, CaseFacts]]:
    """Of each case, by night (a date's ordinal), of these nights; arms of comparisons and warm-ups are none."""
    import pandas as pd

    frame = recent.frame
    asked = frame["night"].isin([night.toordinal() for night in nights])
    frame = frame[asked & frame["arm"].isna() & (frame["ordinal"] >= 1)]
    if frame.empty:
        return {}
    broken = frame["broken_limits"].fillna("").ne("")
    grouped = frame.assign(broken=broken).groupby([*_FACTS_KEY, "night"], sort=False)
    table = grouped.agg(
        expected=("expected_outcome", "last"), limit=("footprint_limit_bytes", "min"), broken=("broken", "sum")
    )
    found: dict[FactsKey, dict[int, CaseFacts]] = {}
    for row in rows_of(table.reset_index()):
        limit = None if pd.isna(row["limit"]) else int(row["limit"])
        expected = None if pd.isna(row["expected"]) else str(row["expected"])
        key = tuple(str(row[name]) for name in _FACTS_KEY)
        found.setdefault(key, {})[int(row["night"])] = CaseFacts(expected, limit, int(row["broken"]))
    return found


def moment_text(text: str) -> str:
    """A record's time to the minute: `2026-11-22 16:06 UTC`; what is none stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
