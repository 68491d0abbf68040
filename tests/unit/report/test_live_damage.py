"""What is under way, from a database into which something else has written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harness.report.live import progress
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from tests.store_records import a_record


@pytest.mark.parametrize(
    ("column", "value"),
    [("ordinal", "x"), ("run_id", b"\xff"), ("finished_at", b"\xff"), ("device_settings", b"\xff"), ("load_ns", 1.5)],
)
def test_a_value_that_no_harness_writes_is_told_by_name(tmp_path: Path, column: str, value: object) -> None:
    with ResultStore.open(tmp_path) as store:
        for number in range(2):
            store.finish(store.begin(a_record(f"trial-{number}", finished_at="2026-11-22T03:00:00+00:00")))
    database = sqlite3.connect(tmp_path / "runs.db")
    with database:
        database.execute(f"update trials set {column} = ? where trial_id = 'trial-1'", (value,))
    database.close()
    with ResultStore.open_existing(tmp_path) as store, pytest.raises(StoreError, match=f"trial-1: {column} is"):
        progress(store)
