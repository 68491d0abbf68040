"""`build-ipa.sh` and `resign.sh` with the tools they call played by scripts: what they ask for, and what comes out.

Nothing here shows that Xcode would do it.
"""

from __future__ import annotations

import importlib.util
import os
import plistlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.runner.bundle import BUNDLE_ID, EXTENDED_ADDRESSING, INCREASED_LIMIT
from harness.runner.package import show_ipa
from harness.runner.swift import PACKAGE_DIR

SCRIPTS = PACKAGE_DIR / "scripts"

# as far as the script needs it: an archive's app from the sources' Info.plist, and an export of it
XCODEBUILD = r"""#!/usr/bin/env bash
echo "xcodebuild $*" >> "$LOG"
[ "$1" = -version ] && { echo "Xcode 16.4"; exit; }
action="" archive="" export="" configuration="" commit="" number=""
while [ $# -gt 0 ]; do
    case $1 in
        -archivePath) archive=$2; shift ;;
        -exportPath) export=$2; shift ;;
        -configuration) configuration=$2; shift ;;
        -exportArchive) action=export ;;
        archive) action=archive ;;
        HARNESS_COMMIT=*) commit=${1#*=} ;;
        CURRENT_PROJECT_VERSION=*) number=${1#*=} ;;
    esac
    shift
done
app=$archive/Products/Applications/Runner.app
if [ $action = archive ]; then
    mkdir -p "$app"
    cp "App/Entitlements/$configuration.entitlements" "$app/archived-expanded-entitlements.xcent"
    sed -e "s/\$(CONFIGURATION)/$configuration/; s/\$(HARNESS_COMMIT)/$commit/; s/\$(MARKETING_VERSION)/0.1.0/" \
        -e "s/\$(CURRENT_PROJECT_VERSION)/$number/; s/\$(PRODUCT_BUNDLE_IDENTIFIER)/id.$configuration/" \
        App/Info.plist > "$app/Info.plist"
else
    mkdir -p "$export/Payload"
    cp -R "$app" "$export/Payload/"
    (cd "$export" && zip -qr Runner.ipa Payload)
fi
"""
NOTES = '#!/bin/sh\necho "$(basename "$0") $*" >> "$LOG"\n'

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Folder of the played tools; `log` in it tells how they were called."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, text in (("xcodebuild", XCODEBUILD), ("xcodegen", NOTES), ("pod", NOTES)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def build(tools: Path, tmp_path: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{tools}:{os.environ['PATH']}", "LOG": str(tools / "log"), "HOME": str(tmp_path), **environment}
        command = [str(SCRIPTS / "build-ipa.sh"), "--out", "out", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120)

    return run


def test_unsigned_variants_can_be_shown(build: Run, tools: Path, tmp_path: Path) -> None:
    done = build("--unsigned")
    assert done.returncode == 0, done.stderr
    built = {path.name: show_ipa(path) for path in (tmp_path / "out").iterdir()}
    assert done.stdout.split() == [str(tmp_path / "out" / name) for name in sorted(built, key=done.stdout.index)]
    assert {name: facts.variant for name, facts in built.items()} == {
        f"Runner-{variant}.ipa": variant for variant in ("plain", "extended-addressing", "increased-limit", "both")
    }
    both = built["Runner-both.ipa"]
    assert (both.runner, both.platform) == ("swift", "ios")
    assert both.entitlements == {EXTENDED_ADDRESSING: True, INCREASED_LIMIT: True}
    assert set(both.engines) == {"mediapipe", "litert_lm", "mmap", "read"}
    assert len({facts.build for facts in built.values()}) == 1
    assert both.build.isdecimal()
    log = (tools / "log").read_text()
    assert log.count("CODE_SIGNING_ALLOWED=NO archive") == 4
    assert "-exportArchive" not in log


def test_the_same_sources_give_the_same_number(build: Run, tmp_path: Path) -> None:
    numbers = []
    for _ in range(2):
        assert build("--unsigned", "--variant", "plain").returncode == 0
        numbers.append(show_ipa(tmp_path / "out" / "Runner-plain.ipa").build)
    assert numbers[0] == numbers[1]


def test_a_signed_build_is_exported_with_the_key(build: Run, tools: Path, tmp_path: Path) -> None:
    key = {"ASC_KEY_PATH": "/key.p8", "ASC_KEY_ID": "K", "ASC_ISSUER_ID": "I"}
    done = build("--variant", "plain", DEVELOPMENT_TEAM="TEAM123456", BUNDLE_ID="com.example.runner", **key)
    assert done.returncode == 0, done.stderr
    assert show_ipa(tmp_path / "out" / "Runner-plain.ipa").variant == "plain"
    archive, export = [line for line in (tools / "log").read_text().splitlines() if "-archivePath" in line]
    for call in (archive, export):
        assert "-allowProvisioningUpdates -authenticationKeyPath /key.p8 -authenticationKeyID K" in call
    assert "HARNESS_BUNDLE_ID=com.example.runner DEVELOPMENT_TEAM=TEAM123456 archive" in archive


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ((), {}, "DEVELOPMENT_TEAM"),
        ((), {"DEVELOPMENT_TEAM": "T", "ASC_KEY_ID": "K"}, "all three or none"),
        (("--variant", "huge"), {}, "there is no variant huge"),
        (("--sign",), {}, "unknown option --sign"),
    ],
)
def test_what_is_missing_or_wrong_is_said(
    build: Run, arguments: tuple[str, ...], environment: dict[str, str], words: str
) -> None:
    done = build(*arguments, **environment)
    assert done.returncode == 2
    assert words in done.stderr


def test_all_that_is_missing_is_said_at_once(build: Run) -> None:
    done = build("--unsigned", PATH="/usr/bin:/bin")
    assert done.returncode == 2
    for name in ("xcodegen", "pod"):
        assert f"missing: {name}" in done.stderr


def test_resign_says_what_is_missing(tmp_path: Path) -> None:
    ipa = tmp_path / "in.ipa"
    ipa.touch()
    command = [str(SCRIPTS / "resign.sh"), "--profile", "none.mobileprovision", "--key", "k", str(ipa), "out.ipa"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--profile must be a provisioning profile" in done.stderr


@pytest.fixture(scope="module")
def signing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("signing_entitlements", SCRIPTS / "signing_entitlements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def profile(app_id: str, **entitlements: Any) -> dict[str, Any]:
    team = {"com.apple.developer.team-identifier": "TEAM", "get-task-allow": True}
    return {"Entitlements": {"application-identifier": app_id, **team, **entitlements}}


@pytest.mark.parametrize("app_id", [f"TEAM.{BUNDLE_ID}", "TEAM.*", "TEAM.org.*"])
def test_entitlements_to_sign_with(signing: ModuleType, app_id: str) -> None:
    allowed = profile(app_id, **{INCREASED_LIMIT: True, EXTENDED_ADDRESSING: True})
    assert signing.signing_entitlements(allowed, {INCREASED_LIMIT: True}, BUNDLE_ID) == {
        "application-identifier": f"TEAM.{BUNDLE_ID}",
        "com.apple.developer.team-identifier": "TEAM",
        "get-task-allow": True,
        INCREASED_LIMIT: True,
    }


def test_a_profile_that_does_not_fit_is_refused(signing: ModuleType) -> None:
    with pytest.raises(signing.CannotSignError, match="increased-memory-limit"):
        signing.signing_entitlements(profile("TEAM.*"), {INCREASED_LIMIT: True}, BUNDLE_ID)
    with pytest.raises(signing.CannotSignError, match=r"the profile is for com\.example\.other"):
        signing.signing_entitlements(profile("TEAM.com.example.other"), {}, BUNDLE_ID)
    with pytest.raises(signing.CannotSignError, match="names no entitlements"):
        signing.signing_entitlements({}, {}, BUNDLE_ID)


def test_the_entitlements_are_read_from_the_files(signing: ModuleType, tmp_path: Path) -> None:
    app = tmp_path / "Runner.app"
    app.mkdir()
    (app / "Info.plist").write_bytes(plistlib.dumps({"CFBundleIdentifier": BUNDLE_ID}))
    (app / "archived-expanded-entitlements.xcent").write_bytes(plistlib.dumps({}))
    (tmp_path / "profile.plist").write_bytes(plistlib.dumps(profile("TEAM.*")))
    arguments = [str(tmp_path / "profile.plist"), str(app), "com.example.mine"]
    command = ["python3", str(SCRIPTS / "signing_entitlements.py"), *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    assert plistlib.loads(done.stdout)["application-identifier"] == "TEAM.com.example.mine"
