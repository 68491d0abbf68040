"""The iOS app's types, checked against the stubs of Apple's modules; and that the check notices what is not there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.runner.swift import PACKAGE_DIR

SCRIPT = PACKAGE_DIR / "scripts" / "typecheck-ios.sh"
STUBS = PACKAGE_DIR / "Stubs"
LIMIT_S = 600.0
"""Ten seconds of an idle core; a busy machine takes longer."""

pytestmark = pytest.mark.skipif(shutil.which("swiftc") is None, reason="there is no Swift toolchain on the PATH")


def typecheck(stubs: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STUBS": str(stubs)}
    return subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S)


@pytest.mark.thorough
def test_the_ios_app_has_no_type_errors_and_no_warnings() -> None:
    done = typecheck(STUBS)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["RunnerCore", "RunnerEngines", "Runner"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("stub", "member", "seen_in"),
    [
        ("Darwin/darwin.h", "uint64_t limit_bytes_remaining;", "RunnerCore/Memory/MemoryDarwin.swift"),
        ("UIKit/UIKit.swift", "var adjustsFontForContentSizeCategory", "App/StatusViewController.swift"),
    ],
)
def test_a_member_that_is_not_there_is_noticed(tmp_path: Path, stub: str, member: str, seen_in: str) -> None:
    stubs = tmp_path / "Stubs"
    shutil.copytree(STUBS, stubs)
    lines = (stubs / stub).read_text().splitlines(keepends=True)
    kept = [line for line in lines if member not in line]
    assert len(kept) == len(lines) - 1
    (stubs / stub).write_text("".join(kept))

    done = typecheck(stubs)

    assert done.returncode != 0
    name = re.split(r"\W+", member.rstrip(";"))[-1]
    assert re.search(rf"{re.escape(seen_in)}:\d+:\d+: error: .*'{name}'", done.stderr)


def test_a_machine_without_a_compiler_is_told_what_to_do() -> None:
    environment = {**os.environ, "SWIFTC": "no-such-compiler"}
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "install a Swift 6 toolchain" in done.stderr
