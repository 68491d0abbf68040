"""What is said of changes is kept as it was said, and what nobody could have said is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.core.judgement import ConfirmationResult, TriageState
from harness.store.address import ResultsAddress, parse_results
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.schema import triage as triage_table
from harness.store.triage import MAX_CHARS, confirmations, keep_confirmation, keep_triage, triage_notes

SERIES = "virtual/iPhone17,1/smoke/tiny/litert_lm/cpu/cold:load_ns"
NIGHT = date(2026, 11, 22)


@pytest.fixture(params=["sqlite", "postgresql"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> ResultsAddress:
    if request.param == "sqlite":
        return ResultsAddress(tmp_path)
    return parse_results(f"{request.getfixturevalue('postgresql_url')}?files={tmp_path}")


def test_everything_said_is_there_in_the_order_in_which_it_was_said(results: ResultsAddress) -> None:
    with ResultStore.open(results) as store:
        first = keep_triage(store, SERIES, NIGHT, TriageState.ACKNOWLEDGED, " seen; #12 ", "somebody")
        second = keep_triage(store, SERIES, NIGHT, TriageState.FIXED, "by #13")
        run = keep_confirmation(store, SERIES, NIGHT, ConfirmationResult.CONFIRMED, "p = 0.001", "run-1")
        none = keep_confirmation(store, SERIES, NIGHT, ConfirmationResult.NOT_POSSIBLE, "no such build", None)
    with ResultStore.open_existing(results) as store:
        assert triage_notes(store) == [first, second]
        assert confirmations(store) == [run, none]
    assert first.reason == "seen; #12"
    assert second.author, "the login name"
    assert first.at.tzinfo is not None


def test_a_remark_needs_words_and_not_too_many(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for reason in (" ", "x" * (MAX_CHARS + 1)):
            with pytest.raises(UsageError, match="reason"):
                keep_triage(store, SERIES, NIGHT, TriageState.FIXED, reason, "somebody")
        assert triage_notes(store) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "perhaps"},
        {"first_bad": "soon"},
        {"at": "2026-11-22T10:00:00"},
        {"first_bad": b"1"},
        {"author": b"\xff"},
    ],
)
def test_a_row_of_another_program_is_named(tmp_path: Path, wrong: dict[str, object]) -> None:
    right = {
        "series": SERIES,
        "first_bad": "2026-11-22",
        "state": "fixed",
        "reason": "by #13",
        "author": "somebody",
        "at": datetime(2026, 11, 22, tzinfo=UTC).isoformat(),
    }
    with ResultStore.open(tmp_path) as store:
        with store.writing() as connection:
            connection.execute(triage_table.insert().values({**right, **wrong}))
        with pytest.raises(StoreError, match="table triage, row 1"):
            triage_notes(store)
