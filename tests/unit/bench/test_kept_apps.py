"""Copies of apps beside the results."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.kept_apps import AppNotKept, KeptApp, beyond_bounds, keep_app, keep_apps, kept_app, kept_apps
from harness.core.job import Variant
from harness.runner.bundle import BuiltRunner


def app(folder: Path, build: str, content: bytes = b"app") -> BuiltRunner:
    path = folder / f"{build.replace('/', '_')}.ipa"
    path.write_bytes(content)
    return BuiltRunner(path, "org.example.runner", build, "1", Variant.PLAIN)


def test_a_build_is_kept_once_and_found(tmp_path: Path) -> None:
    one = app(tmp_path, "abc123", b"one")
    path = keep_app(tmp_path / "results", one)
    assert path is not None
    assert path.read_bytes() == b"one"
    assert keep_app(tmp_path / "results", one) == path
    assert kept_app(tmp_path / "results", "abc123") == path
    assert [kept.build for kept in kept_apps(tmp_path / "results")] == ["abc123"]
    assert not [left for left in path.parent.iterdir() if left != path]


def test_a_build_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AppNotKept, match="abc"):
        kept_app(tmp_path, "abc")


def test_two_apps_of_one_build_are_not_taken_for_one(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        keep_app(tmp_path, app(tmp_path, "1", content))
    with pytest.raises(AppNotKept, match="2 apps say"):
        kept_app(tmp_path, "1")


@pytest.mark.parametrize("build", ["../up", "a/b", "", "x" * 65])
def test_a_build_that_is_no_file_name_is_not_kept(tmp_path: Path, build: str) -> None:
    assert keep_app(tmp_path, replace(app(tmp_path, "1"), build=build)) is None


def test_what_lies_there_otherwise_is_none_of_ours(tmp_path: Path) -> None:
    path = keep_app(tmp_path, app(tmp_path, "1"))
    assert path is not None
    (path.parent / "notes.txt").write_text("mine")
    (path.parent / "2-0123456789abcdef.ipa").symlink_to(path)
    assert [kept.path for kept in kept_apps(tmp_path)] == [path]


def test_the_oldest_go_first() -> None:
    apps = [KeptApp(Path(str(number)), str(number), "", 10, -number) for number in range(6)]
    assert beyond_bounds(apps, max_apps=4) == apps[4:]
    assert beyond_bounds(apps, max_bytes=35) == apps[3:]
    # the last good and the first bad one are worth any space
    assert beyond_bounds(apps, max_bytes=1) == apps[2:]


def test_use_makes_new(tmp_path: Path) -> None:
    paths = [keep_app(tmp_path, app(tmp_path, str(number), b"%d" % number)) for number in range(2)]
    for age, path in enumerate(paths):
        assert path is not None
        os.utime(path, ns=(age, age))
    assert [kept.build for kept in kept_apps(tmp_path)] == ["1", "0"]
    keep_app(tmp_path, app(tmp_path, "0", b"0"))
    assert [kept.build for kept in kept_apps(tmp_path)] == ["0", "1"]


def test_a_copy_that_fails_is_told_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "apps").write_text("in the way")
    told: list[str] = []
    keep_apps(tmp_path, [app(tmp_path, "1")], told.append)
    assert len(told) == 1
