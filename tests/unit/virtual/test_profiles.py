"""Profiles, settings and homes."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest

from harness.virtual.home import HomeTaken, open_home
from harness.virtual.profiles import UDID, BadProfile, make_state, parse_settings, profile_names


def test_every_value_of_every_profile_names_its_source(tmp_path: Path) -> None:
    text = resources.files("harness.virtual").joinpath("profiles.toml").read_text(encoding="utf-8")
    for profile in tomllib.loads(text).values():
        assert {entry["source"] for entry in profile.values()} <= {"observed", "assumed"}
    for name in profile_names():
        state = make_state(name, {}, tmp_path, "x")
        assert UDID.fullmatch(state.udid)
        assert int(state.udid.partition("-")[2], 16) == state.ecid


def test_settings_change_what_they_name(tmp_path: Path) -> None:
    settings = parse_settings(["ios=18.4", "footprint_limit=90MiB", "allocation_limit=150MiB", "seed=7"])
    state = make_state("iphone-16-pro", settings, tmp_path, "x")
    assert (state.os_version, state.os_build) == ("18.4", "22E240")
    assert (state.footprint_limit_bytes, state.allocation_limit_bytes) == (90 << 20, 150 << 20)
    assert state.udid == make_state("iphone-16-pro", {"seed": "7"}, tmp_path, "y").udid
    assert state.udid != make_state("iphone-16-pro", {}, tmp_path, "x").udid


@pytest.mark.parametrize("words", [["ios"], ["nothing=1"], ["seed=1", "seed=2"]])
def test_wrong_settings_are_refused(words: list[str]) -> None:
    with pytest.raises(BadProfile):
        parse_settings(words)


@pytest.mark.parametrize("settings", [{"footprint_limit": "0B"}, {"allocation_limit": "much"}, {"udid": "me"}])
def test_wrong_values_are_refused(settings: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadProfile):
        make_state("iphone-16-pro", settings, tmp_path, "x")


def test_two_phones_at_once_take_two_slots_and_a_freed_one_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, second = open_home("iphone-16-pro", None), open_home("iphone-16-pro", None)
    assert first.path != second.path
    assert first.identity != second.identity
    with pytest.raises(HomeTaken, match="--home"):
        open_home("iphone-16-pro", first.path)
    first.release()
    again = open_home("iphone-16-pro", None)
    assert (again.path, again.identity) == (first.path, first.identity)
    again.release()
    second.release()
