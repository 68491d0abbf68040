"""Several processes write at once, and processes are killed while they write: on both kinds of database.

Small versions of what `tests/benchmarks/bench_store.py` measures.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.store.address import parse_results
from harness.store.database import ResultStore
from tests.store_records import Acknowledged, commit_at_once

PROCESSES = 4
TRIALS = 30
KILLS = 4


@pytest.fixture(params=["sqlite", "postgresql"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path)
    return f"{request.getfixturevalue('postgresql_url')}?files={tmp_path}"


def test_four_processes_commit_at_once(results: str) -> None:
    assert commit_at_once(results, PROCESSES, TRIALS) == []
    with ResultStore.open(parse_results(results)) as store:
        assert len(store.trial_ids(state="done")) == PROCESSES * TRIALS
        assert store.claimed() == {}


def test_nothing_that_was_acknowledged_is_lost_by_kills(results: str) -> None:
    dice = random.Random(1)
    told = Acknowledged()
    for number in range(KILLS):
        told.write_and_kill(results, f"k{number}", dice.randint(5, 90))
    assert told.rows
    assert told.lost(results) == []
