"""`from harness import results`: what a notebook has of kept trials."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from harness import results
from harness.core.errors import UsageError
from harness.core.record import record_columns
from harness.store.database import ResultStore
from harness.store.errors import StoreError
from harness.store.exchange.outgoing import Format, write_file
from tests.kept_trials import READINGS, a_trial, keep

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 120


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs of one case, a night apart; the second is slower, and has files."""
    for day, load_ns, build in (("20", 100, "a"), ("21", 150, "b")):
        records = [
            a_trial(
                f"202611{day}-{number}",
                run_id=f"202611{day}-run",
                ordinal=number,
                started_at=f"2026-11-{day}T16:00:00+00:00",
                load_ns=load_ns + number,
                build=build,
                engine_version="1",
            )
            for number in range(1, 11)
        ]
        keep(tmp_path, *records, files=day == "21")
    return tmp_path


def test_trials(folder: Path) -> None:
    frame = results.trials(folder)
    assert list(frame.columns) == [column.name for column in record_columns()]
    assert len(frame) == 20
    assert frame["ttft_ns"].isna().all()
    assert str(frame["load_ns"].dtype) == "Int64"
    few = results.trials(str(folder), columns=["load_ns", "trial_id"], since="2026-11-21", ordinal=[1, 2])
    assert few.to_dict("list") == {"load_ns": [151, 152], "trial_id": ["20261121-1", "20261121-2"]}
    assert len(results.trials(folder, since=date(2026, 11, 21))) == 10
    assert len(results.trials(folder, until=datetime(2026, 11, 21, tzinfo=UTC), build="b")) == 0
    with pytest.raises(StoreError, match="no column 'colour'"):
        results.trials(folder, colour="red")


def test_runs(folder: Path) -> None:
    frame = results.runs(folder)
    assert frame["run_id"].tolist() == ["20261120-run", "20261121-run"]
    assert frame["trials"].tolist() == [10, 10]
    assert results.runs(folder, since="2026-11-21")["build"].tolist() == ["b"]


def test_telemetry(folder: Path) -> None:
    assert len(results.telemetry("20261121-1", folder)) == len(READINGS)
    with pytest.raises(UsageError, match="has no telemetry: none was kept"):
        results.telemetry("20261120-1", folder)
    with pytest.raises(UsageError, match=r"there is no trial '\.\./x'"):
        results.telemetry("../x", folder)


def test_series_and_verdicts(folder: Path) -> None:
    frame = results.series(folder)
    load = frame[frame["metric"] == "load_ns"]
    assert load["night"].tolist() == ["2026-11-20", "2026-11-21"]
    assert load["value"].tolist() == [105.5, 155.5]
    assert load["trials"].tolist() == [10, 10]
    ends = frame[frame["metric"] == "outcome"]
    assert ends["value"].isna().all()
    assert ends["outcomes"].tolist() == [{"loaded": 10}, {"loaded": 10}]
    assert set(frame["metric"]) == {"outcome", "load_ns"}, "no series of what nobody measured"
    assert results.series(folder, as_of=date(2026, 11, 20))["night"].unique().tolist() == ["2026-11-20"]
    verdicts = results.verdicts(folder)
    assert set(verdicts["series"]) >= set(frame["series"])
    assert verdicts["verdict"].notna().all()


def test_compare(folder: Path, tmp_path: Path) -> None:
    with ResultStore.open_existing(folder) as store:
        write_file(tmp_path / "b.json", store.trials(build="b"), Format.JSON)
    for b in ("build:b", "run:20261121", tmp_path / "b.json"):
        frame = results.compare("build:a", b, folder, metrics=["load_ns"])
        ends, load = frame.to_dict("records")
        assert (ends["metric"], ends["verdict"]) == ("outcome", "same")
        assert (load["metric"], load["verdict"]) == ("load_ns", "regressed")
        assert load["shift"] == pytest.approx(0.47, abs=0.02)
        assert load["shift_low"] < load["shift"] < load["shift_high"]
        assert not frame["interleaved"].any()
    with pytest.raises(UsageError, match="no metric 'colour'"):
        results.compare("build:a", "build:b", folder, metrics=["colour"])


def test_no_results_are_an_error_and_nothing_is_made(tmp_path: Path) -> None:
    for ask in (results.trials, results.runs, results.series, results.verdicts):
        with pytest.raises(UsageError, match="holds no results"):
            ask(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_reading_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    assert len(results.trials(folder)) == 20
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_example_of_the_docs(folder: Path, tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.split("\n\n")[-1].splitlines()) == 2, "three lines with the import"
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "results").symlink_to(folder)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path / "desk",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tiny/cpu" in done.stdout


def test_importing_it_is_light() -> None:
    script = "import sys; from harness import results; print({'pandas', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert done.stdout.strip() == "set()"


def test_frames_have_the_types_of_missing_values(folder: Path) -> None:
    for frame in (results.trials(folder), results.runs(folder), results.series(folder), results.verdicts(folder)):
        plain = {"float64", "int64", "bool"}
        assert not plain & {str(kind) for kind in frame.dtypes}, "NaN would stand for what is not known"
        assert isinstance(frame, pd.DataFrame)
