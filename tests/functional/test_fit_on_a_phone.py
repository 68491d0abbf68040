"""`harness fit` on a virtual phone: the boundary that it finds is where trials of their own begin to fail."""

from __future__ import annotations

import asyncio
import json
import subprocess
from fractions import Fraction

import pytest

from harness.bench.fit import fit
from harness.bench.fit_question import Over, Question, model_of
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.cli.main import app
from harness.core.errors import UsageError
from harness.core.job import CacheState
from harness.core.phone import Virtual
from harness.store.database import ResultStore
from tests.functional import in_process
from tests.functional.whole_way import Bench

LIMITED = {"footprint_limit": "420MiB"}


def harness(*arguments: str, bench: Bench) -> subprocess.CompletedProcess[str]:
    return in_process.harness(*arguments, "--results", str(bench.results), folder=bench.results.parent)


def test_the_boundary_is_where_loads_begin_to_fail(bench: Bench) -> None:
    asked = Question(
        model=model_of("wide"),
        over=Over.COPIES,
        head_room=Fraction(0),
        cache=CacheState.NONE,
        largest=8,
        repeats=1,
    )
    report = asyncio.run(fit(asked, Virtual(settings=LIMITED), bench.results, Listener(), RunOptions()))
    best, larger = report.result.best, report.result.next_larger
    assert best is not None
    assert larger is not None
    assert larger.value == best.value + 1
    assert len(report.result.tallies) <= 4, "1 + log2(8)"
    assert report.result.contradictions == ()

    # each copy without a cache packs weights of its own, some 78 MiB
    options = {"settings": LIMITED, "matrix": {"caches": ["none"]}}
    assert bench.only("wide", copies=best.value, **options).outcome == "loaded"
    assert bench.only("wide", copies=larger.value, **options).outcome == "jetsam"

    with ResultStore.open(bench.results) as store:
        kept = store.trials(run_id=report.run_id)
    assert [record.trial_id for _, record in report.records] == [record.trial_id for record in kept]
    assert {record.suite for record in kept} == {"fit-wide-copies"}
    assert [record.copies for record in kept] == [value for value, _ in report.records]
    assert {record.suite_digest for record in kept} == {None}


def test_the_context_of_a_recipe_is_a_model_a_value(bench: Bench) -> None:
    asked = Question(model=model_of("tiny"), over=Over.CONTEXT, head_room=Fraction(0), largest=256, repeats=2)
    report = asyncio.run(fit(asked, Virtual(), bench.results, Listener(), RunOptions()))
    assert report.values == (128, 256)
    assert report.result.best is not None
    assert (report.result.best.value, report.result.next_larger) == (256, None)
    assert [(value, record.max_tokens) for value, record in report.records] == [(256, 256), (256, 256)]


def test_when_not_even_the_smallest_holds_the_exit_code_says_so(bench: Bench) -> None:
    done = harness(
        "fit", "tiny", "--device", "virtual", "--over", "copies", "--max", "2", "--repeats", "1", "--headroom", "99.9%",
        "--json", bench=bench,
    )  # fmt: skip  # a command line
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert (told["best"], told["next_larger"], told["at_least"]) == (None, 1, False)
    assert [value["outcomes"] for value in told["values"]] == [{"loaded": 1}, {"loaded": 1}]
    assert all(value["held"] == 0 and value["head_room_bytes"] > 0 for value in told["values"])


def test_when_the_largest_holds_nothing_else_is_tried(bench: Bench) -> None:
    done = harness(
        "fit", "tiny", "--device", "virtual", "--over", "chunk", "--max", "1MiB", "--repeats", "1", bench=bench
    )
    assert done.returncode == 0, done.stderr
    assert "at least 1 MiB load with 20 % head-room, the most that was asked about" in done.stdout
    assert "1 of 1 trials: with 95 % confidence at least 5 % of loads hold" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--over", "copies", "--device", "all"), "asks one phone"),
        (("--over", "copies", "--device", "virtual", "--headroom", "120%"), "no share of the footprint limit"),
        (("--over", "chunk", "--device", "virtual", "--max", "64"), "--max: '64' is no size"),
        (("--over", "copies", "--device", "virtual", "--max", "many"), "over copies a whole number is needed"),
    ],
)
def test_wrong_use_is_told(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        app(["fit", "tiny", *arguments, "--results", str(bench.results)], standalone_mode=False)
    assert not bench.results.exists()
