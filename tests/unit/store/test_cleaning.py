"""What a results folder holds that no record names; files of running trials and of records are never touched."""

from __future__ import annotations

import errno
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.store.address import ResultsAddress, parse_results
from harness.store.cleaning import Leftover, Why, find_leftovers, remove_leftovers
from harness.store.database import ResultStore
from harness.store.neighbours import note_server, servers
from tests.kept_trials import READINGS, a_trial, keep, keep_one

LONG_AGO = "2020-01-01T00:00:00+00:00"
FAR_AHEAD = "2999-01-01T00:00:00+00:00"
DAY = timedelta(days=1)


def told(leftovers: list[Leftover]) -> dict[str, Why]:
    return {one.path.as_posix(): one.why for one in leftovers}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trial of each kind, with its files: one of long ago, one of the far future, for it has to stay."""
    keep(
        tmp_path,
        a_trial("old", started_at=LONG_AGO),
        a_trial("new", started_at=FAR_AHEAD),
        files=True,
    )
    return tmp_path


def test_what_records_name_stays(folder: Path) -> None:
    with ResultStore.open(folder) as store:
        assert find_leftovers(store) == remove_leftovers(store) == []


def test_orphans_are_listed_and_then_removed(folder: Path) -> None:
    expected = {
        "artifacts/gone": Why.NO_RECORD,
        "artifacts/old.part": Why.HALF_WRITTEN,
        "telemetry/gone.parquet": Why.NO_RECORD,
        "telemetry/gone.arrows": Why.NO_RECORD,
        "telemetry/old.arrows": Why.SPENT,
        "telemetry/old.arrows.broken": Why.BROKEN,
        "telemetry/old.parquet.part": Why.HALF_WRITTEN,
    }
    for name in expected:
        if name.startswith("artifacts/"):
            (folder / name).mkdir()
            (folder / name / "stderr.txt").write_text("12345")
        else:
            (folder / name).write_text("12345")
    with ResultStore.open(folder) as store:
        found = find_leftovers(store)
        assert told(found) == expected
        assert sum(one.size_bytes for one in found) == 5 * len(expected)
        assert all((folder / name).exists() for name in expected), "listing removes nothing"
        assert remove_leftovers(store) == found
        assert not any((folder / name).exists() for name in expected)
        assert find_leftovers(store) == []
        assert [record.telemetry_file for record in store.trials()] == [
            "telemetry/new.parquet",
            "telemetry/old.parquet",
        ]


def test_files_of_running_trials_stay(folder: Path) -> None:
    with ResultStore.open(folder) as store, ResultStore.open(folder) as cleaner:
        store.begin(a_trial("run", started_at=LONG_AGO, state="running", outcome=None))
        (store.artifacts_dir("run") / "stderr.txt").write_text("x")
        (folder / "telemetry/run.parquet.part").write_text("half")
        with store.spool("run") as spool:
            spool.append(READINGS)
            assert told(remove_leftovers(cleaner, DAY)).keys() == {"artifacts/old", "telemetry/old.parquet"}
            spool.append(READINGS)
        assert store.finish(a_trial("run", started_at=LONG_AGO)).telemetry_file is not None


def test_old_trials_keep_their_records(folder: Path) -> None:
    with ResultStore.open(folder) as store:
        removed = remove_leftovers(store, DAY)
        assert {(one.path.as_posix(), one.why, one.trial_id) for one in removed} == {
            ("artifacts/old", Why.OLD_TRIAL, "old"),
            ("telemetry/old.parquet", Why.OLD_TRIAL, "old"),
        }
        new, old = store.trials()
        assert (old.telemetry_file, old.artifacts_dir) == (None, None)
        assert old.files_removed_at is not None
        assert new.files_removed_at is None
        assert (folder / str(new.telemetry_file)).is_file()
        assert not (folder / "telemetry/old.parquet").exists()
        assert remove_leftovers(store, DAY) == []


def test_a_link_is_removed_and_not_what_it_leads_to(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "kept").write_text("kept")
    (folder / "artifacts/link").symlink_to(elsewhere)
    with ResultStore.open(folder) as store:
        (one,) = remove_leftovers(store)
    assert (one.path.as_posix(), one.size_bytes) == ("artifacts/link", 0)
    assert (elsewhere / "kept").exists()


def test_a_folder_on_another_disk_is_no_leftover(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    disk = tmp_path_factory.mktemp("disk")
    (folder / "telemetry").rename(disk / "telemetry")
    (folder / "telemetry").symlink_to(disk / "telemetry")
    with ResultStore.open(folder) as store:
        assert find_leftovers(store) == []


def test_pictures_of_a_report_that_was_never_finished(folder: Path) -> None:
    report = folder / "report"
    ages_h = {"index.html": 3, "drawn.svg": 4, "cut.svg": 2, "cut.png": 2, "being-drawn.svg": 0}
    for name, age_h in ages_h.items():
        (report / name).write_text("x")
        at = time.time() - age_h * 3600
        os.utime(report / name, (at, at))
    with ResultStore.open(folder) as store:
        assert told(remove_leftovers(store)) == dict.fromkeys(("report/cut.png", "report/cut.svg"), Why.OLD_PICTURE)
        (report / "index.html").unlink()
        assert told(find_leftovers(store)) == {"report/drawn.svg": Why.OLD_PICTURE}


def test_a_reader_removes_nothing(folder: Path) -> None:
    (folder / "telemetry/gone.parquet").write_text("x")
    with ResultStore.open_existing(folder) as store:
        assert len(find_leftovers(store)) == 1


def test_a_folder_of_two_databases(folder: Path, postgresql_url: str) -> None:
    # `old` and `new` are in the folder's own runs.db, `far` on the server
    farm = parse_results(f"{postgresql_url}?files={folder}")
    with ResultStore.open(farm) as store:
        keep_one(store, a_trial("far", started_at=LONG_AGO), files=True)
        assert told(find_leftovers(store)) == {}
        assert told(find_leftovers(store, DAY)).keys() == {"artifacts/far", "telemetry/far.parquet"}
    with (
        ResultStore.open(ResultsAddress(folder)) as own,
        pytest.raises(UsageError, match="files of records in postgresql://"),
    ):
        remove_leftovers(own, DAY)
    assert (folder / "telemetry/far.parquet").exists()
    password = postgresql_url.split(":")[2].partition("@")[0]
    assert password not in (folder / ".servers").read_text()


def test_one_that_is_killed_forgets_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_server(ResultsAddress(tmp_path, "postgresql://host/first"))

    def full(path: Path, text: str, **_: object) -> None:
        path.write_bytes(b"")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        note_server(ResultsAddress(tmp_path, "postgresql://host/second"))
    assert servers(tmp_path) == ["postgresql://host/first"]
