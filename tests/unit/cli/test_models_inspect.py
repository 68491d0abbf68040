"""`harness models inspect`: figures for a person and for a machine, and refusals with their exit code."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from harness.cli import exits
from harness.cli.main import entry
from tests.model_files import bin_model, small_files


def harness(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        entry()
    return int(left.value.code or 0)


def test_a_person_sees_what_is_stated_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "a.litertlm"
    model.write_bytes(small_files()["litertlm"])
    assert harness(monkeypatch, "models", "inspect", model) == 0
    shown = {line.split("  ")[0].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert "litertlm" in shown["format"]
    assert "gemma3" in shown["architecture"]
    assert "16 tokens" in shown["context"]
    assert "512 B (32 B a token)" in shown["key and value caches"]
    assert "cpu" in shown["backends"]
    assert "4" in shown["prefill_4"]
    assert "sha256" not in shown


def test_what_a_file_does_not_say_is_not_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "a.bin"
    model.write_bytes(bin_model())
    assert harness(monkeypatch, "models", "inspect", model) == 0
    shown = {line.split("  ")[0].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert "not stated" in shown["embedding"]
    assert "not stated" in shown["key and value caches"]


def test_a_machine_gets_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "a.task"
    model.write_bytes(small_files()["task"])
    assert harness(monkeypatch, "models", "inspect", model, "--json", "--digest") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "task"
    assert told["weights_by_type"] == {"int8": 32, "float16": 32}
    assert told["kv_bytes"] == told["kv_bytes_per_token"] * told["context"] == 512
    assert told["embedding_bytes"] == 32
    assert told["signatures"][0]["kind"] == "prefill"
    assert told["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()


def test_a_web_page_is_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "gemma.task"
    page.write_text("<!DOCTYPE html><title>Sign in</title>")
    assert harness(monkeypatch, "models", "inspect", page) == exits.WRONG_USE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "web page" in captured.err
