"""One conformance suite, two runners: every test here drives the Python and the Swift edition over the wire alike."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.bench.synth import RECIPES, ModelInfo, make
from harness.runner.build import build_ipa
from harness.runner.build_swift import build_swift_ipa
from harness.runner.bundle import BuildError, BuiltRunner
from harness.runner.package import swift_cache
from tests.functional.runner_process import RunnerProcess, launched, unpack


def _build_swift(folder: Path) -> BuiltRunner:
    try:
        return build_swift_ipa(folder, swift_cache())
    except BuildError as error:
        # what the compiler refuses is a failure, what is not there is none
        if "no `swift`" in str(error):
            pytest.skip(str(error))
        raise


EDITIONS: dict[str, Callable[[Path], BuiltRunner]] = {"python": build_ipa, "swift": _build_swift}


@pytest.fixture(scope="session", params=EDITIONS)
def edition(request: pytest.FixtureRequest) -> str:
    """`python` or `swift`."""
    return str(request.param)


@pytest.fixture(scope="session")
def ipa(edition: str, tmp_path_factory: pytest.TempPathFactory) -> BuiltRunner:
    return EDITIONS[edition](tmp_path_factory.mktemp(f"runner-{edition}"))


@pytest.fixture(scope="session")
def executable(ipa: BuiltRunner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed app's executable."""
    return unpack(ipa.path, tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelInfo:
    return make(RECIPES["tiny"], tmp_path_factory.mktemp("tiny") / "tiny.task")


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelInfo]:
    made = make(RECIPES["wide"], tmp_path_factory.mktemp("wide") / "wide.task")
    yield made
    made.path.unlink()


@pytest.fixture
def home(tmp_path: Path, tiny: ModelInfo) -> Path:
    """A data container with the tiny model in it."""
    documents = tmp_path / "home" / "Documents"
    documents.mkdir(parents=True)
    shutil.copy2(tiny.path, documents / "tiny.task")
    return tmp_path / "home"


@pytest.fixture
def app(executable: Path, home: Path) -> Iterator[RunnerProcess]:
    with launched(executable, home) as process:
        yield process
