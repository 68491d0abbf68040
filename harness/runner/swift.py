"""The Swift toolchain, and the Linux executable of the Swift runner that a virtual iPhone runs.

Built once for each state of the sources and each toolchain, and kept in the user's cache folder. The executable needs
no library of Swift's at run time: the standard library is linked into it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import harness
from harness.runner.bundle import BuildError

PRODUCT = "RunnerLinux"
TARGETS = ("RunnerCore", "RunnerEngines", PRODUCT)
PACKAGE_DIR = Path(harness.__file__).parents[1] / "ios_runner_app"
"""The Swift sources lie beside the package in a checkout; an installed wheel does not carry them."""
VERSION_LIMIT_S = 60.0
BUILD_LIMIT_S = 1800.0
"""A first build takes half a minute of an idle core."""
KEY_DIGITS = 16
ERROR_LINES = 12

BUILD_FLAGS = ("-c", "release", "--static-swift-stdlib", "-Xlinker", "-s", "-Xswiftc", "-warnings-as-errors")

Step = Callable[[str, int, int], None]
"""What goes on, how much of it is done, of how much."""


@dataclass(frozen=True)
class Toolchain:
    """A ``swift`` command and what it says of itself."""

    command: Path
    version: str


def find_toolchain() -> Toolchain:
    """The ``swift`` on the PATH. Raises BuildError when there is none, or it does not answer."""
    found = shutil.which("swift")
    if found is None:
        raise BuildError(
            "there is no `swift` on the PATH: install a Swift 6 toolchain (https://www.swift.org/install), "
            "or use the Python runner (--runner python)"
        )
    try:
        asked = subprocess.run(
            [found, "--version"], capture_output=True, text=True, check=True, timeout=VERSION_LIMIT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{found} does not tell its version: {error}") from error
    return Toolchain(Path(found), asked.stdout.strip())


def swift_sources(package: Path = PACKAGE_DIR) -> dict[str, bytes]:
    """What the executable is made of: path → bytes, in the order of the paths. Raises BuildError."""
    files = [package / "Package.swift"]
    for target in TARGETS:
        files += sorted((package / "Sources" / target).rglob("*.swift"))
    if not files[0].is_file():
        raise BuildError(f"the Swift runner is built from a checkout of the harness; there is no {files[0]}")
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in files}


def swift_executable(cache: Path, step: Step, package: Path = PACKAGE_DIR) -> Path:
    """The executable, from ``cache`` or built into it, which takes about a minute and is told to ``step``.

    Raises BuildError: no toolchain, no sources, or the compiler's own words.
    """
    toolchain = find_toolchain()
    kept = cache / _key(toolchain, swift_sources(package)) / PRODUCT
    if kept.is_file():
        return kept
    with _alone(cache):
        if not kept.is_file():
            step("build the Swift runner", 0, 1)
            _build(toolchain, package, cache / "scratch", kept)
            step("build the Swift runner", 1, 1)
    return kept


def _key(toolchain: Toolchain, sources: dict[str, bytes]) -> str:
    whole = hashlib.sha256(f"{toolchain.version}\0{BUILD_FLAGS}".encode())
    for name, data in sources.items():
        whole.update(f"\0{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()[:KEY_DIGITS]


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Two processes must not compile into one folder; the second finds what the first has built."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(toolchain: Toolchain, package: Path, scratch: Path, kept: Path) -> None:
    command = [str(toolchain.command), "build", "--product", PRODUCT, *BUILD_FLAGS]
    command += ["--package-path", str(package), "--scratch-path", str(scratch)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_LIMIT_S)
        if done.returncode:
            words = (done.stdout + done.stderr).strip().splitlines()[-ERROR_LINES:]
            raise BuildError("the Swift runner does not build here:\n" + "\n".join(words))
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the Swift runner was not built within {BUILD_LIMIT_S:.0f} s") from error
    except OSError as error:
        raise BuildError(f"{toolchain.command} cannot be started: {error.strerror}") from error
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    shutil.copy2(scratch / "release" / PRODUCT, part)
    part.replace(kept)
