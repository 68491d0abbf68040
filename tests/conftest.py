"""Shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# how long an example takes says nothing about the code on a machine with other work
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = ["pytester"]


@pytest.fixture
def anyio_backend() -> str:
    """pymobiledevice3 is asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session")
def models_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder (as XDG_CACHE_HOME) for the session: each synthetic model is made once."""
    return tmp_path_factory.mktemp("cache")
