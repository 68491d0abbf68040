"""pytest's `--load-fail-on` and `--load-baseline`: a real session on a virtual phone beside SIMULATED earlier nights.

The earlier nights are copies of records of a real run with other figures and other dates, so that they are of the
same identity; they live in the test's own results only.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.bench.conductor import run_suite
from harness.bench.listener import Listener
from harness.bench.suite import load_suite
from harness.core.phone import Virtual
from harness.core.record import TrialRecord
from harness.store.database import ResultStore
from harness.store.schema import record_to_row, trials
from tests.simulated_nights import SIMULATED

LIMIT_S = 300
TRIALS = 5
EARLIER_NIGHTS = 8
SUITE = f"""
name = "watched"
[[models]]
name = "tiny"
synth = "tiny"
[options]
trials = {TRIALS}
max_tokens = 128
"""


@dataclass(frozen=True)
class Session:
    """Where sessions run, and the records of a run of the same suite."""

    folder: Path
    environment: dict[str, str]
    records: tuple[TrialRecord, ...]

    def run(self, results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            *(sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "--device=virtual"),
            # the other plugins of our developers only take time
            *("-p", "no:hypothesispytest", "-p", "no:xdist"),
            *(f"--load-results={results}", *arguments, "watched.toml"),
        ]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def earlier(self, results: Path, factor: float) -> None:
        """Fills results with simulated nights on which the model took `factor` times the memory."""
        with ResultStore.open(results) as store, store.writing() as connection:
            for night in range(1, EARLIER_NIGHTS + 1):
                connection.execute(trials.insert(), [record_to_row(one) for one in self._simulated(night, factor)])

    def _simulated(self, nights_ago: int, factor: float) -> Sequence[TrialRecord]:
        begun = datetime.now(UTC) - timedelta(days=nights_ago)
        return [
            replace(
                one,
                trial_id=f"simulated-{nights_ago}-{one.ordinal}",
                run_id=f"simulated-{nights_ago}",
                origin=SIMULATED,
                started_at=begun.isoformat(),
                peak_footprint_bytes=round((one.peak_footprint_bytes or 0) * factor),
            )
            for one in self.records
        ]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, models_cache: Path) -> Session:
    folder = tmp_path_factory.mktemp("watched")
    file = folder / "watched.toml"
    file.write_text(SUITE)
    environment = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(models_cache)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        first = asyncio.run(run_suite(load_suite(file), Virtual(), folder / "first", Listener()))
    return Session(folder, environment, first.records)


def test_the_nights_before_judge(session: Session, tmp_path: Path) -> None:
    session.earlier(tmp_path, 0.5)
    done = session.run(tmp_path, "-o", "load_fail_on=regression")
    assert "FAILED virtual/iPhone17,1/watched/tiny/litert_lm/cpu/cold:peak_footprint_bytes: regressed" in done.stdout
    assert f"{TRIALS} passed" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, "every test passed, and yet"


def test_a_baseline_judges(session: Session, tmp_path: Path) -> None:
    session.earlier(tmp_path, 0.5)
    done = session.run(tmp_path, "--load-baseline=run:simulated-1", "--load-fail-on=regression")
    assert "recorded apart" in done.stdout, "nights confound, and it is said"
    line = next(line for line in done.stdout.splitlines() if "peak_footprint_bytes" in line)
    assert "regressed" in line
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--load-fail-on=everything", "'everything' is none of regression, missing"),
        ("--load-baseline=run:nobody", "holds no results"),
        ("--load-baseline=watched.toml", "a baseline is what was recorded"),
    ],
)
def test_wrong_use(pytester: pytest.Pytester, argument: str, said: str) -> None:
    pytester.makefile(".toml", watched=SUITE)
    done = pytester.runpytest_inprocess("--device=virtual", argument, "watched.toml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*{said}*"])
