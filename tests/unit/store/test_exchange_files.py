"""Files that come in: what is taken, what is refused and in which words, and that a refusal leaves no trace."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.analysis.metrics import METRICS
from harness.core.errors import UsageError
from harness.core.outcome import Evidence, EvidenceKind
from harness.core.record import TrialRecord
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.exchange import incoming, outgoing
from harness.store.exchange.benchmarks import FIGURES
from harness.store.exchange.errors import ExchangeError
from harness.store.exchange.foreign_csv import REQUIRED
from harness.store.exchange.incoming import read_file, take_in
from harness.store.exchange.json_schema import schema, schema_text
from harness.store.exchange.outgoing import format_of, write_file
from harness.store.exchange.records import DEFAULTS, record_to_plain
from harness.store.schema import RECORD_TYPES, SCHEMA_VERSION
from tests.kept_trials import a_trial, keep

DOCS = Path(__file__).parents[3] / "docs"


def exported(folder: Path, name: str, *records: TrialRecord) -> Path:
    path = folder / name
    write_file(path, records, format_of(path))
    return path


def as_document(folder: Path, *records: TrialRecord) -> Any:
    return json.loads(exported(folder, "whole.json", *records).read_text())


def refused(path: Path, words: str) -> None:
    with pytest.raises(ExchangeError, match=words):
        read_file(path)


def test_import_says_where_from_and_skips_what_is_here(tmp_path: Path) -> None:
    path = exported(tmp_path, "nightly.json", a_trial("t-1"), a_trial("t-2", origin="far.json"))
    with ResultStore.open(tmp_path / "r") as store:
        first = take_in(store, read_file(path))
        again = take_in(store, read_file(path))
        kept = store.trials()
    assert (first.added, first.skipped) == (("t-1", "t-2"), ())
    assert (again.added, again.skipped) == ((), ("t-1", "t-2"))
    assert [record.origin for record in kept] == ["nightly.json", "nightly.json, there from far.json"]
    assert {record.device_kind for record in kept} == {"virtual"}


def test_a_trial_with_another_content_is_refused_and_nothing_of_the_file_is_taken(tmp_path: Path) -> None:
    keep(tmp_path / "r", a_trial("t-2", load_ns=1))
    path = exported(tmp_path, "x.csv", a_trial("t-1"), a_trial("t-2", load_ns=2))
    with ResultStore.open(tmp_path / "r") as store:
        with pytest.raises(ExchangeError, match=r"t-2 \(load_ns\); nothing was taken"):
            take_in(store, read_file(path))
        assert store.trial_ids() == ["t-2"]


def test_a_trial_that_is_there_twice(tmp_path: Path) -> None:
    same = exported(tmp_path, "same.jsonl", a_trial("t-1"), a_trial("t-1"))
    assert len(read_file(same).records) == 1
    refused(exported(tmp_path, "other.jsonl", a_trial("t-1"), a_trial("t-1", seed=7)), "t-1 is there twice.*seed")


def test_null_empty_and_zero_stay_three_things_in_a_csv(tmp_path: Path) -> None:
    records = [a_trial("t-1", load_ns=None, broken_limits=None), a_trial("t-2", load_ns=0, broken_limits="")]
    path = exported(tmp_path, "x.csv", *records)
    rows = list(csv.DictReader(StringIO(path.read_text(), newline="")))
    assert [(row["load_ns"], row["broken_limits"]) for row in rows] == [("", ""), ("0", "'")]
    assert list(read_file(path).records) == records


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    path = exported(tmp_path, "x.csv", a_trial("t-1", reason='=HYPERLINK("http://x")', case="-x", clock_offset_ns=-5))
    (row,) = csv.DictReader(StringIO(path.read_text(), newline=""))
    assert (row["reason"], row["case"]) == ('\'=HYPERLINK("http://x")', "'-x")
    assert row["clock_offset_ns"] == "-5", "a number is one"


def test_statistics_are_of_what_can_be_compared(tmp_path: Path) -> None:
    document = as_document(
        tmp_path,
        a_trial("t-0", ordinal=0, load_ns=9_000),
        a_trial("t-1", load_ns=10),
        a_trial("t-2", load_ns=30),
        a_trial("t-3", load_ns=99, outcome="jetsam"),
        a_trial("t-4", load_ns=5, build="other"),
    )
    first, second = document["benchmarks"]
    assert (first["trials"], first["outcomes"]) == (3, {"loaded": 2, "jetsam": 1})
    assert (first["stats"]["load_ns"]["median"], first["stats"]["load_ns"]["unit"]) == (20, "ns")
    assert first["data"] == {"load_ns": [10, 30]}
    assert "ttft_ns" not in first["stats"], "no trial has it"
    assert second["stats"]["load_ns"]["stddev"] is None
    assert {metric.name for metric in METRICS} <= set(FIGURES)


def test_the_committed_schema_is_current_and_says_what_is_written(tmp_path: Path) -> None:
    assert (DOCS / "results.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "run: python -m harness.store.exchange.json_schema > docs/results.schema.json"
    )
    document = as_document(tmp_path, a_trial("t-1", evidence=(Evidence(EvidenceKind.STEP, "x"),), load_ns=1))
    told: dict[str, Any] = schema()
    assert list(document) == told["required"]
    assert list(document["trials"][0]) == told["$defs"]["trial"]["required"]
    assert list(document["benchmarks"][0]) == told["properties"]["benchmarks"]["items"]["required"]
    item = told["$defs"]["trial"]["properties"]["evidence"]["items"]
    assert list(document["trials"][0]["evidence"][0]) == item["required"]


def test_columns_have_their_types_units_and_nulls(tmp_path: Path) -> None:
    records = [a_trial("t-1", load_ns=2**60 + 1, battery_charging=True), a_trial("t-2", app_entitlements={"a": 1})]
    path = exported(tmp_path, "x.parquet", *records)
    frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    assert frame["load_ns"].tolist() == [2**60 + 1, pd.NA]
    assert [str(frame[name].dtype) for name in ("load_ns", "battery_charging", "decode_tokens_per_s", "case")] == [
        "Int64", "boolean", "Float64", "string",
    ]  # fmt: skip  # as many as are asked for above
    assert frame["app_entitlements"].tolist() == [pd.NA, '{"a": 1}']
    about = pq.read_schema(path).field("load_ns").metadata
    assert about is not None
    assert about[b"unit"] == b"ns"
    feather = pd.read_feather(exported(tmp_path, "x.feather", *records), dtype_backend="numpy_nullable")
    assert feather.equals(frame)


def test_an_older_export_gets_the_defaults_of_later_columns(tmp_path: Path) -> None:
    document = as_document(tmp_path, a_trial("t-1"))
    later = ("build", "arm", "copies", "notices")
    for name in later:
        del document["trials"][0][name]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document))
    refused(path, r"trials\[0\]: the columns are missing: build, arm, copies, notices")
    document["schema_version"] = SCHEMA_VERSION - 1
    path.write_text(json.dumps(document))
    (record,) = read_file(path).records
    assert [getattr(record, name) for name in later] == [DEFAULTS[name] for name in later] == [None, None, 1, ()]
    del document["trials"][0]["device_kind"]
    path.write_text(json.dumps(document))
    refused(path, "missing: device_kind")


def test_a_newer_export_is_refused(tmp_path: Path) -> None:
    document = as_document(tmp_path)
    for name, change, said in (
        ("a.json", {"version": 2}, "version 2 is newer"),
        ("b.json", {"schema_version": SCHEMA_VERSION + 1}, "newer than this harness"),
        ("c.json", {"version": True}, "version is True"),
        ("d.json", {"format": "asv"}, "no export of this harness"),
        ("e.json", {"extra": 1}, "unknown: extra"),
    ):
        (tmp_path / name).write_text(json.dumps(document | change))
        refused(tmp_path / name, said)
    table = exported(tmp_path, "x.csv", a_trial("t-1")).read_text().replace(f"\n{SCHEMA_VERSION},", "\n99,")
    (tmp_path / "x.csv").write_text(table)
    refused(tmp_path / "x.csv", "line 2: schema_version 99 is newer")


HOSTILE: dict[str, tuple[str, str]] = {
    "not JSON": ("{", "not JSON"),
    "a list": ("[]", "not an object"),
    "deep nesting": ("[" * 200_000, "nested too deep|not JSON"),
    "a huge number": ('{"version": ' + "9" * 100_000 + "}", "100000 digits"),
    "NaN": ('{"version": NaN}', "NaN is no number"),
    "the same key twice": ('{"a": 1, "a": 2}', "'a' is there twice"),
    "no trials": ('{"format": "iphone-load-harness results", "version": 1, "schema_version": 1}', "trials is None"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents(tmp_path: Path, name: str) -> None:
    text, said = HOSTILE[name]
    (tmp_path / "x.json").write_text(text)
    refused(tmp_path / "x.json", said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trial_id": "../../etc/passwd"}, "only digits, letters and dashes"),
        ({"trial_id": "t\n"}, "only digits, letters and dashes"),
        ({"run_id": "a/b"}, "run_id"),
        ({"load_ns": 2**63}, "load_ns does not fit into 64 bits"),
        ({"load_ns": 1.0}, "load_ns is 1.0, not an integer"),
        ({"load_ns": True}, "load_ns is True, not an integer"),
        ({"load_ns": "1"}, "load_ns is '1', not an integer"),
        ({"decode_tokens_per_s": 10**30}, "decode_tokens_per_s is a huge integer"),
        ({"case": None}, "case is null, yet every trial has it"),
        ({"case": "a\0b"}, "case holds a NUL"),
        ({"case": "x" * 300_000}, "300000 characters"),
        ({"state": "running"}, "state is 'running'"),
        ({"outcome": None}, "only trials that have ended"),
        ({"outcome": "melted"}, "outcome is 'melted'"),
        ({"outcome_family": "model"}, "that of loaded is measured"),
        ({"device_kind": "imaginary"}, "physical, virtual"),
        ({"started_at": "yesterday"}, "started_at is 'yesterday'"),
        ({"started_at": "2026-11-22T16:06:57+02:00"}, "started_at"),
        ({"evidence": {}}, "it is a list of objects"),
        ({"evidence": [{"kind": "step"}]}, "it has just kind, text, file, decisive"),
        ({"phases": [{"name": 1, "begin_ns": 0, "end_ns": None, "kernel_peak_resident_bytes": None}]}, "name is 1"),
        ({"cuts": [[]] * 10_001}, "10001 items"),
        ({"app_entitlements": {"a": [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}}, "levels deep"),
        ({"colour": "red", "smell": 1}, "no such column: colour, smell"),
    ],
)  # fmt: skip  # a column and its complaint belong on a line
def test_hostile_values(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    document = as_document(tmp_path)
    document["trials"] = [record_to_plain(a_trial("t-1")), record_to_plain(a_trial("t-2")) | changes]
    (tmp_path / "x.json").write_text(json.dumps(document))
    with pytest.raises(ExchangeError, match=said) as caught:
        read_file(tmp_path / "x.json")
    assert "x.json: trials[1]" in str(caught.value) or "x.json: trial t-2" in str(caught.value) or "trial" in said
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("c" + ",c" * (10**6 - 1), "1000000 columns; at most 1000"),
        ('"a', "not CSV"),
        ("x" * 5_000_000, "field larger than field limit"),
        ("case,case\n", "more than once: case"),
        ("colour\n", "no such column: colour"),
        (",".join(REQUIRED) + "\na\n", "line 2: 1 cells"),
        (",".join(REQUIRED) + "\n" + "," * (len(REQUIRED) - 1) + "\n", "line 2: empty: case"),
        ("case\nx\n", "missing: started_at"),
    ],
    ids=range(9),
)
def test_hostile_tables(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    limit = csv.field_size_limit()
    refused(tmp_path / "x.csv", said)
    assert csv.field_size_limit() == limit, "other users of the csv module keep theirs"


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path / "none.json", "No such file")
    (tmp_path / "folder.json").mkdir()
    refused(tmp_path / "folder.json", "not a file")
    os.mkfifo(tmp_path / "pipe.json")
    refused(tmp_path / "pipe.json", "not a file")
    (tmp_path / "latin.json").write_bytes(b'{"\xe9": 1}')
    refused(tmp_path / "latin.json", "not UTF-8")
    with pytest.raises(UsageError, match=r"\.json, \.jsonl, \.csv"):
        read_file(tmp_path / "x.parquet")
    path = exported(tmp_path, "x.json", a_trial())
    monkeypatch.setattr(incoming, "MAX_FILE_BYTES", 1000)
    refused(path, "harness results merge")


def test_an_export_to_where_nothing_can_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "all.json"
    with pytest.raises(StoreError, match=r"all\.json: the export cannot be written: Not a directory"):
        write_file(path, [a_trial()], format_of(path))


def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = exported(tmp_path, "x.json", a_trial())
    before = path.read_bytes()

    def full_disk(target: BinaryIO, *_: object) -> None:
        target.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outgoing, "write_records", full_disk)
    with pytest.raises(StoreError, match="No space left"):
        write_file(path, [a_trial()], format_of(path))
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["x.json"]


FOREIGN = (
    "case,started_at,outcome,device_kind,device_product_type,device_os_version,engine,model_name,model_bytes,"
    "backend_requested,cache_state,max_tokens,decode_tokens,peak_footprint_bytes\n"
    '{case},2026-11-22T01:00:00+02:00,loaded,physical,"iPhone17,1",18.5,mlx,gemma,2000,gpu,cold,512,64,{peak}\n'
)


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[..., TrialRecord]:
    """The one trial of a foreign table."""

    def read(**cells: str) -> TrialRecord:
        path = tmp_path / "theirs.csv"
        path.write_text(FOREIGN.format(**{"case": "gemma", "peak": "123", **cells}))
        (record,) = read_file(path).records
        return record

    return read


def test_figures_of_another_harness(foreign: Callable[..., TrialRecord]) -> None:
    record = foreign()
    assert record.started_at == "2026-11-21T23:00:00.000+00:00"
    assert record.run_id.startswith("20261121-"), "nights are told by the runs' days, in UTC"
    assert (record.peak_footprint_bytes, record.load_ns) == (123, None)
    assert (record.outcome_family, record.expected_outcome) == ("measured", "loaded")
    assert (record.suite, record.model_sha256, record.harness_version) == ("imported", "unknown", "another harness")
    assert foreign() == record, "the same row is the same trial"
    assert foreign(peak="124").trial_id != record.trial_id
    assert foreign(peak="").peak_footprint_bytes is None


def test_a_foreign_table_that_has_grown_adds_its_new_rows(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    row = FOREIGN.format(case="gemma", peak="1").splitlines()[1]
    path.write_text(FOREIGN.format(case="gemma", peak="1") + row + "\n")
    with ResultStore.open(tmp_path / "r") as store:
        assert len(take_in(store, read_file(path)).added) == 2, "equal rows are two trials"
        path.write_text(path.read_text() + row.removesuffix(",1") + ",2\n")
        taken = take_in(store, read_file(path))
        assert (len(taken.added), len(taken.skipped)) == (1, 2)
        assert sorted(record.ordinal for record in store.trials()) == [1, 2, 3]


def test_cells_for_every_row(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    table = FOREIGN.format(case="x", peak="1")
    path.write_text(table.replace("physical,", "").replace("device_kind,", ""))
    refused(path, "missing: device_kind.*--set")
    (record,) = read_file(path, {"device_kind": "physical"}).records
    assert record.device_kind == "physical"
    with pytest.raises(ExchangeError, match="a column of the file: case"):
        read_file(path, {"device_kind": "physical", "case": "y"})
    with pytest.raises(ExchangeError, match="no such column: colour"):
        read_file(path, {"colour": "red"})
    ours = exported(tmp_path, "x.csv", a_trial())
    with pytest.raises(ExchangeError, match="leave out case"):
        read_file(ours, {"case": "y"})


def test_foreign_times_need_a_zone(foreign: Callable[..., TrialRecord], tmp_path: Path) -> None:
    foreign()
    path = tmp_path / "theirs.csv"
    path.write_text(path.read_text().replace("+02:00", ""))
    refused(path, "no time with its zone")


def test_every_column_of_an_export_is_checked() -> None:
    assert set(DEFAULTS) <= set(RECORD_TYPES)
    assert all(DEFAULTS[name] is None for name, (_, optional) in RECORD_TYPES.items() if optional and name in DEFAULTS)


@pytest.mark.parametrize(
    "text",
    ["2026-W47-7T10:00:00+00:00", "20261122T100000+00:00", "2026-11-22 10:00:00+00:00", "2026-11-22T10:00:00,5+00:00"],
)
def test_a_time_that_would_not_sort_as_time_does_is_refused(tmp_path: Path, text: str) -> None:
    document = as_document(tmp_path, a_trial())
    document["trials"][0]["started_at"] = text
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document))
    refused(path, "a time is as")


@pytest.mark.parametrize("name", ["file/export.json", f"{'a' * 300}.json"])
def test_a_name_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="the export cannot be written"):
        exported(tmp_path, name)
