"""The templates in docs/ci: each is well formed, and each command in them is one that this version takes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from harness.cli.main import app
from harness.core.judgement import VerdictKind

FOLDER = Path(__file__).parents[4] / "docs" / "ci"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
UNITS = sorted([*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")])
_COMMAND = re.compile(r"(?:^|[\s`'=/(])((?:harness|pytest) [^`'\n]*)")
_ENDS = re.compile(r"\s(?:\|\||&&|[|>;]|>>|2>).*$")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]+\}?")
GROUPS = ("results", "runner", "models", "verdicts", "virtual")


def commands() -> Iterator[tuple[str, str]]:
    """File name and command line of each, as it stands there."""
    for path in sorted(FOLDER.iterdir()):
        for line in path.read_text().splitlines():
            if not line.lstrip().startswith(("#", "//")) and not re.search(r"^\s*(- )?name:", line):
                for found in _COMMAND.findall(line):
                    yield path.name, _ENDS.sub("", found).strip()


COMMANDS = sorted(set(commands()))


def words_of(line: str) -> list[str]:
    return shlex.split(_VARIABLE.sub("given", line))


def parse(arguments: list[str]) -> None:
    """Through the command's own parser, without running anything; raises its error."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("harness", arguments)
    while hasattr(command, "get_command"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        command = command.get_command(context, rest[0])
        assert command is not None, f"there is no {rest[0]}"
        context = command.make_context(rest[0], rest[1:], parent=context)


@cache
def pytest_options() -> frozenset[str]:
    told = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True).stdout
    # the older spelling, which everybody writes, is not in the help
    return frozenset(re.findall(r"--[a-z-]+", told)) | {"--junitxml"}


def test_the_templates_have_commands_of_every_kind() -> None:
    verbs = {tuple(words_of(line)[:2]) for _, line in COMMANDS}
    assert {("harness", verb) for verb in ("run", "report", "verdicts", "results", "doctor", "compare")} <= verbs
    assert any(line.startswith("pytest suites") for _, line in COMMANDS)
    for name in ("github-nightly.yml", "github-pr.yml", "Jenkinsfile", "iphone-load-nightly.service", "README.md"):
        assert any(where == name for where, _ in COMMANDS), name


@pytest.mark.parametrize(("where", "line"), COMMANDS)
def test_a_command_is_one_that_there_is(where: str, line: str) -> None:
    program, *arguments = words_of(line)
    if program == "harness":
        # prose names a verb without what it needs
        whole = where != "README.md" or "--" in line
        if whole and arguments != ["verdicts", "triage"]:
            parse(arguments)
        else:
            assert arguments[0] in {*GROUPS, "run", "report", "doctor"}
    else:
        assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= pytest_options()


@pytest.mark.parametrize(
    "line", ["run x.toml --device any --nonesuch", "results export", "nonesuch", "verdicts --fail-on x"]
)
def test_a_command_that_there_is_not_would_be_seen(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing|there is no|is not one of"):
        parse(shlex.split(line))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_yaml_with_pinned_actions_and_few_rights(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    # YAML 1.1 takes the word `on` for a yes
    assert workflow[True]
    for job in workflow["jobs"].values():
        assert "runner." not in str(job.get("env")), "GitHub does not know it there"
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            if "uses" in step:
                # GitHub's own by version, of others one known commit
                assert re.fullmatch(r"actions/[\w-]+@v[0-9]+|[\w-]+/[\w/-]+@[0-9a-f]{40}", step["uses"])
            # text of others in a script would be run: it comes by way of the environment
            assert "${{" not in step.get("run", "")


def test_a_phone_is_not_for_strangers() -> None:
    """A job on one's own host with the code of a pull request is only for branches of the repository."""
    jobs = yaml.safe_load((FOLDER / "github-pr.yml").read_text())["jobs"]
    own = [job for job in jobs.values() if "self-hosted" in job["runs-on"]]
    assert own
    for job in own:
        assert "head.repo.full_name == github.repository" in job["if"]


def test_the_address_of_a_webhook_is_on_no_command_line() -> None:
    assert any("notify" in line for _, line in COMMANDS)
    assert not [line for _, line in COMMANDS if "--webhook" in line]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_units(path: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS:
        # the program of the template is not here
        text = unit.read_text().replace("/srv/iphone-load/.venv/bin/harness", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    answer = subprocess.run([program, "verify", str(tmp_path / path.name)], capture_output=True, text=True, check=False)
    assert (answer.returncode, [line for line in answer.stderr.splitlines() if path.name in line]) == (0, [])


def test_the_kinds_that_templates_fail_on_are_kinds() -> None:
    told = {word for _, line in COMMANDS for word in re.findall(r"--fail-on[ =](\S+)", line)}
    assert told
    assert told <= set(VerdictKind)


def test_the_readme_explains_each_file() -> None:
    readme = (FOLDER / "README.md").read_text()
    for path in FOLDER.iterdir():
        assert path.name == "README.md" or f"({path.name})" in readme
