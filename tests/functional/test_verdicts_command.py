"""`harness verdicts`, the whole way: forty SIMULATED nights in a store of the test's own, and what the command says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from harness.cli.main import app
from harness.core.errors import UsageError
from harness.store.database import ResultStore
from harness.store.schema import record_to_row, trials
from tests.simulated_nights import FIRST_NIGHT, SIMULATED, SimulatedHistory, SimulatedNight

NIGHTS = 40
LAST = FIRST_NIGHT + timedelta(days=NIGHTS - 1)
GOOD = SimulatedNight(columns={"app_build": "good", "build": "n35"})
HEAVY = SimulatedNight({"peak_footprint_bytes": 1.05}, columns={"app_build": "heavy", "build": "n36"})
DEAD = SimulatedNight(outcomes=("bad_alloc",) * 5)
STEP = "virtual/iPhone17,1/simulated/heavier/litert_lm/cpu/cold:peak_footprint_bytes"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases whose footprint grew, that died tonight, whose engine is new, that did not run, and that is as ever."""
    folder = tmp_path_factory.mktemp("simulated")
    new_engine = replace(GOOD, columns={"engine_version": "0.19.0"})
    cases: dict[str, Sequence[SimulatedNight | None]] = {
        "heavier": [GOOD] * 34 + [HEAVY] * 6,
        "dead": [GOOD] * 39 + [DEAD],
        "renewed": [GOOD] * 37 + [new_engine] * 3,
        "absent": [GOOD] * 39 + [None],
        "as-ever": [GOOD] * 40,
    }
    records = [
        record
        for seed, (name, nights) in enumerate(cases.items())
        for record in SimulatedHistory(case=f"{name}/litert_lm/cpu/cold", seed=seed).records(nights)
    ]
    assert {record.origin for record in records} == {SIMULATED}
    with ResultStore.open(folder) as store, store.writing() as connection:
        connection.execute(trials.insert(), [record_to_row(record) for record in records])
    return folder


def command(results: Path, *arguments: str) -> Result:
    """`harness verdicts …` with these results."""
    place = ["--results", str(results)]
    at = 1 if arguments and arguments[0] in ("show", "triage") else 0
    answer = CliRunner().invoke(app, ["verdicts", *arguments[:at], *place, *arguments[at:]])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def listed(results: Path, *arguments: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(command(results, "--json", *arguments).stdout)
    return told


def test_the_list_has_the_worst_first(results: Path) -> None:
    found = listed(results)
    assert [(one["kind"], one["since"]) for one in found[:2]] == [
        ("regressed", str(LAST)),
        ("regressed", str(FIRST_NIGHT + timedelta(days=34))),
    ]
    assert found[0]["series"].endswith("dead/litert_lm/cpu/cold:outcome")
    assert found[1]["series"] == STEP
    assert found[1]["last_good"]["build"] == "n35"
    assert found[1]["first_bad"]["app_build"] == "heavy"
    kinds = {one["series"].split("/")[3]: one["kind"] for one in found[2:]}
    assert kinds == {"absent": "missing", "dead": "missing", "renewed": "incomparable"}
    assert len(listed(results, "--all")) == 5 * 8
    text = command(results).stdout
    assert "loaded → bad_alloc since" in text
    assert "absent/litert_lm/cpu/cold:(8 series)" in text, "one row for a case that did not run"
    assert "as-ever" not in text
    assert [one["series"] for one in listed(results, f"--since={LAST}")] == [found[0]["series"]]


def test_exit_codes_are_only_for_what_was_asked(results: Path) -> None:
    assert command(results).exit_code == 0
    assert command(results, "--fail-on=regressed").exit_code == 1
    assert command(results, "--fail-on=noisy").exit_code == 0
    assert command(results, "--fail-on=noisy", "--fail-on=missing").exit_code == 1
    calm = f"--as-of={FIRST_NIGHT + timedelta(days=33)}"
    assert command(results, calm, "--fail-on=regressed", "--fail-on=missing").exit_code == 0


def test_a_series_night_by_night(results: Path) -> None:
    text = command(results, "show", "renewed/litert_lm/cpu/cold:load").stdout
    assert "a new segment: engine version 0.18.1 → 0.19.0" in text
    assert "incomparable" in text
    told = json.loads(command(results, "show", "dead/litert_lm/cpu/cold:load", "--json").stdout)
    assert len(told["nights"]) == NIGHTS
    assert (told["nights"][-1]["value"], told["nights"][-1]["outcomes"]) == (None, {"bad_alloc": 5})
    with pytest.raises(UsageError, match="a part of 5 series"):
        command(results, "show", "cold:load")
    with pytest.raises(UsageError, match="the nearest"):
        command(results, "show", "heaviest")


def test_triage_by_the_command(results: Path, tmp_path: Path) -> None:
    assert command(results, "triage", STEP, "--state=acknowledged", "--reason=known, #7").exit_code == 0
    known = next(one for one in listed(results) if one["series"] == STEP)
    assert (known["is_open"], known["triage"]["reason"]) == (False, "known, #7")
    assert "regressed, acknowledged" in command(results).stdout
    told = json.loads(command(results, "triage", STEP, "--state=open", "--reason=back to everybody", "--json").stdout)
    assert (told["series"], told["state"], told["reason"]) == (STEP, "open", "back to everybody")
    assert next(one for one in listed(results) if one["series"] == STEP)["is_open"]
    with pytest.raises(UsageError, match="no regression tonight"):
        command(results, "triage", "as-ever/litert_lm/cpu/cold:load", "--state=fixed", "--reason=x")
    with pytest.raises(UsageError, match=r"--night: .* has no night near 2020-01-01"):
        command(results, "triage", STEP, "--state=fixed", "--reason=x", "--night=2020-01-01")
    with pytest.raises(UsageError, match=r"no runs\.db"):
        command(tmp_path, "triage", STEP, "--state=fixed", "--reason=x")


@pytest.mark.parametrize(
    "wrong", ["--as-of=yesterday", "--since=soon", "--night-starts-utc=noon", "--night-starts-utc=12:00+05:00"]
)
def test_wrong_use_names_the_flag(results: Path, wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        command(results, wrong)


def test_a_flag_before_the_verb_is_not_lost(results: Path) -> None:
    for verb in (["show", STEP], ["triage", STEP, "--state=fixed", "--reason=x"]):
        answer = CliRunner().invoke(app, ["verdicts", "--results", str(results), *verb])
        assert isinstance(answer.exception, UsageError)
        assert f"--results is before {verb[0]}; write it after" in str(answer.exception)


def test_no_change_is_not_no_series(results: Path) -> None:
    answer = command(results, f"--since={LAST + timedelta(days=1)}")
    assert (answer.exit_code, answer.stdout) == (0, "")
    assert answer.stderr == f"no change since {LAST + timedelta(days=1)} in 40 series\n"


def test_results_without_trials(tmp_path: Path) -> None:
    ResultStore.open(tmp_path).close()
    assert listed(tmp_path) == []


def test_no_name_speaks_to_the_terminal(tmp_path: Path) -> None:
    history = SimulatedHistory(case="\x1b[31mred/litert_lm/cpu/cold", seed=1)
    with ResultStore.open(tmp_path) as store, store.writing() as connection:
        connection.execute(trials.insert(), [record_to_row(record) for record in history.records([GOOD] * 8)])
    shown = command(tmp_path, "show", "cold:peak_footprint").stdout
    assert "red/litert_lm" in shown
    assert "\x1b" not in shown
