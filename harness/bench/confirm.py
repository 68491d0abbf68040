"""Is a regressed series really worse? The last good build against the first bad one, in turns, on one phone.

A change in the nights has two explanations, the build and everything else that a night is made of. Here only the build
differs. What comes of it is kept with the verdict's series and first bad night, and the verdicts weigh it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.compare import Comparison
from harness.analysis.compare_outcomes import OutcomeComparison
from harness.analysis.compare_sides import About, SidesComparison, compare_sides
from harness.analysis.metrics import METRIC_BY_NAME
from harness.analysis.series import OUTCOME, CaseKey, SeriesKey
from harness.bench.compare import Contender, TurnOptions, take_turns
from harness.bench.compare_turns import DEFAULT_CONFIRMED, DEFAULT_TRIALS, Arm
from harness.bench.kept_apps import AppNotKept, kept_app
from harness.bench.kept_suites import kept_suite
from harness.bench.listener import Listener
from harness.bench.nightly_verdicts import verdicts_of
from harness.bench.plan import cases_of
from harness.bench.run_options import RunOptions
from harness.bench.suite import Suite
from harness.core.errors import UsageError
from harness.core.judgement import Confirmation, ConfirmationResult, VerdictKind
from harness.core.phone import DeviceWord, PhoneFacts, Virtual, with_settings
from harness.core.text import percent
from harness.device.registry import open_phone
from harness.store.address import Results, address_of
from harness.store.database import ResultStore
from harness.store.triage import MAX_CHARS, keep_confirmation

if TYPE_CHECKING:
    from harness.analysis.verdict import Verdict


@dataclass(frozen=True)
class ConfirmOptions:
    trials: int = DEFAULT_TRIALS
    """Of each side."""
    limit: int = DEFAULT_CONFIRMED
    """Pairs of builds and case that are run at most."""
    series: frozenset[str] | None = None
    """Texts of the series to confirm, again if need be; None: those that are open and were never tried."""


@dataclass(frozen=True)
class Confirmed:
    """What a re-run, or the lack of one, says of one verdict."""

    verdict: Verdict
    note: Confirmation


@dataclass(frozen=True)
class _Change:
    """What one re-run can tell of: a case, and the builds before and after."""

    case: CaseKey
    good: str
    bad: str


class _NotPossible(Exception):
    """Why there is no re-run."""


async def confirm(
    word: DeviceWord,
    results: Results,
    listener: Listener,
    run_options: RunOptions,
    options: ConfirmOptions | None = None,
) -> list[Confirmed]:
    """Re-runs what can be re-run on this phone, and keeps what came of each verdict.

    A verdict on another class of phone is left for that phone. Raises UsageError for a series without a regression,
    HarnessError's kin when the phone cannot be had.
    """
    options = options or ConfirmOptions()
    with ResultStore.open(results) as store:
        wanted = _wanted(verdicts_of(store), options)
    if not wanted:
        return []
    facts = await _facts(word, run_options, listener)
    here = [verdict for verdict in wanted if _is_here(verdict.series, facts)]
    for series in sorted({verdict.series.text for verdict in wanted} - {verdict.series.text for verdict in here}):
        listener.note(f"{series}: is of another class of phone than {facts.label}; confirm it there")
    changes, refused = _grouped(here)
    told = [_keep(results, one, ConfirmationResult.NOT_POSSIBLE, why, None) for one, why in refused]
    runs = 0
    for change, verdicts in changes.items():
        if runs == options.limit:
            names = ", ".join(verdict.series.text for verdict in verdicts)
            listener.note(f"not confirmed, {options.limit} changes were (--confirm-limit): {names}")
            continue
        try:
            suite = _suite(change, word, facts, results)
            apps = [kept_app(address_of(results).folder, build) for build in (change.good, change.bad)]
            runs += 1
            listener.note(f"{change.case.case}: build {change.good} against {change.bad}, in turns")
            contenders = [Contender(suite, (str(app),)) for app in apps]
            turns = TurnOptions(options.trials, cases=frozenset({change.case.case}))
            taken = await take_turns(contenders[0], contenders[1], word, results, listener, run_options, turns)
        except (_NotPossible, AppNotKept, UsageError) as error:
            told += [_keep(results, one, ConfirmationResult.NOT_POSSIBLE, str(error), None) for one in verdicts]
            continue
        for verdict in verdicts:
            result, reason = weigh(verdict, _compared(results, taken.run_id, verdict.series.metric))
            told.append(_keep(results, verdict, result, reason, taken.run_id))
    return told


def weigh(verdict: Verdict, found: SidesComparison) -> tuple[ConfirmationResult, str]:
    """What the re-run of the two builds says of the change. Pure."""
    case = found.cases[0] if len(found.cases) == 1 else None
    if case is None or case.outcomes is None:
        why = "; ".join(case.problems) if case is not None else "the re-run has no trials of both builds"
        return ConfirmationResult.UNDECIDED, why
    if verdict.series.metric == OUTCOME:
        return _weigh_outcomes(case.outcomes)
    return _weigh_figure(verdict, case.metrics[0])


def _weigh_outcomes(ends: OutcomeComparison) -> tuple[ConfirmationResult, str]:
    if ends.verdict is VerdictKind.REGRESSED:
        return ConfirmationResult.CONFIRMED, ends.words
    if ends.verdict in (VerdictKind.SAME, VerdictKind.IMPROVED):
        return ConfirmationResult.REFUTED, ends.words or "both builds end alike"
    return ConfirmationResult.UNDECIDED, ends.words


def _weigh_figure(verdict: Verdict, one: Comparison) -> tuple[ConfirmationResult, str]:
    """Refuted is only what the re-run could have seen: the change's size must lie outside the shift's interval."""
    if one.shift is None or one.p_worse is None:
        return ConfirmationResult.UNDECIDED, one.words
    shift = percent(one.shift, sign=True)
    told = f"{shift} between the builds, p = {one.p_worse:.2g}, {one.a_count} and {one.b_count} trials"
    if one.verdict is VerdictKind.REGRESSED:
        return ConfirmationResult.CONFIRMED, told
    if one.interval is None or verdict.shift is None:
        return ConfirmationResult.UNDECIDED, told
    low, high = one.interval
    was = percent(verdict.shift, sign=True)
    within = f"{percent(low, sign=True)} to {percent(high, sign=True)}"
    if low <= verdict.shift <= high:
        return ConfirmationResult.UNDECIDED, f"{told}: the change of {was} is possible ({within})"
    return ConfirmationResult.REFUTED, f"{told}: {within}, not the change of {was}"


def _wanted(verdicts: Iterable[Verdict], options: ConfirmOptions) -> list[Verdict]:
    regressed = [one for one in verdicts if one.kind is VerdictKind.REGRESSED and one.since is not None]
    if options.series is None:
        return [one for one in regressed if one.is_open and one.confirmation is None]
    found = [one for one in regressed if one.series.text in options.series]
    unknown = options.series - {one.series.text for one in found}
    if unknown:
        raise UsageError(f"{sorted(unknown)[0]}: no regression to confirm; `harness verdicts` lists them")
    return found


async def _facts(word: DeviceWord, options: RunOptions, listener: Listener) -> PhoneFacts:
    """Whose class decides what can be re-run; asked before anything is."""
    opening = open_phone(word, transport=options.transport, lease_wait_s=options.lease_wait_s, tell=listener.note)
    async with opening as transport:
        return transport.facts


def _is_here(series: SeriesKey, facts: PhoneFacts) -> bool:
    return (series.device_kind, series.device_product_type) == (facts.kind, facts.product_type)


def _grouped(verdicts: Sequence[Verdict]) -> tuple[dict[_Change, list[Verdict]], list[tuple[Verdict, str]]]:
    """Verdicts by the re-run that tells of them, worst first; and those that none can tell of, with why."""
    changes: dict[_Change, list[Verdict]] = {}
    refused = []
    for verdict in verdicts:
        try:
            changes.setdefault(_change(verdict), []).append(verdict)
        except _NotPossible as error:
            refused.append((verdict, str(error)))
    return changes, refused


def _change(verdict: Verdict) -> _Change:
    good = None if verdict.last_good is None else verdict.last_good.app_build
    bad = None if verdict.first_bad is None else verdict.first_bad.app_build
    if good is None or bad is None:
        raise _NotPossible("the records do not say which build of the app was good, or bad")
    if good == bad:
        raise _NotPossible(f"both nights ran the same build of the app, {bad}: it is not what changed")
    return _Change(verdict.series.of_case, good, bad)


def _suite(change: _Change, word: DeviceWord, facts: PhoneFacts, results: Results) -> Suite:
    """The suite of the first bad build's trials, as it was then."""
    key = change.case
    with ResultStore.open_existing(results) as store:
        records = store.columns(
            ["suite_digest", "device_settings", "device_os_version"],
            suite=key.suite, case=key.case, app_build=change.bad,
            device_kind=key.device_kind, device_product_type=key.device_product_type, arm=None,
        )  # fmt: skip  # a case's key
        folder = store.folder
    digests = list(records["suite_digest"].dropna())
    suite = kept_suite(folder, str(digests[-1])) if digests else None
    if suite is None:
        raise _NotPossible("the suite that was run is not kept beside the results")
    if key.case not in {case.name for case in cases_of(suite)}:
        raise _NotPossible(f"the suite {suite.name} that is kept has no case {key.case}")
    asked = with_settings(word, suite.virtual)
    settings = asked.settings_text if isinstance(asked, Virtual) else facts.settings
    if settings not in set(records["device_settings"]):
        were = " or ".join(sorted({text or "none" for text in records["device_settings"]}))
        raise _NotPossible(f"the phone's settings are {settings or 'none'}, and those of the trials were {were}")
    versions = {str(version).partition(".")[0] for version in records["device_os_version"]}
    if facts.os_version.partition(".")[0] not in versions:
        raise _NotPossible(f"the phone has iOS {facts.os_version}, and the trials ran on iOS {', '.join(versions)}")
    return suite


def _compared(results: Results, run_id: str, metric: str) -> SidesComparison:
    metrics = () if metric == OUTCOME else (METRIC_BY_NAME[metric],)
    with ResultStore.open_existing(results) as store:
        good, bad = (store.frame(run_id=run_id, arm=arm.value) for arm in Arm)
    return compare_sides(good, bad, metrics, about=(About.ENGINE, About.VARIANT))


def _keep(results: Results, verdict: Verdict, result: ConfirmationResult, reason: str, run_id: str | None) -> Confirmed:
    assert verdict.since is not None, "only what has a first bad night is wanted"
    with ResultStore.open(results) as store:
        note = keep_confirmation(store, verdict.series.text, verdict.since, result, reason[:MAX_CHARS], run_id)
    return Confirmed(verdict, note)
