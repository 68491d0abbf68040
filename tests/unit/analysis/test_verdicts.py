"""Verdicts on simulated histories: each kind, what it says, who is blamed, and what people have said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from harness.analysis.series import OUTCOME
from harness.analysis.verdict import Verdict, VerdictOptions
from harness.analysis.verdicts import judge
from harness.core.judgement import Confirmation, ConfirmationResult, Triage, TriageState, VerdictKind
from tests.simulated_nights import FIRST_NIGHT, SimulatedHistory, SimulatedNight, frame_of

GOOD = SimulatedNight(columns={"app_build": "good", "build": "n1"})
BAD = SimulatedNight({"load_ns": 1.2}, columns={"app_build": "bad", "build": "n2"})
DEAD = SimulatedNight(outcomes=("bad_alloc",) * 5)
Nights = Sequence[SimulatedNight | None]


def day(number: int) -> date:
    return FIRST_NIGHT + timedelta(days=number)


def verdicts(nights: Nights, history: SimulatedHistory | None = None, **more: Any) -> dict[str, Verdict]:
    frame = frame_of([*(history or SimulatedHistory()).records(nights), *more.pop("beside", ())])
    found = judge(frame, **more)
    case = (history or SimulatedHistory()).case
    return {one.series.metric: one for one in found if one.series.case == case}


def load(nights: Nights, **more: Any) -> Verdict:
    return verdicts(nights, **more)["load_ns"]


def outcome(nights: Nights, **more: Any) -> Verdict:
    return verdicts(nights, **more)[OUTCOME]


def test_nothing_happened() -> None:
    found = verdicts([GOOD] * 20)
    assert {one.kind for one in found.values()} == {VerdictKind.SAME}
    assert len(found) == 8
    assert found["load_ns"].detectable_shift == pytest.approx(0.025, abs=0.01)
    assert len(found["load_ns"].recent) == 14


def test_a_regression_its_night_and_its_builds() -> None:
    verdict = load([GOOD] * 20 + [BAD])
    assert (verdict.kind, verdict.alarm, verdict.since) == (VerdictKind.REGRESSED, "same night", day(20))
    assert verdict.new
    assert verdict.is_open
    assert verdict.last_good is not None
    assert verdict.first_bad is not None
    assert (verdict.last_good.app_build, verdict.first_bad.app_build) == ("good", "bad")
    assert verdict.suspects == {"build": "n1 → n2", "app_build": "good → bad"}
    assert "+20" in verdict.words
    assert "between builds n1 and n2" in verdict.words


def test_it_is_new_once_and_stands_until_it_is_back() -> None:
    nights = [GOOD] * 20 + [BAD] * 12 + [GOOD] * 6
    told = [load(nights, as_of=day(night)) for night in range(20, 38)]
    assert [one.new for one in told[:4]] == [True, False, False, False]
    assert {one.kind for one in told[:12]} == {VerdictKind.REGRESSED}
    assert {one.since for one in told[:12]} == {day(20)}
    assert {one.seen for one in told[:12]} == {day(20)}
    back = told[-1]
    assert back.kind is VerdictKind.IMPROVED
    assert back.words.startswith(f"back since {day(32)}: had regressed on {day(20)}")


def test_an_old_night_gives_the_verdict_that_it_gave() -> None:
    nights = [GOOD] * 20 + [BAD] * 6
    for night in (19, 20, 23):
        assert verdicts(nights, as_of=day(night)) == verdicts(nights[: night + 1])


def test_a_level_of_a_few_nights_that_is_gone_again_is_said_to_be_back() -> None:
    nights = [GOOD] * 20 + [BAD] * 5 + [GOOD] * 9
    found = [load(nights, as_of=day(night)) for night in range(25, 34)]
    assert [one.kind for one in found] == [VerdictKind.IMPROVED] * 7 + [VerdictKind.SAME] * 2
    assert found[0].words.startswith(f"back since {day(25)}: had regressed on {day(20)}")
    assert [one.new for one in found[:3]] == [True, False, False]


def test_an_alarm_that_did_not_hold_is_said() -> None:
    verdict = load([GOOD] * 20 + [BAD, GOOD])
    assert verdict.kind is VerdictKind.SAME
    assert f"the alarm of {day(20)} did not hold" in verdict.words


def test_the_same_app_build_is_said_and_what_else_changed() -> None:
    slow = replace(BAD, columns={**GOOD.columns, "device_os_version": "18.6"})
    verdict = load([GOOD] * 20 + [slow])
    assert "with the same app build" in verdict.words
    assert "iOS 18.5 → 18.6" in verdict.words


def test_an_improvement_is_news_for_a_week() -> None:
    fast = SimulatedNight({"load_ns": 0.8})
    assert load([GOOD] * 20 + [fast] * 3).kind is VerdictKind.IMPROVED
    assert load([GOOD] * 20 + [fast] * 15).kind is VerdictKind.SAME


def test_a_new_engine_is_a_line_and_no_regression() -> None:
    new = replace(BAD, columns={"engine_version": "0.19.0"})
    verdict = load([GOOD] * 20 + [new] * 5)
    assert verdict.kind is VerdictKind.INCOMPARABLE
    assert "engine version 0.18.1 → 0.19.0; 5 of 6 nights" in verdict.words
    assert verdict.shift == pytest.approx(0.2, abs=0.02), "told, and not judged"
    assert load([GOOD] * 20 + [new] * 6).kind is VerdictKind.SAME
    slower = replace(new, factors={"load_ns": 1.5})
    again = load([GOOD] * 20 + [new] * 8 + [slower])
    assert (again.kind, again.since) == (VerdictKind.REGRESSED, day(28)), "within its own segment"


def test_noise_that_hides_is_a_verdict() -> None:
    verdict = load([GOOD] * 30, history=SimulatedHistory(noise=0.2))
    assert verdict.kind is VerdictKind.NOISY
    assert "would be seen" in verdict.words


def test_missing_is_a_verdict_with_its_reason() -> None:
    others = list(SimulatedHistory(case="other").records([GOOD] * 21))
    assert load([GOOD] * 5).words.startswith("5 of 6 nights")
    gone = load([GOOD] * 20 + [None], beside=others)
    assert (gone.kind, gone.words) == (VerdictKind.MISSING, f"it did not run tonight, last on {day(19)}")
    lost = verdicts([GOOD] * 20 + [SimulatedNight(outcomes=("lost",) * 5)])
    assert {one.kind for one in lost.values()} == {VerdictKind.MISSING}
    assert "say nothing about the model (5 × lost)" in lost[OUTCOME].words
    short = load([GOOD] * 20 + [replace(GOOD, outcomes=("loaded",) * 3)])
    assert (short.kind, short.words[:18]) == (VerdictKind.MISSING, "3 of 5 trials toni")
    assert load([GOOD] * 5).kind is VerdictKind.MISSING


def test_fewer_trials_may_be_enough() -> None:
    three = replace(GOOD, outcomes=("loaded",) * 3)
    assert load([three] * 20).kind is VerdictKind.MISSING
    assert load([three] * 20, options=VerdictOptions(min_trials=3)).kind is VerdictKind.SAME


def test_a_short_night_is_no_alarm_alone_and_a_standing_one_stays() -> None:
    short = replace(BAD, outcomes=("loaded",) * 2)
    assert load([GOOD] * 20 + [short]).kind is VerdictKind.MISSING
    assert load([GOOD] * 20 + [BAD] * 6 + [short]).kind is VerdictKind.REGRESSED
    others = list(SimulatedHistory(case="other").records([GOOD] * 27))
    silent = load([GOOD] * 20 + [BAD] * 6 + [None], beside=others)
    assert silent.kind is VerdictKind.REGRESSED
    assert "did not run tonight" in silent.words
    assert not silent.new


def test_a_suite_that_did_not_run_and_a_case_that_is_gone() -> None:
    assert load([GOOD] * 20, as_of=day(22)).kind is VerdictKind.MISSING
    others = list(SimulatedHistory(case="other").records([GOOD] * 40))
    assert not verdicts([GOOD] * 20, beside=others), "gone for weeks"


def test_loaded_and_now_dies_is_the_loudest() -> None:
    others = list(SimulatedHistory(case="other", seed=2).records([GOOD] * 20 + [BAD]))
    found = judge(frame_of([*SimulatedHistory().records([GOOD] * 20 + [DEAD]), *others]))
    assert (found[0].series.metric, found[0].kind, found[0].new) == (OUTCOME, VerdictKind.REGRESSED, True)
    assert (found[0].before, found[0].after, found[0].since) == ("loaded", "bad_alloc", day(20))
    assert found[1].series.case == "other"
    figures = [one for one in found if one.series.case != "other" and one.series.metric != OUTCOME]
    assert {one.kind for one in figures} == {VerdictKind.MISSING}
    assert all(one.recent[-1] is None for one in figures), "no figure is None, never 0"


def test_died_and_now_loads_is_news() -> None:
    verdict = outcome([DEAD] * 10 + [GOOD])
    assert (verdict.kind, verdict.new, verdict.since) == (VerdictKind.IMPROVED, True, day(10))
    assert outcome([DEAD] * 10 + [GOOD] * 9).kind is VerdictKind.SAME


def test_a_gpu_that_became_a_cpu() -> None:
    gpu = {"backend_requested": "gpu", "backend_effective": "gpu"}
    fell = SimulatedNight(outcomes=("fell_back",) * 5, columns={**gpu, "backend_effective": "cpu"})
    verdict = outcome([SimulatedNight(columns=gpu)] * 8 + [fell])
    assert (verdict.kind, verdict.before, verdict.after) == (VerdictKind.REGRESSED, "loaded", "fell_back")
    assert "backend gpu → cpu" in verdict.words


def test_a_death_among_loads_is_noisy_with_its_share() -> None:
    verdict = outcome([GOOD] * 10 + [replace(GOOD, outcomes=("loaded",) * 4 + ("jetsam",))])
    assert verdict.kind is VerdictKind.NOISY
    assert "1 of 5 jetsam" in verdict.words


def test_a_case_that_loads_and_dies_by_turns_is_noisy() -> None:
    verdict = outcome([GOOD] * 10 + [DEAD, GOOD, DEAD])
    assert verdict.kind is VerdictKind.NOISY
    assert "by turns" in verdict.words


def test_a_death_with_a_new_engine_is_loud_and_no_regression() -> None:
    dead = replace(DEAD, columns={"engine_version": "0.19.0"})
    verdict = outcome([GOOD] * 10 + [dead])
    assert (verdict.kind, verdict.loud) == (VerdictKind.INCOMPARABLE, True)
    assert "loaded → bad_alloc, engine version 0.18.1 → 0.19.0" in verdict.words


def test_two_phones_side_by_side_have_a_verdict_each() -> None:
    old = SimulatedHistory().records([GOOD] * 12)
    new = SimulatedHistory(seed=5, columns={"device_os_version": "26.0"}).records([GOOD] * 11 + [BAD])
    frame = frame_of([*old, *(replace(one, trial_id=f"n{one.trial_id}") for one in new)])
    found = [one for one in judge(frame) if one.series.metric == "load_ns"]
    assert [(one.segment, one.kind) for one in found] == [("iOS 26", "regressed"), ("iOS 18", "same")]


SERIES = "virtual/iPhone17,1/simulated/tiny/litert_lm/cpu/cold:load_ns"
REGRESSED = [GOOD] * 20 + [BAD] * 6


def said(state: TriageState, night: int = 25, first_bad: int = 21) -> list[Triage]:
    # in the forenoon after the night, which belongs to it
    at = datetime(2026, 1, 1, 9, tzinfo=UTC) + timedelta(days=night + 1)
    return [Triage(SERIES, day(first_bad), state, "because", "somebody", at)]


def test_what_is_acknowledged_is_no_alarm_any_more() -> None:
    verdict = load(REGRESSED, triage=said(TriageState.ACKNOWLEDGED))
    assert (verdict.kind, verdict.is_open) == (VerdictKind.REGRESSED, False)
    assert "acknowledged by somebody: because" in verdict.words
    assert load(REGRESSED, triage=said(TriageState.ACKNOWLEDGED, first_bad=10)).is_open, "of another change"
    both = [*said(TriageState.ACKNOWLEDGED), *said(TriageState.OPEN)]
    assert load(REGRESSED, triage=both).is_open, "the newest word counts"


def test_what_is_accepted_is_the_new_level() -> None:
    verdict = load(REGRESSED, triage=said(TriageState.WONT_FIX))
    assert verdict.kind is VerdictKind.SAME
    assert "accepted by somebody (because)" in verdict.words
    worse = SimulatedNight({"load_ns": 1.6})
    again = load([*REGRESSED, worse], triage=said(TriageState.WONT_FIX))
    assert (again.kind, again.since, again.is_open) == (VerdictKind.REGRESSED, day(26), True)


def test_what_is_fixed_must_show_it_within_three_nights() -> None:
    fixed = said(TriageState.FIXED)
    for later, is_open in ((0, False), (2, False), (3, True)):
        verdict = load(REGRESSED + [BAD] * later, triage=fixed)
        assert (verdict.kind, verdict.is_open) == (VerdictKind.REGRESSED, is_open), f"{later} nights later"
    assert "it is not" in verdict.words
    assert load(REGRESSED + [GOOD] * 6, triage=fixed).kind is VerdictKind.IMPROVED


def test_what_was_fixed_and_comes_again_is_open_and_said() -> None:
    verdict = load(REGRESSED + [GOOD] * 10 + [BAD], triage=said(TriageState.FIXED))
    assert (verdict.kind, verdict.is_open) == (VerdictKind.REGRESSED, True)
    assert "has it come back?" in verdict.words


def test_an_old_night_knows_nothing_of_what_was_said_later() -> None:
    triage = said(TriageState.ACKNOWLEDGED, night=24)
    assert load(REGRESSED, triage=triage, as_of=day(23)).is_open
    assert not load(REGRESSED, triage=triage, as_of=day(24)).is_open


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (ConfirmationResult.CONFIRMED, VerdictKind.REGRESSED),
        (ConfirmationResult.REFUTED, VerdictKind.NOISY),
        (ConfirmationResult.UNDECIDED, VerdictKind.REGRESSED),
        (ConfirmationResult.NOT_POSSIBLE, VerdictKind.REGRESSED),
    ],
)
def test_a_re_run_has_its_say(result: ConfirmationResult, kind: VerdictKind) -> None:
    note = Confirmation(SERIES, day(19), result, "of ten", None, datetime(2026, 2, 1, tzinfo=UTC))
    verdict = load(REGRESSED, confirmations=[note])
    assert verdict.kind is kind
    assert verdict.confirmation == note
    assert "of ten" in verdict.words
