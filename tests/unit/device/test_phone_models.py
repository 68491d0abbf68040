"""Manifests and names on the phone: what comes back from there is believed only when it makes sense."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device.phone_models import Manifest, ManifestError, StoredModel, model_path, parse_manifest

SHA256 = "0123456789abcdef" * 4
NOW = datetime(2026, 3, 1, tzinfo=UTC)
GOOD = Manifest("tiny.task", 4711, SHA256, "2026-02-01T10:00:00+00:00", "2026-02-02T10:00:00+00:00")


def stored(sha256: str = SHA256, **values: Any) -> StoredModel:
    known: dict[str, Any] = {"files": (), "size_bytes": 1, "name": None, "used_at": None, "whole": True} | values
    return StoredModel(sha256, **known)


def test_a_manifest_survives_the_way() -> None:
    assert parse_manifest(GOOD.encode(), SHA256) == GOOD
    assert GOOD.used_at(NOW) == datetime(2026, 2, 2, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 5},
        {"name": ""},
        {"name": "a\x1b[2J"},
        {"name": "n" * 256},
        {"bytes": -1},
        {"bytes": True},
        {"bytes": "many"},
        {"sha256": "f" * 64},
        {"sha256": None},
        {"pushed_at": 5},
        {"pushed_at": "yesterday"},
        {"last_used": None},
        {"last_used": "2026-02-02T10:00:00"},
        {"last_used": "9" * 500},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    told = json.loads(GOOD.encode()) | wrong
    with pytest.raises(ManifestError):
        parse_manifest(json.dumps(told).encode(), SHA256)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_garbage_is_refused_with_a_typed_error(garbage: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(garbage, SHA256)


def test_a_deep_or_long_manifest_is_refused() -> None:
    for garbage in (b"[" * 4000, GOOD.encode() + b" " * 4096):
        with pytest.raises(ManifestError):
            parse_manifest(garbage, SHA256)


def test_a_use_that_lies_ahead_says_nothing() -> None:
    ahead = (NOW + timedelta(days=400)).isoformat()
    with pytest.raises(ManifestError, match="ahead"):
        Manifest("a", 1, SHA256, None, ahead).used_at(NOW)


def test_what_goes_first() -> None:
    part = stored("a" * 64, whole=False, used_at=NOW)
    silent = stored("b" * 64)
    old = stored("c" * 64, used_at=NOW - timedelta(days=2))
    new = stored("d" * 64, used_at=NOW)
    assert sorted([new, silent, old, part], key=lambda model: model.rank) == [part, silent, old, new]


@pytest.mark.parametrize("word", ["wide.task", "wide", "0123", SHA256, "0123456789ABCDEF"])
def test_what_is_kept(word: str) -> None:
    assert stored(name="wide.task").is_kept(("other", word))


@pytest.mark.parametrize("word", ["", "task", "wid", "1234", "f"])
def test_what_is_not_kept(word: str) -> None:
    assert not stored(name="wide.task").is_kept((word,))
    assert not stored(name=None).is_kept((word,))


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("model.task", ".task"),
        ("Model.LiteRTLM", ".litertlm"),
        ("model", ""),
        ("model.json", ""),
        ("model.part", ""),
        ("model.a b", ""),
        ("model.task/..", ""),
    ],
)
def test_the_ending_is_all_that_the_phone_gets_of_a_name(name: str, ending: str) -> None:
    assert model_path(SHA256, name) == f"/Documents/models/{SHA256}{ending}"
