"""Which trials get a page: what people look at first, and never more than a reader could."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.series import CaseKey
from harness.core.outcome import Outcome
from harness.report.site.data import SiteData

if TYPE_CHECKING:
    import pandas as pd

MAX_TRIALS = 200
WHO = (
    "Not every trial has a page: those that stand for their cases on the newest night and one for each way in which "
    "a case failed on it, the same for the last good and the first bad night of every open change, and the sides of "
    f"the comparisons shown; {MAX_TRIALS} at most, the newest first. In a terminal, harness explain tells of any other."
)


@dataclass(frozen=True)
class Candidate:
    """What decides whether a trial stands for others."""

    trial_id: str
    outcome: str
    peak_bytes: int | None
    has_telemetry: bool


def chosen_trials(data: SiteData, sides: Iterable[str]) -> frozenset[str]:
    """Ids of them; `sides`: those of the trials that stand for the sides of comparisons."""
    known = data.known
    looked_at = [(key, night) for key, night in _nights(data) if night in known.places.get(key, ())]
    wanted = [known.places[key][night].tolist() for key, night in looked_at]
    rows = known.in_series.iloc[[place for places in wanted for place in places]]
    of_row = iter(candidates(data, rows))
    ids = set(sides)
    for places in wanted:
        ids |= _of_night([next(of_row) for _ in places])
    newest = known.all.loc[known.all["trial_id"].isin(ids), "trial_id"]
    return frozenset(newest.iloc[-MAX_TRIALS:])


def candidates(data: SiteData, trials: pd.DataFrame) -> list[Candidate]:
    """Of the trials, in their order; which have telemetry is asked for these alone."""
    ids = [str(one) for one in trials["trial_id"]]
    files = data.store.columns(["trial_id", "telemetry_file"], trial_id=ids) if ids else None
    with_file = set() if files is None else set(files.loc[files["telemetry_file"].notna(), "trial_id"])
    outcomes = map(str, trials["outcome"])
    peaks = trials["peak_footprint_bytes"].astype(object).where(trials["peak_footprint_bytes"].notna(), None)
    return [
        Candidate(trial_id, outcome, None if peak is None else int(peak), trial_id in with_file)
        for trial_id, outcome, peak in zip(ids, outcomes, peaks, strict=True)
    ]


def stands_for(trials: Sequence[Candidate]) -> str:
    """Id of the trial that stands for others, by the rule of `analysis.timeline.representative`: a median one of those
    that ended the most frequent way, with telemetry; where none has any, without.
    """
    able = [one for one in trials if one.has_telemetry] or list(trials)
    commonest = Counter(one.outcome for one in trials)
    # where two ways are equally frequent, that of the earlier trial
    outcome = max(able, key=lambda one: commonest[one.outcome]).outcome
    alike = sorted((one for one in able if one.outcome == outcome), key=lambda one: one.trial_id)
    measured = sorted((one for one in alike if one.peak_bytes is not None), key=lambda one: one.peak_bytes or 0)
    return measured[(len(measured) - 1) // 2].trial_id if measured else alike[0].trial_id


def _nights(data: SiteData) -> list[tuple[CaseKey, int]]:
    """(case, night) whose trials are looked at."""
    found = {(history.key, history.suite_nights[-1].toordinal()) for history in data.histories}
    for verdict in data.verdicts:
        if verdict.since is not None and (verdict.is_open or verdict.new or verdict.loud):
            key, since = verdict.series.of_case, verdict.since.toordinal()
            before = [night for night in data.known.places.get(key, ()) if night < since]
            found |= {(key, since), *((key, night) for night in before if night == max(before))}
    return sorted(found)


def _of_night(trials: Sequence[Candidate]) -> set[str]:
    """The one that stands for all, and one of each way of failing."""
    ids = {stands_for(trials)}
    for outcome in {one.outcome for one in trials} - {Outcome.LOADED.value}:
        ids.add(stands_for([one for one in trials if one.outcome == outcome]))
    return ids
