"""What `harness compare A B` is told: an app, a suite, or what was recorded.

May know the store, suites and app files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.series import BUILD_COLUMNS
from harness.bench.compare_turns import Arm
from harness.bench.kept_apps import AppNotKept, kept_app
from harness.bench.suite import Suite, load_suite
from harness.core.errors import UsageError
from harness.core.record import TrialRecord
from harness.runner.bundle import BuiltRunner
from harness.runner.package import read_ipa
from harness.store.address import DATABASE_NAME, Results, address_of, parse_results
from harness.store.database import ResultStore
from harness.store.schema import RECORD_TYPES

if TYPE_CHECKING:
    import pandas as pd

FORMS = "an .ipa, a suite.toml, run:ID, build:NAME, a results folder or database, or an exported .json, .jsonl or .csv"
RUN, BUILD = "run:", "build:"
EXPORTS = (".json", ".jsonl", ".csv")
MAX_NAMED = 8
"""Candidates that an error lists."""
_INDEX_COLUMNS = ("run_id", "arm", "suite", *BUILD_COLUMNS, "started_at")


@dataclass(frozen=True)
class AppSide:
    """A build of the runner app, to be run."""

    text: str
    app: BuiltRunner


@dataclass(frozen=True)
class SuiteSide:
    """A suite, to be run."""

    text: str
    suite: Suite


@dataclass(frozen=True)
class RecordedSide:
    """Trials that were run before."""

    text: str
    trials: pd.DataFrame
    words: str
    """What they are: `run …`, `build 1234 (3 runs)`."""

    def kept_app(self, results: Results) -> Path | None:
        """The app they ran in, if it was one and is kept beside the results."""
        builds = set(self.trials["app_build"].dropna())
        if len(builds) != 1:
            return None
        try:
            return kept_app(address_of(results).folder, str(builds.pop()))
        except AppNotKept:
            return None


Side = AppSide | SuiteSide | RecordedSide


def read_side(text: str, results: Results) -> Side:
    """What a word of the command line means; runs and builds are looked for in `results`.

    Raises UsageError for nothing of that name, and for several, with their names.
    """
    path = Path(text)
    if path.suffix == ".ipa":
        return AppSide(text, read_ipa(path))
    if path.suffix == ".toml":
        return SuiteSide(text, load_suite(path))
    if text.startswith(RUN):
        return _run(text, text.removeprefix(RUN), results)
    if text.startswith(BUILD):
        return _build(text, text.removeprefix(BUILD), results)
    if "://" in text or path.is_dir() or path.name == DATABASE_NAME:
        address = parse_results(text)
        # the words of a URL may hold a password
        return _newest(address.text if address.url is not None else text, address)
    if path.suffix in EXPORTS:
        return _exported(text, path)
    if path.is_file():
        raise UsageError(f"{text}: a file of that name cannot be compared; it is {FORMS}")
    return _run_or_build(text, results)


def frame_of(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """Records that are in no database, as `ResultStore.frame` would give them."""
    import pandas as pd

    kinds: dict[type, Any] = {
        bool: pd.BooleanDtype(),
        int: pd.Int64Dtype(),
        float: pd.Float64Dtype(),
        str: pd.StringDtype(),
    }
    return pd.DataFrame(
        {
            name: pd.Series([getattr(record, name) for record in records], dtype=kinds.get(plain, object))
            for name, (plain, _) in RECORD_TYPES.items()
        }
    )


def _exported(text: str, path: Path) -> RecordedSide:
    from harness.store.exchange.incoming import read_file

    records = read_file(path).records
    if not records:
        raise UsageError(f"{path}: holds no trials")
    return RecordedSide(text, frame_of(records), f"{len(records)} trials of {path.name}")


def _newest(text: str, results: Results) -> RecordedSide:
    """Of a whole store: the newest run of each of its suites, comparisons aside."""
    with ResultStore.open_existing(results) as store:
        index = _runs(store)
        runs = index[index["arm"].isna()].drop_duplicates("suite", keep="last")
        ids = [str(run_id) for run_id in runs["run_id"]]
        if not ids:
            raise UsageError(f"{text}: holds no trials")
        words = f"the newest run of {', '.join(map(str, runs['suite']))} in {address_of(results).text}"
        return RecordedSide(text, store.frame(run_id=ids), words)


def _run_or_build(text: str, results: Results) -> RecordedSide:
    address = address_of(results)
    if not address.has_records:
        raise UsageError(
            f"{text!r}: no such file, and {address.text} holds no results with runs or builds; it is {FORMS}"
        )
    with ResultStore.open_existing(results) as store:
        index = _runs(store)
    runs, builds = _matching_runs(index, text.partition("/")[0]), _matching_builds(index, text)
    if runs and builds:
        raise UsageError(f"{text!r} is the begin of a run's id and of a build: say {RUN}{text} or {BUILD}{text}")
    if not runs and not builds:
        raise UsageError(f"{text!r}: no such file, and no run or build in {address.text}; it is {FORMS}")
    return _run(text, text, results) if runs else _build(text, text, results)


def _run(text: str, wanted: str, results: Results) -> RecordedSide:
    begin, slash, arm = wanted.partition("/")
    if slash and arm not in list(Arm):
        raise UsageError(f"{text!r}: the side of a comparison is {begin}/a or {begin}/b")
    with ResultStore.open_existing(results) as store:
        index = _runs(store)
        run_id = _only(text, _matching_runs(index, begin), "run", results)
        arms = set(index[index["run_id"] == run_id]["arm"].dropna())
        if arms and not slash:
            raise UsageError(f"run {run_id} is a comparison: say which side, {run_id}/a or {run_id}/b")
        trials = store.frame(run_id=run_id, arm=arm) if slash else store.frame(run_id=run_id)
    if trials.empty:
        raise UsageError(f"run {run_id} has no side {arm!r}; it is no comparison")
    return RecordedSide(text, trials, f"run {run_id}{slash}{arm}")


def _build(text: str, wanted: str, results: Results) -> RecordedSide:
    with ResultStore.open_existing(results) as store:
        column, value = _only(text, _matching_builds(_runs(store), wanted), "build", results)
        trials = store.frame(**{column: value})
    trials = trials[trials["arm"].isna()]
    if trials.empty:
        raise UsageError(f"{text!r}: build {value} was only run in comparisons; name one, as run:ID/a")
    count = trials["run_id"].nunique()
    return RecordedSide(text, trials, f"{column} {value} ({count} {'run' if count == 1 else 'runs'})")


def _runs(store: ResultStore) -> pd.DataFrame:
    """One row for each run, side and build, in order of time."""
    index = store.columns(list(_INDEX_COLUMNS)).sort_values("started_at", kind="stable")
    return index.drop_duplicates([name for name in _INDEX_COLUMNS if name != "started_at"])


def _matching_runs(index: pd.DataFrame, begin: str) -> list[str]:
    return _beginning(begin, (str(run_id) for run_id in dict.fromkeys(index["run_id"])), lambda run_id: run_id)


def _matching_builds(index: pd.DataFrame, begin: str) -> list[tuple[str, str]]:
    """(column, value) of every build of that name, or that begins so."""
    known = [(column, str(value)) for column in BUILD_COLUMNS for value in dict.fromkeys(index[column].dropna())]
    found = _beginning(begin, known, lambda build: build[1])
    # a name that somebody gave may be the commit itself: they are then the same trials, or more of them
    by_value: dict[str, tuple[str, str]] = {}
    for column, value in found:
        by_value.setdefault(value, (column, value))
    return list(by_value.values())


def _beginning(begin: str, known: Any, name: Callable[[Any], str]) -> list[Any]:
    """Those of exactly that name; without one, those that begin so."""
    if not begin:
        return []
    items = list(known)
    return [item for item in items if name(item) == begin] or [item for item in items if name(item).startswith(begin)]


def _only(text: str, found: Sequence[Any], what: str, results: Results) -> Any:
    if not found:
        raise UsageError(f"{text!r}: no such {what} in {address_of(results).text}; `harness results list` shows them")
    if len(found) > 1:
        named = ", ".join(" ".join(one) if isinstance(one, tuple) else str(one) for one in found[:MAX_NAMED])
        more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
        raise UsageError(f"{text!r} is the begin of {len(found)} {what}s: {named}{more}; write more of it")
    return found[0]
