"""Shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# how long an example takes says nothing about the code on a machine with other work
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = ["pytester", "tests.postgresql"]


@pytest.fixture(scope="session", autouse=True)
def _locks_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody else's runs wait for phones of these tests, nor these tests for theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPHONE_LOAD_HARNESS_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture
def anyio_backend() -> str:
    """pymobiledevice3 is asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session")
def models_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder (as XDG_CACHE_HOME) for the session: each synthetic model is made once."""
    return tmp_path_factory.mktemp("cache")
