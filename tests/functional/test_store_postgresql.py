"""Results in PostgreSQL: the whole way, several hosts on one database, and every way a server can be absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from harness.core.errors import UsageError
from harness.core.telemetry import Reading, Source
from harness.store.address import ResultsAddress, parse_results
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.salvage import salvage
from harness.store.telemetry import read_parquet
from tests.postgresql import USER, PostgresqlServer
from tests.store_records import a_record

PROCESS_LIMIT_S = 300

SUITE = """
name = "central"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
caches = ["none"]
[options]
trials = 1
max_tokens = 64
decode_tokens = 1
"""
READINGS = [Reading(Source.APP, number, number, footprint_bytes=number) for number in range(10)]


@pytest.fixture
def address(postgresql_url: str, tmp_path: Path) -> ResultsAddress:
    return ResultsAddress(tmp_path / "files", postgresql_url)


@pytest.fixture
def desk(tmp_path: Path, models_cache: Path) -> dict[str, str]:
    """Environment of commands: caches and phones in this test's folders."""
    (tmp_path / "suite.toml").write_text(SUITE)
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(models_cache)}
    environment.pop("USBMUXD_SOCKET_ADDRESS", None)
    return environment


def command(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
    )


def test_the_whole_way(postgresql_url: str, tmp_path: Path, desk: dict[str, str]) -> None:
    results = f"--results={postgresql_url}?files={tmp_path / 'files'}"
    plan = command(desk, tmp_path, "plan", "suite.toml", "--device=virtual", results, "--json")
    assert plan.returncode == 0, plan.stderr
    assert not (tmp_path / "files").exists()

    run = command(desk, tmp_path, "run", "suite.toml", "--device=virtual", results)
    assert run.returncode == 0, run.stderr
    with ResultStore.open_existing(ResultsAddress(tmp_path / "files", postgresql_url)) as store:
        [record] = store.trials()
    assert (record.outcome, record.state) == ("loaded", "done")
    telemetry = read_parquet(tmp_path / "files" / str(record.telemetry_file))
    assert (telemetry["source"] == Source.APP.value).sum() == record.sample_count
    assert not (tmp_path / "files" / "runs.db").exists()

    explained = command(desk, tmp_path, "explain", "last", results, "--json")
    assert explained.returncode == 0, explained.stderr
    assert json.loads(explained.stdout)["trial"]["trial_id"] == record.trial_id
    report = command(desk, tmp_path, "report", results)
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "files/report/index.html").is_file()
    password = urlsplit(postgresql_url).password
    assert password is not None
    for done in (plan, run, explained, report):
        assert password not in done.stdout + done.stderr
    assert password not in (tmp_path / "files/report/index.html").read_text()


def test_each_host_salvages_what_grows_in_its_own_folder(address: ResultsAddress, tmp_path: Path) -> None:
    elsewhere = ResultsAddress(tmp_path / "other", address.url)
    with ResultStore.open(address) as here, ResultStore.open(elsewhere) as there:
        for store, trial_id in ((here, "t-here"), (there, "t-there")):
            store.begin(a_record(trial_id))
            with store.spool(trial_id) as spool:
                spool.append(READINGS)
    # neither process holds its lock any more
    with ResultStore.open(address) as here:
        [mine] = salvage(here)
        assert salvage(here) == []
        assert {record.trial_id: record.state for record in here.trials()} == {"t-here": "done", "t-there": "running"}
    assert (mine.trial_id, mine.sample_count) == ("t-here", len(READINGS))
    with ResultStore.open(elsewhere) as there:
        [other] = salvage(there)
    assert (other.trial_id, other.sample_count) == ("t-there", len(READINGS))
    assert len(read_parquet(tmp_path / "other" / str(other.telemetry_file))) == len(READINGS)


def test_an_id_is_taken_once_whoever_asks(address: ResultsAddress, tmp_path: Path) -> None:
    with ResultStore.open(address) as here, ResultStore.open(ResultsAddress(tmp_path / "other", address.url)) as there:
        here.begin(a_record("t-1"))
        with pytest.raises(StoreError, match="begun before"):
            there.begin(a_record("t-1"))


def test_a_connection_that_was_lost_between_two_trials_is_made_anew(
    address: ResultsAddress, postgresql_server: PostgresqlServer
) -> None:
    with ResultStore.open(address) as store:
        store.begin(a_record("t-1"))
        store.finish(a_record("t-1"), READINGS)
        postgresql_server.sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_of(address)}'"
        )
        store.begin(a_record("t-2"))
        assert store.trial_ids() == ["t-1", "t-2"]


def test_a_server_that_goes_away_is_named_and_the_trial_is_closed_when_it_is_back(
    address: ResultsAddress, postgresql_server: PostgresqlServer
) -> None:
    with ResultStore.open(address) as store:
        store.begin(a_record("t-1"))
        postgresql_server.stop()
        try:
            with pytest.raises(StoreError, match=r"127\.0\.0\.1.*is the server there") as caught:
                store.finish(a_record("t-1"), READINGS)
        finally:
            postgresql_server.start()
        assert postgresql_server.password not in str(caught.value)
    with ResultStore.open(address) as store:
        [record] = salvage(store)
    assert record.sample_count == len(READINGS)


def database_of(address: ResultsAddress) -> str:
    return urlsplit(str(address.url)).path.lstrip("/")


def trouble(url: str, tmp_path: Path) -> str:
    said = []
    for way in (ResultStore.open, ResultStore.open_existing):
        with pytest.raises(StoreError) as caught:
            way(ResultsAddress(tmp_path, url))
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert said[0].startswith("postgresql://")
    assert "\n" not in said[0]
    return said[0]


def test_a_wrong_password(address: ResultsAddress, postgresql_server: PostgresqlServer, tmp_path: Path) -> None:
    assert address.url is not None
    said = trouble(address.url.replace(postgresql_server.password, "wr0ng-s3cret"), tmp_path)
    assert "password authentication failed" in said
    assert "PGPASSWORD" in said
    assert "wr0ng" not in said
    said = trouble(address.url.replace(f":{postgresql_server.password}", ""), tmp_path)
    assert "PGPASSWORD" in said


def test_no_such_database_user_or_server(postgresql_server: PostgresqlServer, tmp_path: Path) -> None:
    url = postgresql_server.url("absent")
    assert "createdb" in trouble(url, tmp_path)
    # a server does not tell a stranger whether there is such a user
    assert "PGPASSWORD" in trouble(url.replace(f"{USER}:", "nobody-here:"), tmp_path)
    nowhere = url.replace(f":{postgresql_server.port}/", ":1/")
    said = trouble(nowhere, tmp_path)
    assert "is the server there" in said
    assert f"{USER}@127.0.0.1:1/absent" in said
    assert postgresql_server.password not in said


def test_no_right_to_make_tables_or_to_write(
    address: ResultsAddress, postgresql_server: PostgresqlServer, tmp_path: Path
) -> None:
    name = f"guest_{database_of(address)}"
    postgresql_server.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'guest'")
    assert address.url is not None
    guest = ResultsAddress(tmp_path, address.url.replace(f"{USER}:{postgresql_server.password}@", f"{name}:guest@"))
    with pytest.raises(StoreError, match=r"permission denied for schema public.*GRANT"):
        ResultStore.open(guest)
    ResultStore.open(address).close()
    with pytest.raises(StoreError, match=r"permission denied for table.*GRANT"):
        ResultStore.open_existing(guest)
    postgresql_server.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}", database=database_of(address))
    with ResultStore.open_existing(guest) as store:
        assert store.trials() == []
    with (
        ResultStore.open(guest) as store,
        pytest.raises(StoreError, match=r"permission denied for table trials.*GRANT"),
    ):
        store.begin(a_record("t-1"))


def test_results_in_a_schema_of_their_own(address: ResultsAddress, tmp_path: Path) -> None:
    assert address.url is not None
    with psycopg.connect(address.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA harness")
    text = f"{address.url}?files={tmp_path / 'files'}&options=-csearch_path%3Dharness"
    for _ in range(2):
        with ResultStore.open(parse_results(text)):
            pass
    with ResultStore.open_existing(parse_results(text)) as store:
        assert store.trials() == []
    with psycopg.connect(address.url) as connection:
        [found] = connection.execute("SELECT to_regclass('public.meta'), to_regclass('harness.meta')").fetchall()
    assert found == (None, "harness.meta")


def test_an_unknown_setting_in_the_url(address: ResultsAddress, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="colour"):
        ResultStore.open(ResultsAddress(tmp_path, f"{address.url}?colour=red"))


def test_without_the_driver_the_command_says_how_to_get_it(
    address: ResultsAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'iphone-load-harness\[postgresql\]'"):
        ResultStore.open(address)


def test_a_newer_database_is_left_untouched(address: ResultsAddress) -> None:
    ResultStore.open(address).close()
    assert address.url is not None
    with psycopg.connect(address.url, autocommit=True) as connection:
        connection.execute("UPDATE meta SET value = '999'")
        connection.execute("DROP TABLE triage")
    for way in (ResultStore.open, ResultStore.open_existing):
        with pytest.raises(StoreError, match=r"has schema version 999.*use the harness that wrote it"):
            way(address)
    with psycopg.connect(address.url) as connection:
        [found] = connection.execute("SELECT to_regclass('triage')").fetchall()
    assert found == (None,)


def test_a_database_with_other_tables_of_these_names_is_refused(address: ResultsAddress) -> None:
    assert address.url is not None
    with psycopg.connect(address.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE trials (colour TEXT)")
    with pytest.raises(StoreError, match="colour"):
        ResultStore.open(address)
    with psycopg.connect(address.url) as connection:
        [found] = connection.execute("SELECT to_regclass('meta')").fetchall()
    assert found == (None,)


def test_threads_of_one_process_share_a_store(address: ResultsAddress) -> None:
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(10):
                store.begin(a_record(f"{name}-{number}"))
                store.finish(a_record(f"{name}-{number}"))
        except BaseException as error:  # noqa: BLE001  # told by the test
            errors.append(error)

    with ResultStore.open(address) as store:
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PROCESS_LIMIT_S)
        assert errors == []
        assert len(store.trial_ids(state="done")) == 80
