"""`harness results export` in the formats of other tools: which files there are, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from harness.cli.main import app
from harness.core.errors import HarnessError, UsageError
from harness.report.exports.tools import SEVERAL, Tool
from tests.kept_trials import a_trial, keep

ONE_FILE = [tool for tool in Tool if tool not in SEVERAL]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    keep(folder, a_trial("20261122-1", load_ns=5, decode_tokens_per_s=2.5), files=True)
    keep(folder, a_trial("20261122-2", case="other", device_kind="physical", run_id="r2", load_ns=7))
    return folder


def export(results: Path, file: object, *arguments: str) -> Result:
    answer = CliRunner().invoke(app, ["results", "export", str(file), "--results", str(results), *arguments])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


@pytest.mark.parametrize("tool", ONE_FILE)
def test_stdout_and_a_file_get_the_same_bytes(results: Path, tmp_path: Path, tool: Tool) -> None:
    choice = ("--trial", "20261122-1") if tool is Tool.PERFETTO else ()
    piped = export(results, "-", "--format", tool, *choice)
    file = tmp_path / "out"
    assert "1 trial" in export(results, file, "--format", tool, "--case", "tiny/cpu", *choice).stdout
    assert file.read_bytes()
    whole = export(results, file, "--format", tool, "--json", *choice)
    assert file.read_bytes() == piped.stdout_bytes
    assert json.loads(whole.stdout) == {"paths": [str(file)], "format": tool.value, "trials": 1 if choice else 2}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out"]


def test_the_suffix_says_the_format(results: Path, tmp_path: Path) -> None:
    for name, begin in {"a.xml": b"<?xml", "a.prom": b"# HELP", "a.MD": b"## iPhone", "a.pftrace": b"\n"}.items():
        export(results, tmp_path / name, *(("--trial", "20261122-1") if name == "a.pftrace" else ()))
        assert (tmp_path / name).read_bytes().startswith(begin)


def test_filters_choose_the_trials(results: Path) -> None:
    root = ET.fromstring(export(results, "-", "--format", "junit", "--device", "physical").stdout_bytes)
    assert [case.attrib["name"] for case in root.iter("testcase")] == ["other#1"]


def test_several_files_go_into_a_folder_or_beside_a_name(results: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    export(results, tmp_path / "folder", "--format", "github-benchmark")
    told = export(results, tmp_path / "stem", "--format", "github-benchmark").stdout
    names = {"bigger-is-better.json", "smaller-is-better.json"}
    assert {path.name for path in (tmp_path / "folder").iterdir()} == names
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {f"stem-{name}" for name in names}
    assert "stem-bigger-is-better.json" in told
    otava = export(results, tmp_path / "folder", "--format", "otava", "--json").stdout
    paths = [Path(path) for path in json.loads(otava)["paths"]]
    assert len(paths) == 1 + 3
    assert all(path.is_file() for path in paths)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-", "--format", "otava"), "several files"),
        (("-", "--format", "github-benchmark"), "several files"),
        (("-", "--format", "junk"), "openmetrics"),
        (("-", "--format", "perfetto"), "--trial ID"),
        (("x.pftrace", "--format", "perfetto", "--trial", "nonesuch"), "there is no trial"),
        (("out",), r"\.parquet.*\.pftrace.*--format"),
    ],
)
def test_what_makes_no_sense_is_refused(results: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        export(results, *arguments)


def test_a_trial_without_telemetry_has_no_trace(results: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no telemetry"):
        export(results, tmp_path / "x.pftrace", "--trial", "20261122-2")
    assert not (tmp_path / "x.pftrace").exists()


def test_no_figure_is_no_github_benchmark(results: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no chosen trial has a figure"):
        export(results, tmp_path / "stem", "--format", "github-benchmark", "--outcome", "jetsam")


def test_a_file_that_cannot_be_written_is_said(results: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be written"):
        export(results, tmp_path / "no" / "such.xml")
