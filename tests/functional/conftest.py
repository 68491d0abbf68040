"""A virtual phone for each test that asks for one, and apps to put on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.virtual.running import RunningPhone, start_phone
from tests.functional.app_packages import SLEEPER, build_ipa
from tests.functional.whole_way import Bench

EVENTUALLY_LIMIT_S = 120.0


@pytest.fixture(autouse=True)
def _patient_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone on a machine with other work may take more than the 3 s that the library waits for its first answer."""
    monkeypatch.setattr("pymobiledevice3.remote.remotexpc.FIRST_REPLY_TIMEOUT", EVENTUALLY_LIMIT_S)


@pytest.fixture(autouse=True)
def _few_keys(few_keys: Callable[..., rsa.RSAPrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each phone of a test is new, so the host pairs with it anew, with keys that this process had already."""
    monkeypatch.setattr(rsa, "generate_private_key", few_keys)


class StartPhone(Protocol):
    """`phone_starter(settings, home_name, profile)`: another phone of the same test."""

    def __call__(
        self, settings: Mapping[str, str] | None = None, home_name: str = "phone", profile: str = "iphone-16-pro"
    ) -> RunningPhone: ...


@pytest.fixture
def phone_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartPhone]:
    """Starts phones whose homes lie in tmp_path; all are ended after the test, the latest is what clients find."""
    monkeypatch.setenv("HOME", str(tmp_path / "host"))  # clients cache pair records under it
    (tmp_path / "host").mkdir()
    phones: list[RunningPhone] = []

    def start(
        settings: Mapping[str, str] | None = None, home_name: str = "phone", profile: str = "iphone-16-pro"
    ) -> RunningPhone:
        phone = start_phone(profile, settings, home=tmp_path / home_name)
        phones.append(phone)
        monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", phone.usbmux)
        return phone

    yield start
    for phone in phones:
        phone.stop()


@pytest.fixture
def virtual_phone(phone_starter: StartPhone) -> RunningPhone:
    """A phone that has just been taken out of its box, plugged in, and trusts whoever asks."""
    return phone_starter()


class MakeIpa(Protocol):
    """`make_ipa(script, version=…, info=…, files=…)`: an IPA whose executable is `script`."""

    def __call__(
        self,
        script: str = SLEEPER,
        *,
        version: str = "1",
        info: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Path: ...


@pytest.fixture
def make_ipa(tmp_path: Path) -> MakeIpa:
    """Builds IPAs of one app, com.example.probe."""

    def build(
        script: str = SLEEPER,
        *,
        version: str = "1",
        info: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Path:
        return build_ipa(tmp_path, script, version=version, info=info, files=files)

    return build


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Waits until a condition holds; fails after a generous limit that only a broken phone reaches."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + EVENTUALLY_LIMIT_S
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("the condition did not come about")
            time.sleep(0.01)

    return wait


@pytest.fixture
def bench(tmp_path: Path, models_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A results folder and a phone's home of this test, and a way to run suites with them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(models_cache))
    # the session sets it; this restores what was there
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "")
    return Bench(tmp_path)
