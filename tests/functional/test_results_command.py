"""`harness results …` as a person meets it, over trials of a virtual phone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from harness.cli.main import app
from harness.core.errors import UsageError
from harness.store.database import ResultStore
from harness.store.exchange.errors import ExchangeError
from harness.store.telemetry import read_parquet
from tests.functional.whole_way import Bench
from tests.kept_trials import a_trial, keep

LIMIT_S = 120


def answer(*arguments: object) -> Result:
    """Of `harness results …`; a typed error is raised, as `entry` would catch it."""
    done = CliRunner().invoke(app, ["results", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def told(*arguments: object) -> str:
    done = answer(*arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_run_is_listed_shown_given_away_and_taken_in(bench: Bench, tmp_path: Path) -> None:
    records = bench.run(trials=2, matrix={"caches": ["none"]}).records
    first = records[0]
    here = ("--results", bench.results)

    (run,) = json.loads(told("list", "--json", *here))
    assert (run["run_id"], run["trials"], run["outcomes"]) == (first.run_id, 2, {"loaded": 2})
    listed = json.loads(told("list", "trials", "--json", *here, "--limit", 1, "--device", "virtual"))
    assert [trial["trial_id"] for trial in listed] == [records[1].trial_id], "the newest"
    assert listed[0]["load_ns"] == records[1].load_ns
    assert json.loads(told("list", "--json", *here, "--device", "physical")) == []
    assert json.loads(told("list", "--json", *here, "--since", "1h")) == [run]
    assert first.run_id in told("list", *here)

    shown = told("show", first.trial_id, *here)
    assert "not known" in shown
    assert f"{first.peak_footprint_bytes} (" in shown
    assert json.loads(told("show", "last", "--json", *here))["trial_id"] == records[1].trial_id
    assert first.trial_id in told("show", first.run_id, *here)

    for name in ("x.json", "x.jsonl", "x.csv"):
        assert "2 trials" in told("export", tmp_path / name, *here)
        there = ("--results", tmp_path / f"taken-{name}")
        taken = json.loads(told("import", tmp_path / name, *there, "--json"))
        assert [(one["added"], one["skipped"]) for one in taken["files"]] == [(2, 0)]
        (of_run,) = json.loads(told("list", "--json", *there))
        assert of_run == run
    told("merge", bench.results, *there)
    with ResultStore.open_existing(Path(str(there[1]))) as store:
        kept = store.trials()
        assert [record.origin for record in kept] == ["x.csv", "x.csv"]
        assert all(len(read_parquet(store.telemetry_path(record.trial_id))) for record in kept)


def test_to_pandas_prints_lines_that_run(tmp_path: Path) -> None:
    keep(tmp_path / "r", a_trial("t-1", load_ns=5), a_trial("t-2"))
    for name in ("t.parquet", "t.feather"):
        lines = told("to-pandas", tmp_path / name, "--results", tmp_path / "r")
        names: dict[str, pd.DataFrame] = {}
        exec(lines, names)  # what a person would paste
        assert names["trials"]["load_ns"].tolist() == [5, pd.NA]
    assert len(told("to-pandas", "--results", tmp_path / "r").splitlines()) == 3
    with pytest.raises(UsageError, match="pickle"):
        told("to-pandas", tmp_path / "t.pkl", "--results", tmp_path / "r")


def test_lines_of_a_notebook_hold_no_password() -> None:
    url = "postgresql://me:s3cret@host:5/db?sslpassword=s3cret&sslmode=require&files=f"
    lines = told("to-pandas", "--results", url)
    assert "'postgresql://me@host:5/db?sslmode=require&files=f'" in lines
    assert "s3cret" not in lines


def test_gc_lists_and_then_removes(tmp_path: Path) -> None:
    keep(tmp_path / "r", a_trial("t-1", started_at="2020-01-01T00:00:00+00:00"), files=True)
    orphan = tmp_path / "r/telemetry/gone.parquet"
    orphan.write_bytes(b"x" * 2048)
    where = ("--results", tmp_path / "r")
    assert "2 KiB can be freed" in told("gc", *where)
    assert orphan.exists()
    done = json.loads(told("gc", *where, "--delete", "--json"))
    assert (done["bytes"], [one["path"] for one in done["leftovers"]]) == (2048, ["telemetry/gone.parquet"])
    assert not orphan.exists()
    assert "telemetry/t-1.parquet" in told("gc", *where, "--older-than", "90d")
    assert "freed" in told("gc", *where, "--older-than", "90d", "--delete")
    assert json.loads(told("show", "t-1", "--json", *where))["telemetry_file"] is None


def test_filters_are_any_of_one_and_all_of_several(tmp_path: Path) -> None:
    keep(
        tmp_path,
        a_trial("t-1", suite="a", build="1"),
        a_trial("t-2", suite="b", build="1", outcome="jetsam"),
        a_trial("t-3", suite="c", device_kind="physical", device_product_type="iPhone14,5", device_udid="f" * 40),
    )

    def ids(*flags: str) -> list[str]:
        return [one["trial_id"] for one in json.loads(told("list", "trials", "--json", "--results", tmp_path, *flags))]

    assert ids() == ["t-3", "t-2", "t-1"]
    assert ids("--suite", "a", "--suite", "b", "--build", "1") == ["t-2", "t-1"]
    assert ids("--outcome", "jetsam") == ["t-2"]
    assert ids("--device", "iPhone14,5") == ids("--device", "f" * 40) == ids("--device", "physical") == ["t-3"]
    assert ids("--since", "2026-11-23") == []
    assert ids("--run", "none", "--case", "tiny/cpu") == []
    for flag, word in (("--outcome", "melted"), ("--since", "soon"), ("--since", "2026-11-22T03:00")):
        with pytest.raises(UsageError, match=flag):
            ids(flag, word)


def test_a_file_of_several_that_is_wrong_stops_all(tmp_path: Path) -> None:
    keep(tmp_path / "r", a_trial("t-1"))
    told("export", tmp_path / "x.json", "--results", tmp_path / "r")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ExchangeError, match=r"bad\.json: format"):
        told("import", tmp_path / "x.json", tmp_path / "bad.json", "--results", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_stdout_is_the_export(tmp_path: Path) -> None:
    keep(tmp_path / "results", a_trial("t-1", reason="«ü»"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-W", "error", "-m", "harness.cli", "results", "export", "-"]

    def harness(*flags: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, *flags], cwd=tmp_path, env=environment, capture_output=True, timeout=LIMIT_S, check=False
        )

    done = harness("--format", "csv")
    assert done.returncode == 0, done.stderr
    (tmp_path / "again.csv").write_bytes(done.stdout)
    taken = told("import", tmp_path / "again.csv", "--results", tmp_path / "results")
    assert taken == f"{tmp_path / 'again.csv'}: 0 trials added, 1 were here already\n"
    wrong = harness()
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert b"say --format" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("export", "x.docx"), r"\.parquet"),
        (("export", "x", "--format", "docx"), "--format"),
        (("import", "none.json"), "none.json"),
        (("import", "x.csv", "--set", "case"), "COLUMN=VALUE"),
        (("merge", "none"), "none holds no results"),
        (("merge", "results"), "is what it would be merged into"),
        (("gc", "--older-than", "soon"), "--older-than"),
        (("gc", "--results", "none"), "holds no results"),
        (("show", "zzz"), "no trial 'zzz'"),
        (("list", "--results", "none"), "holds no results"),
        (("to-pandas", "--suite", "x"), "give a FILE"),
    ],
)
def test_wrong_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], complaint: str
) -> None:
    keep(tmp_path / "results", a_trial("t-1"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=complaint):
        told(*arguments)
    assert not (tmp_path / "none").exists()


def test_a_running_trial_is_left_out_of_an_export(tmp_path: Path) -> None:
    keep(tmp_path / "r", a_trial("t-1"))
    with ResultStore.open(tmp_path / "r") as store:
        store.begin(a_trial("t-2", state="running", outcome=None))
        done = answer("export", tmp_path / "x.json", "--results", tmp_path / "r")
    assert "1 trial still running left out" in done.stderr
    assert len(json.loads((tmp_path / "x.json").read_text())["trials"]) == 1
