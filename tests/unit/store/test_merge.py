"""Other results into these: everything comes along, nothing is overwritten, and no path leads out of its folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from harness.core.errors import UsageError
from harness.store.address import DATABASE_NAME, ResultsAddress, parse_results
from harness.store.database import ResultStore
from harness.store.exchange.errors import ExchangeError
from harness.store.exchange.incoming import read_file, take_in
from harness.store.exchange.merge import Merged, merge
from harness.store.exchange.outgoing import Format, write_file
from harness.store.schema import triage
from harness.store.telemetry import read_parquet
from tests.kept_trials import READINGS, a_trial, keep, keep_one

OLD_RESULTS = Path(__file__).parents[2] / "fixtures" / "results"


def merged(into: Path | ResultsAddress, other: Path | ResultsAddress) -> Merged:
    address = other if isinstance(other, ResultsAddress) else ResultsAddress(other)
    with ResultStore.open(into) as store:
        return merge(store, address)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a results folder but the database's own."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return {name: (folder / name).read_bytes() for name in names if name.startswith(("telemetry/", "artifacts/"))}


def change_row(folder: Path, column: str, value: object) -> None:
    connection = sqlite3.connect(folder / DATABASE_NAME)
    connection.execute(f"UPDATE trials SET {column} = ?", (value,))
    connection.commit()
    connection.close()


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Two trials with their files."""
    keep(tmp_path / "other", a_trial("t-1"), a_trial("t-2", load_ns=0), files=True)
    return tmp_path / "other"


def test_everything_comes_along_and_a_second_time_nothing(tmp_path: Path, other: Path) -> None:
    suites = other / "suites"
    suites.mkdir()
    (suites / "0123456789ab.toml").write_text("name = 'x'")
    change_row(other, "suite_digest", "0123456789ab")
    with ResultStore.open(other) as store, store.writing() as connection:
        said = {"series": "s", "first_bad": "n", "state": "fixed", "reason": "r", "author": "a", "at": "t"}
        connection.execute(triage.insert().values(said))
    keep(tmp_path / "here", a_trial("t-0"))
    first = merged(tmp_path / "here", other)
    again = merged(tmp_path / "here", other)
    assert (first.added, first.skipped, first.remarks) == (["t-1", "t-2"], [], 1)
    assert (again.added, again.skipped, again.remarks, again.copied_bytes) == ([], ["t-1", "t-2"], 0, 0)
    assert contents(tmp_path / "here") == contents(other)
    assert first.copied_bytes == sum(map(len, contents(other).values()))
    assert (tmp_path / "here/suites/0123456789ab.toml").read_text() == "name = 'x'"
    with ResultStore.open(other) as theirs, ResultStore.open(tmp_path / "here") as ours:
        expected = [replace(record, origin=str(other)) for record in theirs.trials()]
        assert ours.trials(trial_id=["t-1", "t-2"]) == expected
        assert len(read_parquet(tmp_path / "here" / str(expected[0].telemetry_file))) == len(READINGS)
        with ours.reading() as connection:
            assert len(connection.execute(select(triage)).all()) == 1


def test_a_trial_that_differs_stops_the_merge_before_anything_is_copied(tmp_path: Path, other: Path) -> None:
    keep(tmp_path / "here", a_trial("t-2", load_ns=5))
    with pytest.raises(ExchangeError, match=r"t-2 \(load_ns\); nothing was taken"):
        merged(tmp_path / "here", other)
    assert contents(tmp_path / "here") == {}
    with ResultStore.open(tmp_path / "here") as store:
        assert store.trial_ids() == ["t-2"]


def test_results_are_not_merged_into_themselves(other: Path) -> None:
    with pytest.raises(UsageError, match="is what it would be merged into"):
        merged(other, other / ".." / "other")
    with pytest.raises(UsageError, match="holds no results"):
        merged(other, other / "none")


def test_running_trials_are_left_out(tmp_path: Path, other: Path) -> None:
    with ResultStore.open(other) as store:
        store.begin(a_trial("t-3", state="running", outcome=None))
        assert merged(tmp_path / "here", other).running == ["t-3"]
    with ResultStore.open(tmp_path / "here") as store:
        assert store.trial_ids() == ["t-1", "t-2"]


def test_the_other_results_are_only_read(tmp_path: Path, other: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in other.rglob("*") if path.is_file()}
    merged(tmp_path / "here", other)
    helpers = (f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm")
    after = {path: path.stat().st_mtime_ns for path in other.rglob("*") if path.is_file() and path.name not in helpers}
    assert after == {path: at for path, at in before.items() if path.name not in helpers}


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "telemetry/../../secret", "telemetry/link", "", "a\0b"])
def test_rows_lead_nowhere_else(tmp_path: Path, other: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (other / "telemetry" / "link").symlink_to(tmp_path / "secret")
    change_row(other, "telemetry_file", path or ".")
    done = merged(tmp_path / "here", other)
    assert done.without_files == ["t-1", "t-2"]
    with ResultStore.open(tmp_path / "here") as store:
        assert [record.telemetry_file for record in store.trials()] == [None, None]
    assert b"secret" not in b"".join(contents(tmp_path / "here").values())
    assert not any(name.startswith("telemetry/") for name in contents(tmp_path / "here"))


def test_links_and_pipes_among_artifacts_stay_where_they_are(tmp_path: Path, other: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for link, target in (("file", tmp_path / "secret"), ("folder", tmp_path)):
        (other / "artifacts" / "t-1" / link).symlink_to(target)
    os.mkfifo(other / "artifacts" / "t-1" / "pipe")
    merged(tmp_path / "here", other)
    kept = sorted(path.name for path in (tmp_path / "here" / "artifacts" / "t-1").rglob("*"))
    assert kept == ["crash.ips", "reports", "stderr.txt"]


def test_hostile_rows_are_refused_in_plain_words(tmp_path: Path, other: Path) -> None:
    change_row(other, "outcome", "melted")
    with pytest.raises(ExchangeError, match="outcome is 'melted'"):
        merged(tmp_path / "here", other)
    assert contents(tmp_path / "here") == {}


def test_a_merge_that_was_cut_short_goes_on(tmp_path: Path, other: Path) -> None:
    here = tmp_path / "here"
    (here / "artifacts" / "t-1.part" / "old").mkdir(parents=True)
    (here / "artifacts" / "t-1" / "half").mkdir(parents=True)
    (here / "telemetry").mkdir()
    (here / "telemetry" / "t-1.parquet").write_bytes(b"half")
    assert merged(here, other).added == ["t-1", "t-2"]
    assert contents(here) == contents(other)


def test_a_trial_that_came_by_a_file_gets_its_telemetry_later(tmp_path: Path, other: Path) -> None:
    with ResultStore.open(other) as store:
        write_file(tmp_path / "x.json", store.trials(), Format.JSON)
    with ResultStore.open(tmp_path / "here") as store:
        take_in(store, read_file(tmp_path / "x.json"))
    done = merged(tmp_path / "here", other)
    assert (done.completed, done.skipped, done.added) == (["t-1", "t-2"], ["t-1", "t-2"], [])
    assert contents(tmp_path / "here") == contents(other)
    with ResultStore.open(tmp_path / "here") as store:
        assert [record.telemetry_file for record in store.trials()] == [
            "telemetry/t-1.parquet",
            "telemetry/t-2.parquet",
        ]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_results_of_an_older_version(tmp_path: Path, version: int) -> None:
    if not (OLD_RESULTS / f"v{version}").is_dir():
        pytest.skip("no such fixture")
    old = tmp_path / "old"
    shutil.copytree(OLD_RESULTS / f"v{version}", old)
    before = (old / DATABASE_NAME).read_bytes()
    done = merged(tmp_path / "here", old)
    assert len(done.added) > 1
    assert (old / DATABASE_NAME).read_bytes() == before, "theirs stays of its version"
    with ResultStore.open(tmp_path / "here") as store:
        for record in store.trials():
            assert record.origin == str(old)
            assert record.telemetry_file is None or len(read_parquet(store.telemetry_path(record.trial_id)))


def test_a_farm_begins_with_the_results_of_one_host(tmp_path: Path, other: Path, postgresql_url: str) -> None:
    farm = parse_results(f"{postgresql_url}?files={tmp_path / 'shared'}")
    first = merged(farm, other)
    again = merged(farm, other)
    assert (first.added, again.skipped) == (["t-1", "t-2"], ["t-1", "t-2"])
    assert contents(tmp_path / "shared") == contents(other)
    with ResultStore.open(other) as theirs, ResultStore.open_existing(farm) as ours:
        assert ours.trials() == [replace(record, origin=str(other)) for record in theirs.trials()]
    back = merged(tmp_path / "copy", farm)
    assert back.added == ["t-1", "t-2"]
    password = farm.url.split(":")[2].partition("@")[0] if farm.url is not None else ""
    with ResultStore.open(tmp_path / "copy") as store:
        assert all(password not in str(record.origin) for record in store.trials())


def test_a_database_moves_to_a_server_and_its_files_stay(tmp_path: Path, other: Path, postgresql_url: str) -> None:
    before = contents(other)
    done = merged(parse_results(f"{postgresql_url}?files={other}"), other)
    assert (done.added, done.copied_bytes, done.without_files) == (["t-1", "t-2"], 0, [])
    assert contents(other) == before


def test_merging_beside_a_run(tmp_path: Path, other: Path) -> None:
    with ResultStore.open(tmp_path / "here") as store:
        running = store.begin(a_trial("t-9", state="running", outcome=None))
        merged(tmp_path / "here", other)
        store.finish(replace(running, outcome="loaded", outcome_family="measured"))
        keep_one(store, a_trial("t-10"))
        assert store.trial_ids() == ["t-1", "t-10", "t-2", "t-9"]
