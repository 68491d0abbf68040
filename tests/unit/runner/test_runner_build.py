"""The IPA builder: the same bytes each time, a build number that follows the content, safe quoting."""

from __future__ import annotations

import plistlib
import subprocess
import zipfile
from pathlib import Path

import pytest

import harness
from harness.core.job import Variant
from harness.runner.build import BuildError, build_ipa
from harness.runner.package import read_ipa, show_ipa

APP = "Payload/Runner.app"
INCREASED = "com.apple.developer.kernel.increased-memory-limit"
EXTENDED = "com.apple.developer.kernel.extended-virtual-addressing"
ENTITLEMENTS = {
    Variant.PLAIN: set(),
    Variant.EXTENDED_ADDRESSING: {EXTENDED},
    Variant.INCREASED_LIMIT: {INCREASED},
    Variant.BOTH: {INCREASED, EXTENDED},
}


def test_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    one = build_ipa(tmp_path / "one")
    two = build_ipa(tmp_path / "two")
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.build == two.build


def test_info_plist_and_entitlements(tmp_path: Path) -> None:
    built = build_ipa(tmp_path)
    with zipfile.ZipFile(built.path) as ipa:
        info = plistlib.loads(ipa.read(f"{APP}/Info.plist"))
        entitlements = plistlib.loads(ipa.read(f"{APP}/archived-expanded-entitlements.xcent"))
        assert ipa.getinfo(f"{APP}/Runner").external_attr >> 16 == 0o100755
    assert info["CFBundleIdentifier"] == built.bundle_id
    assert info["CFBundleExecutable"] == "Runner"
    assert info["CFBundleShortVersionString"] == built.version == harness.__version__
    assert info["CFBundleVersion"] == built.build
    assert info["UIFileSharingEnabled"] is True
    assert entitlements == {"get-task-allow": True}
    assert len(built.build) == 12
    assert read_ipa(built.path) == built


def test_a_commit_changes_the_build(tmp_path: Path) -> None:
    assert build_ipa(tmp_path / "plain").build != build_ipa(tmp_path / "committed", commit="0" * 40).build


def test_a_variant_is_an_app_of_its_own_with_its_entitlements(tmp_path: Path) -> None:
    built = {variant: build_ipa(tmp_path, variant=variant) for variant in Variant}
    assert {variant: read_ipa(app.path) for variant, app in built.items()} == built, "side by side in one folder"
    assert len({app.build for app in built.values()}) == len({app.bundle_id for app in built.values()}) == len(Variant)
    for variant, app in built.items():
        with zipfile.ZipFile(app.path) as ipa:
            entitlements = plistlib.loads(ipa.read(f"{APP}/archived-expanded-entitlements.xcent"))
        assert app.variant is variant
        assert set(entitlements) - {"get-task-allow"} == ENTITLEMENTS[variant]
        assert all(granted is True for granted in entitlements.values())


@pytest.mark.parametrize("name", ["with space", "quote'and\"quote", "$HOME `id`", "back\\slash"])
def test_odd_interpreter_paths_are_started_as_they_are(tmp_path: Path, name: str) -> None:
    interpreter = tmp_path / name / "python"
    interpreter.parent.mkdir()
    interpreter.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    interpreter.chmod(0o755)
    built = build_ipa(tmp_path / "out", interpreter=interpreter)
    with zipfile.ZipFile(built.path) as ipa:
        ipa.extractall(tmp_path / "app")
    runner = tmp_path / "app" / APP / "Runner"
    runner.chmod(0o755)
    answer = subprocess.run([runner, "a b"], capture_output=True, text=True, check=True, timeout=30)
    assert answer.stdout == f"-I|{runner.with_name('runner.pyz')}|a b|"


@pytest.mark.parametrize("path", ["python", "/usr/bin/py\nthon"])
def test_interpreters_that_cannot_be_named_in_a_script_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(BuildError, match="absolute path on one line"):
        build_ipa(tmp_path, interpreter=Path(path))


def test_a_ballast_is_said_and_is_part_of_the_build(tmp_path: Path) -> None:
    plain, heavy = build_ipa(tmp_path), build_ipa(tmp_path, ballast_bytes=6 << 20)
    # both may lie in one folder
    assert plain.path != heavy.path
    assert plain.build != heavy.build
    assert (plain.bundle_id, plain.ballast_bytes) == (heavy.bundle_id, 0)
    assert read_ipa(heavy.path) == heavy
    assert show_ipa(heavy.path).ballast_bytes == 6 << 20


@pytest.mark.parametrize("ballast_bytes", [-1, 1 << 40])
def test_a_ballast_that_makes_no_sense_is_refused(tmp_path: Path, ballast_bytes: int) -> None:
    with pytest.raises(BuildError, match="ballast"):
        build_ipa(tmp_path, ballast_bytes=ballast_bytes)
