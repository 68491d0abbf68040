"""Other users of a machine: what is one user's alone, and what a phone or a folder says of itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.errors import DeviceError, UsageError
from harness.device.lease import LockFolder
from harness.farm.address import certificates_in
from harness.farm.certs import ephemeral
from harness.farm.host.usb_cycle import filled_in


@pytest.fixture
def member(tmp_path: Path) -> Path:
    ephemeral(tmp_path)
    return tmp_path / "member"


@pytest.mark.parametrize("what", ["ca.pem", "cert.pem", "."])
def test_certificates_that_others_could_change_are_refused(member: Path, what: str) -> None:
    assert certificates_in(member).ca == member / "ca.pem"
    path = member / what
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    with pytest.raises(UsageError, match="others can write to it; chmod go-w"):
        certificates_in(member)


def test_a_key_that_others_can_read_is_refused(member: Path) -> None:
    (member / "key.pem").chmod(0o640)
    with pytest.raises(UsageError, match="others can read this key; chmod 600"):
        certificates_in(member)


def _given_away(path: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(path, 4321, -1)


def _we_are_another(_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)


ANOTHER: Callable[[Path, pytest.MonkeyPatch], None] = _given_away if os.getuid() == 0 else _we_are_another


def test_another_users_certificates_are_refused(member: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ANOTHER(member / "ca.pem", monkeypatch)
    with pytest.raises(UsageError, match="belongs to another user"):
        certificates_in(member)


def test_locks_of_one_user_are_his_alone(tmp_path: Path) -> None:
    for private, modes in ((True, (0o700, 0o600)), (False, (0o1777, 0o666))):
        folder = LockFolder(tmp_path / f"private-{private}", private=private)
        lock = folder.try_take("trial-1", "a test")
        assert lock is not None
        assert (_mode(folder.path), _mode(folder.path / "trial-1.lock")) == modes
        lock.release()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("udid", ["--help", "-a", "../up", "a b", "", "0000\n", "{port}", "a" * 65, "$(id)"])
def test_what_is_no_udid_reaches_no_program(udid: str) -> None:
    with pytest.raises(DeviceError, match="no UDID"):
        filled_in(["tool", "{udid}"], udid)
