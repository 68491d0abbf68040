"""Files for Otava, by the rules of its CSV importer (otava/importer.py, 0.8): every cell of a metric is a number, time
and attributes are columns by name. Otava itself is tried by hand: docs/exports.md."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from harness.analysis.metrics import METRICS
from harness.analysis.nightly import histories
from harness.report.exports.otava import ATTRIBUTES, CONFIG, otava_files
from tests.simulated_nights import SimulatedHistory, SimulatedNight, frame_of

GOOD = SimulatedNight(columns={"build": "n1", "app_build": "good"})
DEAD = SimulatedNight(outcomes=("bad_alloc",) * 5)
NEW_ENGINE = SimulatedNight(columns={"engine_version": "0.19.0"})


def exported(nights: Sequence[SimulatedNight | None], **history: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Tests of the configuration, and the other files."""
    records = list(SimulatedHistory(**history).records(nights))
    files = otava_files(histories(frame_of(records)))
    config = json.loads(files.pop(CONFIG))
    assert list(config["tests"]) == config["test_groups"]["all"]
    return config["tests"], files


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_each_series_is_a_test_whose_file_otava_can_read() -> None:
    tests, files = exported([GOOD] * 3)
    assert {test["file"] for test in tests.values()} == set(files)
    assert len(tests) == len(METRICS)
    for name, test in tests.items():
        (metric,) = test["metrics"]
        assert name == f"virtual/iPhone17,1/simulated/tiny/litert_lm/cpu/cold:{metric}"
        assert test["metrics"][metric]["direction"] == (1 if metric.endswith("_per_s") else -1)
        rows = rows_of(files[test["file"]])
        assert len(rows) == 3
        assert {test["time_column"], metric, *test["attributes"]} == set(rows[0])
        assert tuple(test["attributes"]) == ATTRIBUTES
        for row in rows:
            assert float(row[metric]) > 0
            assert datetime.fromisoformat(row["time"]).tzinfo == UTC
    first = rows_of(files[tests["virtual/iPhone17,1/simulated/tiny/litert_lm/cpu/cold:load_ns"]["file"]])[0]
    assert (first["time"], first["night"]) == ("2026-01-01T12:00:00+00:00", "2026-01-01")
    assert (first["build"], first["app_build"], first["engine_version"]) == ("n1", "good", "0.18.1")


def test_a_night_without_a_figure_is_not_there() -> None:
    tests, files = exported([GOOD, None, DEAD, GOOD])
    for test in tests.values():
        assert [row["night"] for row in rows_of(files[test["file"]])] == ["2026-01-01", "2026-01-04"]


def test_what_cannot_be_compared_is_a_test_of_its_own() -> None:
    tests, files = exported([GOOD] * 3 + [NEW_ENGINE] * 2)
    parts = {name: len(rows_of(files[test["file"]])) for name, test in tests.items() if ":load_ns" in name}
    assert list(parts.values()) == [3, 2]
    assert [name.rpartition(":")[2] for name in parts] == ["load_ns segment 1", "load_ns segment 2"]


def test_hostile_names_make_neither_paths_nor_rows() -> None:
    hostile = '../../etc/passwd\n",\n: - &x'
    night = SimulatedNight(columns={"build": hostile, "app_build": "=1+1"})
    tests, files = exported([night], case=hostile)
    for file in files:
        assert file.endswith(".csv")
        assert not set(file) - set("abcdefghijklmnopqrstuvwxyz0123456789-.")
        assert ".." not in file
    for name, test in tests.items():
        assert "\n" not in name
        (row,) = rows_of(files[test["file"]])
        assert row["build"].startswith('../../etc/passwd ", : - &x~')


def test_yaml_reads_the_names_that_json_has() -> None:
    """JSON's escape of a sign beyond the first 65,536 is two signs in YAML, which cannot even be printed."""
    records = list(SimulatedHistory(case="\N{FIRE}/cpu").records([GOOD] * 3))
    text = otava_files(histories(frame_of(records)))[CONFIG]
    assert yaml.safe_load(text) == json.loads(text)
