"""The Swift build: found, kept, refused. The compiler is a script here; the real one runs in the functional tests."""

from __future__ import annotations

import plistlib
import zipfile
from pathlib import Path

import pytest

from harness.core.job import Variant
from harness.runner.build import build_ipa
from harness.runner.build_swift import build_swift_ipa
from harness.runner.bundle import ABOUT_KEY, BuildError
from harness.runner.package import read_ipa, show_ipa
from harness.runner.swift import find_toolchain, swift_executable, swift_sources

COMPILER = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "Swift version {version}"; exit 0; fi
echo "$@" >> "{log}"
while [ $# -gt 0 ]; do [ "$1" = --scratch-path ] && scratch=$2; shift; done
{build}
"""
WORKS = 'mkdir -p "$scratch/release" && echo executable > "$scratch/release/RunnerLinux"'
FAILS = 'echo "error: cannot find type Lock in scope" >&2; exit 1'


class Compiler:
    """A `swift` on the PATH that notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "log"
        self.install()

    def install(self, version: str = "6.3", build: str = WORKS) -> None:
        command = self._folder / "swift"
        command.write_text(COMPILER.format(version=version, build=build, log=self._log))
        command.chmod(0o755)

    @property
    def builds(self) -> int:
        return len(self._log.read_text().splitlines()) if self._log.exists() else 0


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    folder = tmp_path / "toolchain"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return Compiler(folder)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    sources = tmp_path / "package" / "Sources" / "RunnerCore"
    sources.mkdir(parents=True)
    (sources / "A.swift").write_text("let a = 1\n")
    (tmp_path / "package" / "Package.swift").write_text("// swift-tools-version: 6.0\n")
    return tmp_path / "package"


def silent(what: str, done: int, total: int) -> None:
    """Nobody listens."""


def test_it_is_built_once_for_each_state_of_the_sources(compiler: Compiler, package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    steps: list[int] = []
    first = swift_executable(cache, lambda what, done, total: steps.append(done), package)
    assert first.read_text() == "executable\n"
    assert swift_executable(cache, silent, package) == first
    assert (compiler.builds, steps) == (1, [0, 1])
    (package / "Sources" / "RunnerCore" / "A.swift").write_text("let a = 2\n")
    assert swift_executable(cache, silent, package) != first
    assert compiler.builds == 2


def test_another_toolchain_builds_anew(compiler: Compiler, package: Path, tmp_path: Path) -> None:
    swift_executable(tmp_path / "cache", silent, package)
    compiler.install(version="6.4")
    swift_executable(tmp_path / "cache", silent, package)
    assert compiler.builds == 2


def test_tests_and_benchmarks_are_no_part_of_the_app(package: Path) -> None:
    for folder in ("Sources/RunnerBench", "Tests/RunnerCoreTests"):
        (package / folder).mkdir(parents=True)
        (package / folder / "main.swift").write_text("")
    assert list(swift_sources(package)) == ["Package.swift", "Sources/RunnerCore/A.swift"]


def test_what_the_compiler_refuses_is_told_in_its_words(compiler: Compiler, package: Path, tmp_path: Path) -> None:
    compiler.install(build=FAILS)
    with pytest.raises(BuildError, match="cannot find type Lock in scope"):
        swift_executable(tmp_path / "cache", silent, package)
    compiler.install()
    assert swift_executable(tmp_path / "cache", silent, package).is_file(), "a failure leaves nothing behind"


def test_without_a_toolchain_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="no `swift` on the PATH"):
        find_toolchain()


def test_without_a_checkout_there_are_no_sources(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="checkout"):
        swift_sources(tmp_path)


def test_the_bundle_names_the_engine_and_tells_what_it_is(compiler: Compiler, tmp_path: Path) -> None:
    built = build_swift_ipa(tmp_path / "out", tmp_path / "cache", commit="0" * 40, variant=Variant.BOTH)
    facts = show_ipa(built.path)
    assert (facts.runner, facts.platform, facts.variant, facts.commit) == ("swift", "linux", "both", "0" * 40)
    assert {"mmap", "read"} <= facts.engines.keys()
    assert (facts.build, facts.version, facts.bundle_id) == (built.build, built.version, built.bundle_id)
    with zipfile.ZipFile(built.path) as ipa:
        assert ipa.read("Payload/Runner.app/Runner") == b"executable\n"
        assert ipa.getinfo("Payload/Runner.app/Runner").external_attr >> 16 == 0o100755


def test_the_python_runner_tells_what_it_is(tmp_path: Path) -> None:
    facts = show_ipa(build_ipa(tmp_path, variant=Variant.BOTH).path)
    assert (facts.runner, facts.variant, facts.commit) == ("python", "both", None)


def test_an_app_that_is_not_ours_says_less(tmp_path: Path) -> None:
    path = tmp_path / "other.ipa"
    words = {"CFBundleIdentifier": "a.b", "CFBundleVersion": "7", "CFBundleShortVersionString": "1.7"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Payload/Other.app/Info.plist", plistlib.dumps({**words, ABOUT_KEY: ["nonsense"]}))
    facts = show_ipa(path)
    assert (facts.bundle_id, facts.runner, facts.engines, facts.variant) == ("a.b", None, {}, "plain")
    assert read_ipa(path).build == "7"
