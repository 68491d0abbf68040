"""`harness explain`: what a newcomer reads about a trial, over the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.core.errors import UsageError
from harness.store.database import ResultStore
from tests.functional.whole_way import Bench


def explained(results: Path, *arguments: str) -> str:
    answer = CliRunner().invoke(app, ["explain", *arguments, "--results", str(results)])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.stdout


@pytest.fixture
def killed(bench: Bench) -> Bench:
    """A results folder with a trial that the phone killed, and then one that loaded."""
    assert bench.only("wide", settings={"footprint_limit": "90MiB"}, matrix={"caches": ["none"]}).outcome == "jetsam"
    assert bench.only(matrix={"caches": ["none"]}).outcome == "loaded"
    return bench


def test_the_chain_of_evidence(killed: Bench) -> None:
    with ResultStore.open(killed.results) as store:
        first, last = store.trials()
    text = explained(killed.results, first.trial_id)
    assert "jetsam (expected: loaded)" in text
    assert "A VIRTUAL iPhone" in text
    assert "What decided: JetsamEvent: Runner" in text
    assert "Looked for and not found: a result" in text
    assert "create_engine (NO END WAS HEARD OF)" in text
    assert "Because: no weight cache, 2 signatures" in text, "what to try next"
    report = next(item.file for item in first.evidence if item.decisive)
    assert f"{first.artifacts_dir}/{report}" in text

    assert "loaded (as expected)" in explained(killed.results, "last")
    assert explained(killed.results, last.trial_id[:-1]) == explained(killed.results, "last"), "the begin of an id"

    told = json.loads(explained(killed.results, "last", "--json"))
    assert told["trial"]["trial_id"] == last.trial_id
    assert told["explanation"][0]["title"] == "How it ended"

    for word, said in (("2", "is the begin of 2 trials"), (first.trial_id[:-4] + "zzzz", first.trial_id)):
        with pytest.raises(UsageError, match=said):
            explained(killed.results, word)


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no runs\.db"):
        explained(tmp_path, "last")
    ResultStore.open(tmp_path).close()
    with pytest.raises(UsageError, match="no trials yet"):
        explained(tmp_path, "last")
