"""Results for a notebook or a script: `from harness import results`, and every function gives a pandas DataFrame.

    from harness import results
    trials = results.trials("results", suite="smoke")
    print(trials.groupby("case")["peak_footprint_bytes"].median())

`folder` is what `--results` takes: a folder, its `runs.db`, or postgresql://user@host/database. Nothing is written.
Units are in the columns' names or in results/README.md: `_bytes`, `_ns`, tokens/s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from harness.core.errors import UsageError
from harness.core.judgement import MIN_TRIALS, NIGHT_STARTS_UTC
from harness.store.address import DEFAULT_FOLDER, ResultsAddress, parse_results

if TYPE_CHECKING:
    import pandas as pd

    from harness.analysis.verdict import VerdictOptions
    from harness.store.database import ResultStore

__all__ = ["compare", "runs", "series", "telemetry", "trials", "verdicts"]

Folder = str | PathLike[str] | ResultsAddress


def trials(
    folder: Folder = DEFAULT_FOLDER,
    *,
    columns: Sequence[str] | None = None,
    since: date | datetime | str | None = None,
    until: date | datetime | str | None = None,
    **filters: Any,
) -> pd.DataFrame:
    """One row a trial, in order of time; the columns are those of results/README.md, or just `columns`.

    `filters` are columns with a value, or a list of which any will do: `case="tiny/litert_lm/cpu/cold"`,
    `outcome=["loaded", "jetsam"]`; None asks for rows where the column is not known. `since` (from then on) and `until`
    (before then) bound `started_at`: a date, a time with its zone, or either as text.

    Integers are Int64, rates Float64, yes or no boolean, text string, each `pandas.NA` where it was not measured, which
    is never 0. `evidence`, `phases` and their like are lists of dicts. Running trials are rows too (`state`), and so
    are warm-ups (`ordinal` below 1); physical and virtual phones are told apart by `device_kind`.

    Raises UsageError where there are no results, StoreError for a column that there is not or a database that cannot
    be read.
    """
    bounds = {name: value for name, value in (("since", since), ("until", until)) if value is not None}
    with _opened(folder) as store:
        if columns is None:
            return store.frame(**bounds, **filters)
        return store.columns(tuple(columns), **bounds, **filters)


def runs(
    folder: Folder = DEFAULT_FOLDER,
    *,
    since: date | datetime | str | None = None,
    until: date | datetime | str | None = None,
    **filters: Any,
) -> pd.DataFrame:
    """One row a run, in order of time, made of the trials that `filters` mean (as for `trials`).

    Columns: `run_id`, `suite`, `device_kind`, `device_product_type`, `device_udid`, `device_os_version`, `build`,
    `engine_version` (NA where no trial of the run knows it, or they differ), `began` and `ended` (ISO 8601, UTC;
    NA while it runs), and of the trials that count (no warm-ups, no attempts that were run again) the numbers `cases`,
    `trials`, `running`, `loaded`, `as_expected` and the dict `outcomes` (outcome → number).

    Raises as `trials`.
    """
    from harness.analysis.runs import TRIAL_COLUMNS, runs_of

    return runs_of(trials(folder, columns=TRIAL_COLUMNS, since=since, until=until, **filters))


def telemetry(trial_id: str, folder: Folder = DEFAULT_FOLDER) -> pd.DataFrame:
    """The readings of one trial, sorted by time: a row a reading, columns as in results/README.md.

    `source` is `app` (the runner's own sampling thread) or `host` (the phone's system monitor); `t_ns` is on the clock
    of the measured process; all else is Int64, `pandas.NA` where the source does not have it. Memory is in bytes.

    Raises UsageError where there is no such trial, or it has no telemetry; StoreError for a file that cannot be read.
    """
    from harness.store.telemetry import read_parquet

    with _opened(folder) as store:
        found = store.trials(trial_id=trial_id)
        if not found:
            raise UsageError(f"{store.address.text}: there is no trial {trial_id!r}; results.trials() lists them")
        (record,) = found
        if record.telemetry_file is None:
            removed = record.files_removed_at
            why = f"it was removed at {removed}" if removed is not None else "none was kept, or it is not done"
            raise UsageError(f"trial {trial_id} has no telemetry: {why}")
        return read_parquet(store.telemetry_path(trial_id))


def series(
    folder: Folder = DEFAULT_FOLDER,
    *,
    as_of: date | None = None,
    min_trials: int = MIN_TRIALS,
    night_starts_utc: time = NIGHT_STARTS_UTC,
) -> pd.DataFrame:
    """One row a night of a series (one metric of one case on one device class), oldest first within it.

    Columns: `series` (its name on the command line) and its parts `device_kind`, `device_product_type`, `suite`,
    `case`, `metric`; `night` (YYYY-MM-DD); `value`, the median of the night's trials that loaded, in the metric's unit,
    NA where none has the figure; `trials` that it is of, and `short` if fewer than `min_trials`; `outcomes` (dict);
    `build`; `segment` (from 1), `line` (what began another segment) and `changed` (what else changed that night). In
    the series whose metric is `outcome` there is no value. Nights after `as_of` are left out; a night begins at
    `night_starts_utc`.

    Raises as `trials`.
    """
    from harness.bench.nightly_verdicts import histories_of
    from harness.report.judged_frames import series_frame

    with _opened(folder) as store:
        return series_frame(histories_of(store, as_of=as_of, night_starts_utc=night_starts_utc), min_trials)


def verdicts(
    folder: Folder = DEFAULT_FOLDER, *, as_of: date | None = None, options: VerdictOptions | None = None
) -> pd.DataFrame:
    """One row a verdict, worst first: what the nights say of each series, as `harness verdicts` tells it.

    Columns: the series as in `series`; `segment` (text, where several are measured side by side); `verdict` (regressed,
    improved, same, noisy, incomparable, missing); `night` as of which it is; `since`, the first night of the change;
    `new`, `open`; `alarm`; `before` and `after` (levels in the metric's unit, or outcomes); `shift`, which is
    after / before - 1; `detectable_shift`; `last_good` and `first_bad` builds; `confirmation`, `triage`; `words`.
    `as_of` gives the verdicts that night would have given; without it, each suite's newest night.

    Raises as `trials`.
    """
    from harness.bench.nightly_verdicts import verdicts_of
    from harness.report.judged_frames import verdict_frame

    with _opened(folder) as store:
        return verdict_frame(verdicts_of(store, as_of=as_of, options=options))


def compare(
    a: str | PathLike[str],
    b: str | PathLike[str],
    folder: Folder = DEFAULT_FOLDER,
    *,
    metrics: Sequence[str] | None = None,
    about: Sequence[str] = (),
) -> pd.DataFrame:
    """One row a case and metric: B against A, of what has been recorded, as `harness compare` judges it.

    A and B are a run (`run:ID`), a build (`build:NAME`), a results folder, or an exported file; runs and builds are
    looked for in `folder`. `metrics` are columns of a trial, `about` what the sides may differ in.

    Columns: `case`, `device`, `metric` (`outcome`: how the case's trials ended), `verdict`, `a_count`, `b_count`,
    `a_median`, `b_median` in the metric's unit, `shift` (share of A's median) with its 95 % interval `shift_low` to
    `shift_high`, `p`, `detectable_shift`, `words`; `interleaved`: whether the sides took turns on one phone, else the
    night is part of every difference. NA: there is no such figure.

    Raises UsageError for a side that is nothing recorded, or means several things.
    """
    from harness.analysis.compare_sides import About, compare_sides
    from harness.analysis.metrics import DEFAULT_METRICS, METRIC_BY_NAME
    from harness.bench.compare_words import RecordedSide, read_side
    from harness.report.judged_frames import comparison_frame

    names = DEFAULT_METRICS if metrics is None else metrics
    if unknown := [name for name in names if name not in METRIC_BY_NAME]:
        raise UsageError(f"there is no metric {unknown[0]!r}; there are {', '.join(METRIC_BY_NAME)}")
    if strange := [word for word in about if word not in tuple(About)]:
        raise UsageError(f"about={strange[0]!r}: there are {', '.join(About)}")
    sides = []
    for text in (fspath(a), fspath(b)):
        side = read_side(text, _address(folder))
        if not isinstance(side, RecordedSide):
            raise UsageError(f"{text} is to be run first: harness compare {fspath(a)} {fspath(b)} --device …")
        sides.append(side.trials)
    wanted = [METRIC_BY_NAME[name] for name in names]
    return comparison_frame(compare_sides(sides[0], sides[1], wanted, about={About(word) for word in about}))


def _address(folder: Folder) -> ResultsAddress:
    return folder if isinstance(folder, ResultsAddress) else parse_results(fspath(folder))


@contextmanager
def _opened(folder: Folder) -> Iterator[ResultStore]:
    from harness.store.database import ResultStore

    with ResultStore.open_existing(_address(folder)) as store:
        yield store
