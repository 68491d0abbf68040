"""`harness report`: what it prints, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.cli.main import entry
from harness.report.site.pages import Page
from tests.simulated_nights import simulated_record
from tests.unit.report.site.test_entry_changes import put


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    put(folder, [simulated_record(trial_id="t-1", run_id="run-1", started_at="2026-01-01T20:00:00+00:00")])
    return folder


@pytest.fixture(autouse=True)
def _only_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other pages are is not this command's matter."""
    from harness.report.site import entry, plan

    def planned(data: object, folder: Path) -> list[Page]:
        return [entry.page(data)]  # type: ignore[arg-type]  # as the build hands it over

    monkeypatch.setattr(plan, "plan", planned)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", "report", *arguments])
    with pytest.raises(SystemExit) as left:
        entry()
    return int(left.value.code or 0)


def test_prints_the_first_page_and_how_many_were_drawn(
    results: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, f"--results={results}") == 0
    printed = capfd.readouterr()
    assert printed.out == f"{results / 'report/index.html'}\n"
    assert "1 drawn, 0 kept, 0 removed" in printed.err
    assert run(monkeypatch, f"--results={results}", "--jobs=1") == 0
    assert "0 drawn, 1 kept, 0 removed" in capfd.readouterr().err


def test_another_folder_and_an_earlier_night(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "site"
    assert run(monkeypatch, f"--results={results}", f"--target={target}", "--as-of=2026-01-02") == 0
    assert "night of 2026-01-02" in (target / "index.html").read_text()
    assert not list((results / "report").iterdir())


def test_the_page_of_a_run(results: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, f"--results={results}", "--run=run-1") == 0
    page = results / "report/runs/run-1/index.html"
    assert capfd.readouterr().out == f"{page}\n"
    assert "run-1" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("--run=run-2",), "the nearest: run-1"),
        (("--run=../../etc",), "harness results list"),
        (("--run=run-1", "--as-of=2026-01-01"), "give one of them"),
        (("--as-of=yesterday",), "as in 2026-11-22"),
        (("--target=RESULTS",), "a folder of the site's own"),
        (("--target=RESULTS/runs.db",), "is a file"),
        (("--results=nowhere",), "harness run"),
        (("--jobs=0",), "--jobs"),
    ],
)
def test_wrong_use_is_exit_2_and_says_what_to_do(
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    remedy: str,
) -> None:
    words = [word.replace("RESULTS", str(results)) for word in arguments]
    assert run(monkeypatch, f"--results={results}", *words) == 2
    assert remedy in " ".join(capfd.readouterr().err.split())
    assert not list((results / "report").iterdir())
