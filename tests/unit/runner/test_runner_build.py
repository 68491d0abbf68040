"""The IPA builder: the same bytes each time, a build number that follows the content, safe quoting."""

from __future__ import annotations

import plistlib
import subprocess
import zipfile
from pathlib import Path

import pytest

import harness
from harness.runner.build import BuildError, build_ipa

APP = "Payload/Runner.app"


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


def test_options_change_entitlements_and_build(tmp_path: Path) -> None:
    plain = build_ipa(tmp_path / "plain")
    large = build_ipa(tmp_path / "large", increased_memory_limit=True, extended_virtual_addressing=True)
    committed = build_ipa(tmp_path / "committed", commit="0" * 40)
    assert len({plain.build, large.build, committed.build}) == 3
    with zipfile.ZipFile(large.path) as ipa:
        entitlements = plistlib.loads(ipa.read(f"{APP}/archived-expanded-entitlements.xcent"))
    assert entitlements["com.apple.developer.kernel.increased-memory-limit"] is True
    assert entitlements["com.apple.developer.kernel.extended-virtual-addressing"] is True


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
