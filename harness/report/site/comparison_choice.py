"""Which comparisons are shown: trials of two sides in turns, and the cases of the newest run of each suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.core.phone import PhoneKind
from harness.report.site.data import SiteData
from harness.report.site.pages import comparison_page
from harness.report.site.trial_choice import Candidate, candidates, stands_for

if TYPE_CHECKING:
    import pandas as pd

MAX_COMPARED = 20
"""Comparisons of two sides, and again runs whose cases are shown side by side; the newest."""
MAX_SIDES = 24
"""Of a page; more cannot be told apart."""
ARMS = ("a", "b")
_DEVICE = ["device_kind", "device_product_type"]
_OF_CASES = [*_DEVICE, "suite", "run_id"]
_KEPT = "_shown_comparisons"


TrialRow = Mapping[str, Any]
"""A trial's values by column; None where there is none."""


@dataclass(frozen=True)
class Side:
    """Trials that are compared with others'."""

    case: str
    arm: str | None
    trials: tuple[TrialRow, ...]
    stand_in: str
    """Id of the trial that stands for it."""


@dataclass(frozen=True)
class Shown:
    """A comparison; all sides are of one run on one class of phone."""

    page: str
    run_id: str
    device_kind: str
    device_product_type: str
    suite: str
    sides: tuple[Side, ...]
    left_out: int
    """Sides beyond MAX_SIDES."""

    @property
    def of_builds(self) -> bool:
        """Of two sides in turns; else of cases."""
        return self.sides[0].arm is not None

    @property
    def virtual(self) -> bool:
        """Whether its figures come from a virtual phone."""
        return self.device_kind == PhoneKind.VIRTUAL


def shown(data: SiteData) -> tuple[Shown, ...]:
    """Those of two sides first, each newest first. Made once for a site's data, as its own properties are."""
    found = vars(data).get(_KEPT)
    if not isinstance(found, tuple):
        found = vars(data)[_KEPT] = tuple(_shown(data))
    return found


def _shown(data: SiteData) -> Iterator[Shown]:
    import pandas as pd

    from harness.analysis.summary import counted

    known = data.known
    turns = counted(known.all[known.all["arm"].isin(ARMS)])
    turns = turns[turns["run_id"].isin(_newest(turns))]
    # of each suite and class of phone the newest run with more than one case
    cases = known.in_series.drop_duplicates([*_OF_CASES, "case"], keep="last")
    several = cases[cases.duplicated(_OF_CASES, keep=False)]
    last = several.drop_duplicates([*_DEVICE, "suite"], keep="last")
    last = last[last["run_id"].isin(_newest(last))]
    of_run = known.in_series[known.in_series["run_id"].isin(set(last["run_id"]))]
    of_run = of_run.merge(last[_OF_CASES], on=_OF_CASES)
    everything = pd.concat([turns, of_run])
    known_by = {one.trial_id: one for one in candidates(data, everything)}
    rows = _plain(everything)
    yield from _found(rows[: len(turns)], known_by)
    yield from _found(rows[len(turns) :], known_by)


def stand_ins(comparisons: Iterable[Shown]) -> frozenset[str]:
    """Ids of the trials that stand for the sides."""
    return frozenset(side.stand_in for one in comparisons for side in one.sides)


def pages_of_runs(comparisons: Iterable[Shown]) -> dict[str, str]:
    """A run's id → the page of its comparison of two sides."""
    return {one.run_id: one.page for one in reversed(tuple(comparisons)) if one.of_builds}


def _newest(trials: pd.DataFrame) -> list[str]:
    """Ids of the runs that began last; `trials` in order of time."""
    return [str(run) for run in reversed(trials["run_id"].drop_duplicates().tolist())][:MAX_COMPARED]


def _plain(trials: pd.DataFrame) -> list[TrialRow]:
    # the stubs know of no None for what is missing
    of_name: dict[str, Any] = {str(name): trials[name] for name in trials}
    columns = {name: values.to_numpy(dtype=object, na_value=None).tolist() for name, values in of_name.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _found(trials: Iterable[TrialRow], known_by: Mapping[str, Candidate]) -> Iterator[Shown]:
    """`trials` in order of time."""
    groups: dict[tuple[str, ...], dict[tuple[str, str | None], list[TrialRow]]] = {}
    for row in trials:
        of_group = groups.setdefault(tuple(row[name] for name in ("run_id", *_DEVICE, "suite")), {})
        of_group.setdefault((row["case"], row["arm"]), []).append(row)
    taken: set[str] = set()
    for (run_id, kind, product_type, suite), of_side in reversed(groups.items()):
        of_two = any(arm is not None for _, arm in of_side)
        name = f"{kind}/{product_type}/{suite}"
        wanted = list(of_side)
        if of_two:
            cases = dict.fromkeys(case for case, _ in of_side)
            wanted = [(case, arm) for case in cases if all((case, arm) in of_side for arm in ARMS) for arm in ARMS]
            # a run is on one phone; what an import brings may not be
            name = run_id if run_id not in taken else f"{run_id}/{name}"
        if len(wanted) < len(ARMS):
            continue
        taken.add(run_id)
        sides = tuple(_side(case, arm, of_side[case, arm], known_by) for case, arm in wanted[:MAX_SIDES])
        left_out = max(0, len(wanted) - MAX_SIDES)
        yield Shown(comparison_page(name), run_id, kind, product_type, suite, sides, left_out)


def _side(case: str, arm: str | None, trials: list[TrialRow], known_by: Mapping[str, Candidate]) -> Side:
    return Side(case, arm, tuple(trials), stands_for([known_by[row["trial_id"]] for row in trials]))
