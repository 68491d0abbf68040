"""Results that are only read: columns, bounds of time, long lists; and nothing is changed by a look."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.core.errors import UsageError
from harness.store.address import DATABASE_NAME, Results, ResultsAddress, parse_results
from harness.store.database import ResultStore
from harness.store.errors import NoResults, StoreError
from harness.store.queries import MAX_PARAMETERS
from harness.store.schema import RECORD_TYPES
from tests.store_records import VALUES, a_record

PROCESS_LIMIT_S = 120
NOBODY = 65534
FIXTURE = Path(__file__).parents[2] / "fixtures/results/v2"


@pytest.fixture(params=["sqlite", "postgresql"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Results:
    """An address of each kind, where nothing is yet."""
    if request.param == "sqlite":
        return tmp_path
    return ResultsAddress(tmp_path, request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(results: Results) -> Iterator[ResultStore]:
    with ResultStore.open(results) as opened:
        yield opened


def test_a_record_comes_back_as_it_was(store: ResultStore) -> None:
    filled = a_record("t-1", **{name: VALUES[plain] for name, (plain, _) in RECORD_TYPES.items() if name != "trial_id"})
    bare = a_record("t-2", reason="«ünïcode» and a NUL: \0!", model_name="a'b\"c%s:d")
    kept = [store.begin(filled), store.begin(bare)]
    first, second = store.trials()
    assert first == kept[0]
    assert second.reason == "«ünïcode» and a NUL: \N{REPLACEMENT CHARACTER}!"
    assert second.model_name == kept[1].model_name
    done = store.finish(second)
    assert store.trials(state="done") == [done]


def test_columns_are_those_of_the_frame(store: ResultStore) -> None:
    for number, load_ns in enumerate([0, None, 2**60 + 1]):
        store.begin(a_record(f"t-{number}", load_ns=load_ns, app_entitlements={"a": 1} if number else None))
    names = ["app_entitlements", "load_ns", "case", "warmup", "cut_short", "decode_tokens_per_s", "evidence"]
    frame, columns = store.frame(), store.columns(names)
    assert list(columns.columns) == names
    pd.testing.assert_frame_equal(columns, frame[names])
    assert columns["load_ns"].tolist() == [0, pd.NA, 2**60 + 1]
    assert [str(columns[name].dtype) for name in names[:6]] == [
        "object",
        "Int64",
        "string",
        "boolean",
        "boolean",
        "Float64",
    ]
    assert columns["app_entitlements"].tolist() == [None, {"a": 1}, {"a": 1}]
    assert columns["evidence"].tolist() == [[], [], []]
    none = store.columns(names, case="absent")
    assert none.empty
    assert none.dtypes.tolist() == columns.dtypes.tolist()
    with pytest.raises(StoreError, match="no column 'colour'"):
        store.columns(["colour"])


def test_filters(store: ResultStore) -> None:
    for trial_id, case in (("t-b", "b"), ("t-a", "a"), ("T-c", "c"), ("t-B", "b")):
        store.begin(a_record(trial_id, case=case))
    # by code point, on any server
    assert store.trial_ids() == ["T-c", "t-B", "t-a", "t-b"]
    assert store.trial_ids(case=["a", "b"]) == ["t-B", "t-a", "t-b"]
    assert store.trial_ids(case="b", outcome=None) == ["t-B", "t-b"]
    assert store.trial_ids(case=[]) == []
    many = {f"t-{number}" for number in range(MAX_PARAMETERS + 1)} | {"t-a"}
    assert store.trial_ids(trial_id=many) == ["t-a"]
    assert store.trial_ids(load_ns=list(range(MAX_PARAMETERS + 1))) == []
    assert [record.trial_id for record in store.trials(trial_id=many)] == ["t-a"]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"since": date(2026, 11, 22)}, "bcd"),
        ({"since": "2026-11-22"}, "bcd"),
        ({"until": "2026-11-22"}, "a"),
        ({"since": "2026-11-22", "until": "2026-11-23"}, "bc"),
        ({"since": datetime(2026, 11, 22, 3, tzinfo=UTC)}, "cd"),
        ({"since": datetime(2026, 11, 22, 4, tzinfo=timezone(timedelta(hours=1)))}, "cd"),
        ({"until": "2026-11-22T03:00:00Z"}, "ab"),
    ],
)
def test_bounds_of_time(tmp_path: Path, bounds: dict[str, Any], expected: str) -> None:
    times = ["2026-11-21T23:59:59.999999+00:00", "2026-11-22T00:00:00+00:00", "2026-11-22T03:00:00+00:00"]
    with ResultStore.open(tmp_path) as store:
        for trial_id, started_at in zip("abcd", [*times, "2026-11-23T00:00:00.000001+00:00"], strict=True):
            store.begin(a_record(trial_id, started_at=started_at))
        assert "".join(store.trial_ids(**bounds)) == expected


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01", 5, datetime(2026, 11, 22)])  # noqa: DTZ001  # what is refused
def test_what_is_no_time_is_refused(tmp_path: Path, moment: Any) -> None:
    with ResultStore.open(tmp_path) as store, pytest.raises(StoreError, match="since"):
        store.trials(since=moment)


def test_a_reader_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoResults, match="holds no results"):
        ResultStore.open_existing(tmp_path / "absent")
    (tmp_path / DATABASE_NAME).touch()
    with pytest.raises(NoResults, match="holds no results yet"):
        ResultStore.open_existing(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [DATABASE_NAME]


def test_a_reader_of_an_empty_server_makes_nothing(postgresql_url: str, tmp_path: Path) -> None:
    address = ResultsAddress(tmp_path / "absent", postgresql_url)
    for _ in range(2):
        with pytest.raises(NoResults, match=r"postgresql://tester@127\.0\.0\.1:\d+/results_\w+ holds no results yet"):
            ResultStore.open_existing(address)
    assert not (tmp_path / "absent").exists()


def test_a_reader_beside_a_writer_sees_what_is_committed_and_writes_nothing(store: ResultStore) -> None:
    store.begin(a_record("t-1"))
    with ResultStore.open_existing(store.address) as reader:
        assert reader.trial_ids() == ["t-1"]
        store.begin(a_record("t-2"))
        assert reader.trial_ids() == ["t-1", "t-2"]
        for write in (reader.begin, reader.finish):
            with pytest.raises(StoreError, match="read only"):
                write(a_record("t-1"))
        assert not reader.artifacts_dir("t-1").exists()
    assert store.trial_ids() == ["t-1", "t-2"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach: those of pytest are the owner's alone."""
    folder = Path(tempfile.mkdtemp(prefix="results-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


READ_AS_ANOTHER = """
import sys
from pathlib import Path
from harness.store.address import Results
from harness.store.database import ResultStore
from harness.store.errors import StoreError
if sys.argv[2] != "-":
    import os
    # loads all that is needed: the other user may not be able to read this Python's library
    ResultStore.open_existing(Path(sys.argv[3])).close()
    os.setuid(int(sys.argv[2]))
folder = Path(sys.argv[1])
try:
    (folder / "new").touch()
except OSError:
    pass
else:
    sys.exit("the folder can be written")
with ResultStore.open_existing(folder) as store:
    print(*store.trial_ids())
try:
    ResultStore.open(folder)
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("left", ["closed", "killed", "killed, index lost", "written", "old"])
def test_a_folder_that_may_not_be_written_is_read(open_folder: Path, left: str) -> None:
    folder = open_folder / "results"
    living = None
    if left == "old":
        shutil.copytree(FIXTURE, folder)
        with ResultStore.open_existing(folder) as store:
            expected = store.trial_ids()
    else:
        living = ResultStore.open(folder)
        living.begin(a_record("t-1"))
        expected = ["t-1"]
    if left == "closed" and living is not None:
        living.close()
    elif left.startswith("killed"):
        _tear(folder, keep_index=left == "killed")
    folder.chmod(0o555)
    user = str(NOBODY) if os.geteuid() == 0 else "-"
    told = subprocess.run(
        [sys.executable, "-c", READ_AS_ANOTHER, folder, user, FIXTURE],
        capture_output=True,
        text=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
    )
    folder.chmod(0o755)
    if living is not None:
        living.close()
    assert told.returncode == 0, told.stderr
    first, second = told.stdout.splitlines()
    assert first.split() == expected
    assert str(folder) in second


def _tear(folder: Path, *, keep_index: bool) -> None:
    """Leaves the database's files as a kill would: rows in the log only."""
    copies = {}
    for path in folder.glob(f"{DATABASE_NAME}*"):
        copies[path] = path.read_bytes()
    assert any(path.name.endswith("-wal") and data for path, data in copies.items())
    torn = folder.parent / "torn"
    shutil.copytree(folder, torn)
    shutil.rmtree(folder)
    torn.rename(folder)
    for path, data in copies.items():
        path.write_bytes(data)
    if not keep_index:
        (folder / f"{DATABASE_NAME}-shm").unlink()


def test_what_is_no_database_of_results_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"this is not a database, and long enough to tell" * 100)
    with pytest.raises(StoreError, match=r"runs\.db: .*is it a results database"):
        ResultStore.open_existing(tmp_path)
    (tmp_path / DATABASE_NAME).unlink()
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        connection.execute("CREATE TABLE meta (colour TEXT)")
        connection.commit()
    for way in (ResultStore.open, ResultStore.open_existing):
        with pytest.raises(StoreError, match=r"runs\.db"):
            way(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:s3cr/et@host/db",
        "postgresql://me:s3cr?et@host/db",
        "postgresql://me:s3cr#et@host/db",
        "postgresql://me:s3cret@[host/db",
        "postgresql://me:s3cret@ho\u2100st/db",
        "mysql://me:s3cret@host/db",
        "postgresql://me:s3cret@host",
        "postgresql://me:s3cret@host/db?files=a&files=b",
    ],
)
def test_a_malformed_url_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_results(text)
    assert "s3cr" not in str(caught.value)


def test_a_port_that_is_no_number_is_refused_without_the_password() -> None:
    with pytest.raises(UsageError, match="port") as caught:
        ResultStore.open(parse_results("postgresql://me:s3cret@host:many/db"))
    assert "s3cret" not in str(caught.value)


def test_null_within_a_list_is_asked_for_too(store: ResultStore) -> None:
    for trial_id, build in (("a", None), ("b", "1"), ("c", "2")):
        store.finish(store.begin(a_record(trial_id, build=build)))
    assert store.trial_ids(build=[None, "1"]) == ["a", "b"]
    assert store.trial_ids(build=[None]) == ["a"]


def test_a_time_beyond_the_calendar_is_refused(tmp_path: Path) -> None:
    moment = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    with ResultStore.open(tmp_path) as store:
        for value in (moment, moment.isoformat()):
            with pytest.raises(StoreError, match="since=0001-01-01T00:00:00"):
                store.trial_ids(since=value)


@pytest.mark.parametrize("filters", [{"case": "\udcff"}, {"case": ["a", "\udcff"]}, {"load_ns": 2**63}])
def test_what_no_database_holds_is_refused(tmp_path: Path, filters: dict[str, Any]) -> None:
    with ResultStore.open(tmp_path) as store, pytest.raises(StoreError, match="no database holds such a value"):
        store.trials(**filters)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("load_ns", "abc"),
        ("load_ns", 1.5),
        ("load_ns", b"5"),
        ("decode_tokens_per_s", float("inf")),
        ("reason", b"\x00\xff"),
        ("evidence", "5"),
        ("evidence", "{bad"),
        ("phases", "[" * 100_000),
    ],
)
def test_a_value_that_no_harness_writes_is_told_and_not_bent(tmp_path: Path, column: str, value: Any) -> None:
    with ResultStore.open(tmp_path) as store:
        store.finish(store.begin(a_record("a")))
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute(f"UPDATE trials SET {column} = ?", (value,))
    with ResultStore.open_existing(tmp_path) as store:
        with pytest.raises(StoreError, match="written by another program or damaged"):
            store.trials()
        with pytest.raises(StoreError, match="written by another program or damaged"):
            store.columns([column])


@pytest.mark.parametrize(
    ("column", "item"),
    [
        ("phases", {"name": 5, "begin_ns": 1, "end_ns": 2, "kernel_peak_resident_bytes": None}),
        ("phases", {"name": "load", "begin_ns": "x", "end_ns": 2, "kernel_peak_resident_bytes": None}),
        ("phases", {"name": "load", "begin_ns": 2**70, "end_ns": 2, "kernel_peak_resident_bytes": None}),
        ("notices", {"kind": "thermal", "at_ns": None, "text": None}),
        ("evidence", {"kind": "exit", "text": 5, "file": None, "decisive": True}),
    ],
)
def test_an_item_of_another_type_is_told_and_not_bent(tmp_path: Path, column: str, item: dict[str, Any]) -> None:
    with ResultStore.open(tmp_path) as store:
        store.finish(store.begin(a_record("a")))
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute(f"UPDATE trials SET {column} = ?", (json.dumps([item]),))
    with ResultStore.open_existing(tmp_path) as store, pytest.raises(StoreError, match="another program or damaged"):
        store.trials()
