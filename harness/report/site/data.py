"""What the site is made from, read from the store once. Columns, not records: a year of a farm is many thousands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from harness.analysis.nightly import COLUMNS, NIGHT, histories, nights_of
from harness.analysis.series import CaseHistory, CaseKey, SeriesKey
from harness.analysis.verdict import Notes, Verdict, VerdictOptions
from harness.analysis.verdicts import judge_histories
from harness.core.record import DEMO_ORIGIN, TrialState
from harness.report.site.known_trials import KnownTrials

if TYPE_CHECKING:
    import pandas as pd

    from harness.store.database import ResultStore

SITE_COLUMNS = tuple(
    dict.fromkeys(
        [
            *COLUMNS,
            "trial_id",
            "origin",
            "device_udid",
            "device_settings",
            "host_name",
            "finished_at",
            "battery_celsius",
            "battery_percent",
            "thermal_state_start",
            "reason",
            "outcome_family",
            "expected_outcome",
            "broken_limits",
            "footprint_limit_bytes",
            "files_removed_at",
        ]
    )
)
"""Read of every trial that is done; what a trial's own page needs beyond them is read for that trial."""


@dataclass(frozen=True)
class SiteData:
    """Everything that is known on the night `as_of`; None: now."""

    store: ResultStore
    trials: pd.DataFrame
    """SITE_COLUMNS and NIGHT of the trials that are done, arms of comparisons too, in order of their beginnings."""
    histories: tuple[CaseHistory, ...]
    verdicts: tuple[Verdict, ...]
    """Worst first."""
    as_of: date | None
    options: VerdictOptions

    @cached_property
    def demo(self) -> bool:
        """Whether any of it was made by seed."""
        return bool(self.trials["origin"].fillna("").str.startswith(DEMO_ORIGIN).any())

    @cached_property
    def virtual(self) -> bool:
        """Whether any of it comes from a virtual phone."""
        return bool(self.trials["device_kind"].eq("virtual").any())

    @cached_property
    def known(self) -> KnownTrials:
        return KnownTrials.of(self.trials, self.as_of)

    @cached_property
    def tonight(self) -> date | None:
        """The newest night of any suite; None: there is none."""
        nights = [history.suite_nights[-1] for history in self.histories]
        return max(nights, default=None)

    @cached_property
    def history_of(self) -> Mapping[CaseKey, CaseHistory]:
        return {history.key: history for history in self.histories}

    @cached_property
    def verdicts_of(self) -> Mapping[SeriesKey, tuple[Verdict, ...]]:
        """A series has one for each of its segments that go on beside each other."""
        found: dict[SeriesKey, list[Verdict]] = {}
        for verdict in self.verdicts:
            found.setdefault(verdict.series, []).append(verdict)
        return {key: tuple(ones) for key, ones in found.items()}


def read_site_data(store: ResultStore, *, as_of: date | None = None, options: VerdictOptions | None = None) -> SiteData:
    """Reads the store and judges every series; NoResults if there is no trial that is done."""
    from harness.store.errors import NoResults
    from harness.store.triage import confirmations, triage_notes

    options = options or VerdictOptions()
    trials = store.columns(SITE_COLUMNS, state=TrialState.DONE.value)
    if trials.empty:
        raise NoResults(f"{store.address.text}: there is no finished trial; run a suite first: harness run SUITE.toml")
    trials = trials.sort_values(["started_at", "trial_id"], kind="stable", ignore_index=True)
    starts = options.night_starts_utc
    trials[NIGHT] = nights_of(trials, starts)
    found = histories(trials, as_of=as_of)
    notes = Notes.made(triage_notes(store), confirmations(store), as_of=as_of, night_starts_utc=starts)
    verdicts = judge_histories(found, notes, as_of=as_of, options=options)
    return SiteData(store, trials, tuple(found), tuple(verdicts), as_of, options)
