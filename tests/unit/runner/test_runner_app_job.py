"""The app's decoder against the golden files of the wire language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.runner.app.job import Hello, Prewarm, Refusal, Run, decode_command

FIXTURES = Path(__file__).parents[3] / "ios_runner_app" / "Tests" / "Fixtures"
NEEDS_THE_APP = {
    "70,000 bytes without a newline",
    "cancel without a trial",
    "no such file",
    "unknown engine",
    "resume from the future",
}
"""Refusals that take more than the line to decide; test_runner_app.py has them."""


def golden(name: str) -> list[str]:
    return (FIXTURES / name).read_text(encoding="utf-8").splitlines()


def wire_bytes(row: dict[str, Any]) -> bytes:
    if "hex" in row:
        return bytes.fromhex(row["hex"])
    if "repeat" in row:
        return str(row["repeat"]["text"]).encode() * int(row["repeat"]["times"])
    return str(row["line"]).encode()


@pytest.mark.parametrize("line", golden("commands.ndjson"))
def test_golden_commands_are_understood(line: str) -> None:
    command = decode_command(line.encode())
    sent = json.loads(line)
    assert type(command).__name__.lower() == sent["cmd"]
    if isinstance(command, Run):
        assert command.trial == sent["trial"]
        for name, value in sent["job"].items():
            decoded = getattr(command.job, name)
            if isinstance(value, dict):
                assert {key: getattr(decoded, key) for key in value} == value
            else:
                assert decoded == value


def test_optional_fields_take_their_documented_values() -> None:
    line = '{"cmd":"run","trial":"t","job":{"model":"m","engine":"e","backend":"cpu","cache":"none","sample_hz":1}}'
    command = decode_command(line.encode())
    assert isinstance(command, Run)
    job = command.job
    assert (job.sha256, job.max_tokens, job.prompt) == (None, None, None)
    assert (job.decode_tokens, job.hold_ms, job.seed, job.prewarm) == (0, 0, 0, Prewarm("off", 0))
    assert (job.warmup, job.guard) == (False, None)


BAD = [json.loads(line) for line in golden("bad_commands.ndjson")]


@pytest.mark.parametrize("row", [row for row in BAD if row["why"] not in NEEDS_THE_APP], ids=lambda row: row["why"])
def test_golden_bad_commands_are_refused(row: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        decode_command(wire_bytes(row))
    assert caught.value.kind == row["kind"]
    assert caught.value.message


def test_a_refused_run_names_its_trial() -> None:
    with pytest.raises(Refusal) as caught:
        decode_command(b'{"cmd":"run","trial":"t7","job":{}}')
    assert (caught.value.kind, caught.value.trial) == ("bad_job", "t7")


def test_hello() -> None:
    assert decode_command(b'{"v":1,"cmd":"hello","host_t":5}') == Hello(5)
