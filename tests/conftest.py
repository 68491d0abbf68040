"""Shared by all tests."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, settings

from harness.runner.package import swift_cache

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
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of this session of tests."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "of-the-session"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _fonts_found_once(session_folder: Path) -> Iterator[None]:
    """Matplotlib keeps its list of fonts in the home folder, of which many tests have one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", str(session_folder / "matplotlib"))
        yield


@pytest.fixture(scope="session")
def models_cache(session_folder: Path) -> Path:
    """A cache folder (as XDG_CACHE_HOME) for the session: each synthetic model is made once.

    The Swift runner is compiled once a machine, in the user's own cache.
    """
    cache = session_folder / "cache"
    runner = cache / "iphone-load-harness" / "runner"
    runner.mkdir(parents=True, exist_ok=True)
    kept = swift_cache()
    kept.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (runner / "swift").symlink_to(kept)
    return cache


@pytest.fixture(scope="session")
def few_keys() -> Callable[..., rsa.RSAPrivateKey]:
    """Makes real keys as `rsa.generate_private_key` does, but few: to find the primes takes longer than to pair."""
    made: dict[tuple[object, ...], Iterator[rsa.RSAPrivateKey]] = {}
    make = rsa.generate_private_key

    def give(public_exponent: int, key_size: int, backend: object = None) -> rsa.RSAPrivateKey:
        kind = (public_exponent, key_size)
        if kind not in made:
            # a root, a host, and a third, that keys of one pairing differ from those of the next
            made[kind] = itertools.cycle([make(public_exponent, key_size) for _ in range(3)])
        return next(made[kind])

    return give
