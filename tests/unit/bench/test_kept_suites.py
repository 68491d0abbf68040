"""Copies of suite files beside the results."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.kept_suites import keep_suite, kept_suite
from harness.bench.suite import Suite, SuiteError, load_suite

SUITE = """
# a comment that is kept
name = "kept"
[[models]]
name = "tiny"
synth = "tiny"
[[published]]
what = "somebody's phone"
figure = "{figure}"
source = "https://example.org/1"
"""


def written(folder: Path, figure: str = "2 GB") -> Suite:
    path = folder / "suite.toml"
    path.write_text(SUITE.format(figure=figure))
    return load_suite(path)


def test_a_copy_is_word_for_word_what_was_run(tmp_path: Path) -> None:
    suite = written(tmp_path)
    keep_suite(tmp_path / "results", suite)
    keep_suite(tmp_path / "results", suite)
    (copy,) = (tmp_path / "results/suites").iterdir()
    assert copy.name == f"{suite.digest}.toml"
    assert copy.read_text() == (tmp_path / "suite.toml").read_text()
    kept = kept_suite(tmp_path / "results", suite.digest)
    assert kept is not None
    assert kept.digest == suite.digest
    assert kept.published == suite.published


def test_what_others_publish_changes_no_digest_and_the_last_copy_stays(tmp_path: Path) -> None:
    first, second = written(tmp_path), written(tmp_path, "3 GB")
    assert first.digest == second.digest
    for suite in (first, second):
        keep_suite(tmp_path, suite)
    kept = kept_suite(tmp_path, first.digest)
    assert kept is not None
    assert [fact.figure for fact in kept.published] == ["3 GB"]


def test_a_made_up_suite_leaves_nothing(tmp_path: Path) -> None:
    suite = Suite.model_validate({"name": "made", "models": [{"name": "tiny", "synth": "tiny"}]})
    keep_suite(tmp_path, suite)
    assert not list(tmp_path.iterdir())
    assert kept_suite(tmp_path, suite.digest) is None


@pytest.mark.parametrize("digest", ["../../etc/x", "", "ABCDEF012345", "0" * 13])
def test_a_digest_that_is_none_leads_nowhere(tmp_path: Path, digest: str) -> None:
    with pytest.raises(SuiteError, match="no digest"):
        kept_suite(tmp_path, digest)


@pytest.mark.parametrize(
    "spoilt",
    [
        SUITE.format(figure=""),
        SUITE.format(figure="1").replace("https://example.org/1", "javascript:alert(1)"),
        SUITE.format(figure="1").replace("what = ", "wat = "),
        SUITE.format(figure="x" * 201),
        SUITE.format(figure="1") + '[[published]]\nwhat = "w"\nfigure = "1"\nsource = "https://example.org"\n' * 50,
    ],
)
def test_what_is_quoted_is_bounded_and_has_a_source(tmp_path: Path, spoilt: str) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(spoilt)
    with pytest.raises(SuiteError, match="published"):
        load_suite(path)
