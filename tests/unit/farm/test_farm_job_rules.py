"""What a host makes of a job, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.bench.plan import plan_trials
from harness.bench.run_options import PreflightMode
from harness.bench.suite import read_suite
from harness.farm.host.job_rules import Refused, read_job, turn_of
from harness.farm.wire import FileRef, FileUse, JobId, JobOptions, TrialJob

SUITE = """
name = "jobs"
[[models]]
name = "mine"
path = "models/mine.task"
[[models]]
name = "tiny"
synth = "tiny"
[matrix]
caches = ["none"]
[options]
trials = 2
order = "shuffled"
"""
DIGEST = "a" * 64
MODEL = FileRef(use=FileUse.MODEL, name="mine", file_name="mine.task", sha256=DIGEST, size_bytes=7)
APP = FileRef(use=FileUse.RUNNER, name="Runner.ipa", file_name="Runner.ipa", sha256="b" * 64, size_bytes=7)
FILES = {DIGEST: Path("/cache/a/mine.task"), "b" * 64: Path("/cache/b/Runner.ipa")}


def job_of(model: str, **options: Any) -> TrialJob:
    suite = read_suite(SUITE, Path("/work/suite.toml"))
    planned = next(one for one in plan_trials(suite) if one.case.model.name == model and one.ordinal == 2)
    return TrialJob(
        job=JobId(run_id="run", case=planned.case.name, ordinal=2, attempt=3),
        suite_text=SUITE,
        base="/work",
        suite_digest=suite.digest,
        number=4,
        total=4,
        options=JobOptions(**options),
    )


def test_a_models_file_takes_the_place_of_its_path() -> None:
    turn = turn_of(read_job(job_of("mine", files=(MODEL, APP), build="b1", preflight="stop")), FILES, ("auto",))
    assert turn.planned.case.model.path == Path("/cache/a/mine.task")
    assert turn.planned.case.model.name == "mine"
    assert (turn.planned.ordinal, turn.planned.attempt, turn.number, turn.total) == (2, 3, 4, 4)
    assert turn.options.runner == ("/cache/b/Runner.ipa",)
    assert (turn.options.build, turn.options.preflight) == ("b1", PreflightMode.STOP)
    # the case, and with it the series, is that of the suite
    assert turn.planned.case.suite_digest == job_of("mine").suite_digest


def test_a_hosts_own_app_runs_what_brings_none() -> None:
    assert turn_of(read_job(job_of("tiny")), {}, ("/apps/Signed.ipa",)).options.runner == ("/apps/Signed.ipa",)
    swift = read_job(job_of("tiny", runner=("swift",)))
    assert turn_of(swift, {}, ("/apps/Signed.ipa",)).options.runner == ("swift",)


def test_paths_from_elsewhere_are_refused() -> None:
    with pytest.raises(Refused, match="did not come with the run"):
        read_job(job_of("mine"))
    with pytest.raises(Refused, match="over the wire only"):
        turn_of(read_job(job_of("tiny", runner=("/etc/passwd",))), {}, ("auto",))


def test_on_ones_own_machine_paths_mean_something() -> None:
    read = read_job(job_of("mine", runner=("/my/Runner.ipa",)), own_paths=True)
    turn = turn_of(read, {}, ("auto",), own_paths=True)
    assert turn.planned.case.model.path == Path("/work/models/mine.task")
    assert turn.options.runner == ("/my/Runner.ipa",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"suite_digest": "0" * 12}, "different versions"),
        ({"suite_text": "name = 1"}, "name"),
        ({"job": JobId(run_id="run", case="tiny/mmap/cpu/none", ordinal=1, attempt=1)}, "has no trial"),
    ],
)
def test_another_suite_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(Exception, match=says):
        read_job(job_of("tiny").model_copy(update=change))


def test_strange_options_are_refused() -> None:
    with pytest.raises(Refused, match="preflight"):
        turn_of(read_job(job_of("tiny", preflight="perhaps")), {}, ("auto",))
