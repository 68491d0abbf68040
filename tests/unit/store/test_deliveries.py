"""A host's own results: what is still to be delivered, and that only what was delivered goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.core.standing import Kept
from harness.store.database import ResultStore
from harness.store.deliveries import mark_delivered, old_deliveries, remove_old, undelivered
from harness.store.exchange.merge import merge
from harness.store.schema import deliveries
from tests.kept_trials import a_trial, keep_one

LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def files_of(store: ResultStore) -> set[str]:
    found = [*(store.folder / "telemetry").iterdir(), *(store.folder / "artifacts").iterdir()]
    return {path.name for path in found}


def test_what_is_done_is_to_be_delivered_oldest_first(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        records = [keep_one(store, a_trial(f"t-{number}")) for number in (3, 1, 2)]
        store.begin(a_trial("t-0"))
        oldest = sorted(records, key=lambda one: one.trial_id)
        assert undelivered(store) == oldest
        assert undelivered(store, limit=2) == oldest[:2]
        mark_delivered(store, "t-1", Kept.RESULT)
        mark_delivered(store, "t-3", Kept.EVIDENCE)
        assert undelivered(store) == [oldest[1]]


def test_the_first_word_of_the_hub_stays(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        keep_one(store, a_trial("t-1"))
        mark_delivered(store, "t-1", Kept.RESULT, at=LONG_AGO)
        mark_delivered(store, "t-1", "already")
        with store.reading() as connection:
            [row] = connection.execute(deliveries.select())
        assert tuple(row) == ("t-1", "2026-11-01T00:00:00.000+00:00", "result")
        with pytest.raises(ValueError, match="lost"):
            mark_delivered(store, "t-1", "lost")


def test_only_what_was_delivered_long_ago_goes(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        for trial_id in ("t-1", "t-2", "t-3"):
            keep_one(store, a_trial(trial_id), files=True)
        mark_delivered(store, "t-1", Kept.RESULT, at=LONG_AGO)
        mark_delivered(store, "t-2", Kept.RESULT, at=NOW)
        assert old_deliveries(store, NOW - timedelta(days=14)) == ["t-1"]
        assert remove_old(store, NOW - timedelta(days=14)) == ["t-1"]
        assert store.trial_ids() == ["t-2", "t-3"]
        assert files_of(store) == {"t-2.parquet", "t-3.parquet", "t-2", "t-3"}
        assert [one.trial_id for one in undelivered(store)] == ["t-3"]
        assert remove_old(store, NOW - timedelta(days=14)) == []


def test_a_removal_that_was_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ResultStore.open(tmp_path) as store:
        keep_one(store, a_trial("t-1"), files=True)
        mark_delivered(store, "t-1", Kept.RESULT, at=LONG_AGO)

        def dies(path: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("harness.store.deliveries.remove", dies)
        with pytest.raises(KeyboardInterrupt):
            remove_old(store, NOW)
        monkeypatch.undo()
        [half] = store.trials()
        # no row names what may be gone, and it is not delivered a second time
        assert (half.telemetry_file, half.artifacts_dir, half.files_removed_at is None) == (None, None, False)
        assert undelivered(store) == []
        assert remove_old(store, NOW) == ["t-1"]
        assert (store.trial_ids(), files_of(store)) == ([], set())


def test_deliveries_are_the_hosts_own_and_are_not_merged(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path / "host") as host, ResultStore.open(tmp_path / "other") as other:
        keep_one(host, a_trial("t-1"))
        mark_delivered(host, "t-1", Kept.RESULT)
        assert merge(other, host.address).added == ["t-1"]
        assert [one.trial_id for one in undelivered(other)] == ["t-1"]
