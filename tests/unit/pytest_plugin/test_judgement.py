"""What a baseline makes of a session, without a phone: SIMULATED records in a store of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.compare_words import RecordedSide, read_side
from harness.pytest_plugin.judgement import FailOn, SessionJudge
from harness.store.address import ResultsAddress
from harness.store.database import ResultStore
from harness.store.schema import record_to_row, trials
from tests.simulated_nights import FIRST_NIGHT, SimulatedHistory, SimulatedNight


@pytest.mark.parametrize("asked", [(), (FailOn.REGRESSION,), (FailOn.MISSING,)])
def test_a_baseline_of_other_cases_is_no_pass(tmp_path: Path, asked: tuple[FailOn, ...]) -> None:
    histories = SimulatedHistory(case="old", suite="before"), SimulatedHistory(case="new", suite="now")
    records = [record for history in histories for record in history.records([SimulatedNight()])]
    with ResultStore.open(tmp_path) as store, store.writing() as connection:
        connection.execute(trials.insert(), [record_to_row(record) for record in records])
    before, now = (f"{FIRST_NIGHT:%Y%m%d}-{name}" for name in ("before", "now"))
    baseline = read_side(f"run:{before}", tmp_path)
    assert isinstance(baseline, RecordedSide)
    judged = SessionJudge(frozenset(asked), baseline).judge(ResultsAddress(tmp_path), [now])
    assert judged is not None
    said = [words for words in judged.failing if "nothing was judged" in words]
    assert said == (
        [f"run {before}: no case of this session is in the baseline, so nothing was judged"] if asked else []
    )


@pytest.mark.parametrize(("asked", "fails"), [(FailOn.REGRESSION, False), (FailOn.MISSING, True)])
def test_one_night_is_too_little_to_judge_by(tmp_path: Path, asked: FailOn, fails: bool) -> None:
    with ResultStore.open(tmp_path) as store, store.writing() as connection:
        records = list(SimulatedHistory().records([SimulatedNight()]))
        connection.execute(trials.insert(), [record_to_row(record) for record in records])
    judged = SessionJudge(frozenset([asked]), None).judge(ResultsAddress(tmp_path), [records[0].run_id])
    assert judged is not None
    assert any("1 of 6 nights that a level takes" in cell for row in judged.rows for cell in row)
    assert bool(judged.failing) is fails
