"""A run that is killed and resumed is complete in the end: the small version of tests/benchmarks/bench_resume.py."""

from __future__ import annotations

from pathlib import Path

from tests.functional.killed_runs import KilledRun


def test_a_run_killed_twice_and_resumed_has_each_trial_once(tmp_path: Path, models_cache: Path) -> None:
    run = KilledRun(tmp_path, trials=6, hold_ms=100, models_cache=models_cache)
    # within the first trial, and somewhere in the middle
    run.kill_after(1, 0.0)
    run.kill_after(6, 0.3)
    code, said = run.finish()
    assert code == 0, said
    assert "trials have been run" in said
    ledger = run.ledger()
    assert ledger.complete, ledger
    assert ledger.cut_short >= 1
    assert ledger.most_attempts >= 2
    replaced = [record for record in run.records() if record.cut_short]
    assert {record.outcome for record in replaced} == {"harness_error"}
    run.wait_until_gone()
