"""`harness devices reserve` on this host: another user's runs leave the phone alone, whatever stands in the folder."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.cli.main import entry
from harness.core.errors import UsageError
from harness.core.phone import ByUdid
from harness.device.lease import FOLDER_VARIABLE, LockBusy, phone_lock
from harness.device.registry import leased_phone
from harness.device.reservation import MAX_FILES, PhoneReserved, Reservations, parse_duration

UDID = "00008140-0018303932C99EF3"
OTHER_UID = 4321
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="another user's file is made by root")


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "locks"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["harness", *words])
    with pytest.raises(SystemExit) as end:
        entry()
    return int(end.value.code or 0)


def _of_another(folder: Path, *, owner: int = OTHER_UID, **changes: object) -> Path:
    now = datetime.now(UTC)
    kept = {
        "udid": UDID,
        "user": "ann",
        "uid": OTHER_UID,
        "host": "bench",
        "since": now.isoformat(),
        "until": (now + timedelta(hours=1)).isoformat(),
        "reason": "measures",
    } | changes
    folder.mkdir(exist_ok=True)
    path = folder / f"{phone_lock(UDID)}.{OTHER_UID}.reserved"
    path.write_text(json.dumps(kept))
    os.chown(path, owner, -1)
    return path


def _lease() -> None:
    async def take() -> None:
        async with leased_phone(ByUdid(UDID)):
            pass

    asyncio.run(take())


def test_reserve_is_told_and_released(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], locks: Path
) -> None:
    assert _run(monkeypatch, "devices", "reserve", UDID, "--for", "2h", "--reason", "a look", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    length = datetime.fromisoformat(told["until"]) - datetime.fromisoformat(told["since"])
    assert abs(length - timedelta(hours=2)) < timedelta(seconds=2)
    found = Reservations.shared().of(UDID)
    assert found is not None
    assert found.reason == "a look"
    assert found.is_ours
    # our own runs have it
    _lease()
    assert _run(monkeypatch, "devices", "release", UDID) == 0
    assert Reservations.shared().of(UDID) is None
    assert not list(locks.glob("*.reserved"))
    assert _run(monkeypatch, "devices", "release", UDID) == 0
    assert "was not reserved" in capsys.readouterr().err


@needs_root
def test_the_phone_of_another_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], locks: Path
) -> None:
    _of_another(locks)
    with pytest.raises(PhoneReserved, match=r"reserved by ann@bench until .* UTC \(measures\)"):
        _lease()
    assert issubclass(PhoneReserved, LockBusy)
    for verb in (["reserve", UDID, "--for", "1h"], ["release", UDID]):
        assert _run(monkeypatch, "devices", *verb) == 3
        assert "only ann can let it go" in capsys.readouterr().err
    assert Reservations.shared().of(UDID) is not None


@needs_root
@pytest.mark.parametrize(
    "changes",
    [
        {"until": "2020-01-01T00:00:00+00:00"},
        {"until": "9999-01-01T00:00:00+00:00"},
        {"until": "tomorrow"},
        {"udid": "00008140-0018303932C99EF4"},
        {"uid": 1},
        {"user": ""},
        {"reason": "x" * 5000},
        {"owner": 1},
    ],
    ids=lambda changes: next(iter(changes)) if isinstance(changes, dict) else str(changes),
)
def test_what_makes_no_sense_or_has_ended_counts_as_none(locks: Path, changes: dict[str, object]) -> None:
    owner = changes.get("owner", OTHER_UID)
    assert isinstance(owner, int)
    _of_another(locks, owner=owner, **{key: value for key, value in changes.items() if key != "owner"})
    assert Reservations.shared().of(UDID) is None
    _lease()


@needs_root
def test_links_and_pipes_in_the_folder_are_not_followed(locks: Path, tmp_path: Path) -> None:
    path = _of_another(locks)
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    assert Reservations.shared().of(UDID) is None
    path.unlink()
    os.mkfifo(path)
    os.chown(path, OTHER_UID, -1)
    assert Reservations.shared().of(UDID) is None
    path.unlink()
    # a link in our own file's place is replaced, and what it leads to stays as it is
    ours = locks / f"{phone_lock(UDID)}.{os.getuid()}.reserved"
    ours.symlink_to(elsewhere)
    before = elsewhere.read_text()
    Reservations.shared().reserve(UDID, 60.0)
    assert not ours.is_symlink()
    assert elsewhere.read_text() == before


def test_wrong_words_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["reserve", UDID, "--for", "soon"], "--for=soon"),
        (["reserve", UDID, "--for", "31d"], "at most 30 days"),
        (["reserve", "virtual", "--for", "2h"], "by its UDID"),
        (["reserve", UDID, "--for", "2h", "--certs", "x"], "--certs is for a farm"),
        (["release", UDID, "--force"], "--force is for a farm"),
        (["--json", "release", UDID], "--json is for the list"),
    ):
        assert _run(monkeypatch, "devices", *words) == 2
        assert told in capsys.readouterr().err


def test_durations() -> None:
    assert [parse_duration(text, "--for") for text in ("90s", "45min", "45m", "2h", "1.5d")] == [
        90, 2700, 2700, 7200, 129600,
    ]  # fmt: skip  # one a line says no more
    for text in ("", "2", "0h", "-1h", "1w", "2h30", "9" * 50 + "s"):
        with pytest.raises(UsageError):
            parse_duration(text, "--for")


@pytest.mark.parametrize(
    ("since", "until"),
    [
        # far away, where no clock of UTC goes
        ("9999-12-31T00:00:00+00:00", "9999-12-31T23:59:59-23:59"),
        ("2999-01-01T00:00:00+00:00", "2999-01-01T01:00:00+00:00"),
        ("0001-01-01T00:00:00+23:59", "0001-01-02T00:00:00+00:00"),
        ("now", "then"),
    ],
)
def test_a_reservation_that_is_out_of_time_counts_as_none(locks: Path, since: str, until: str) -> None:
    _of_another(locks, owner=os.getuid(), uid=os.getuid(), since=since, until=until).rename(
        locks / f"{phone_lock(UDID)}.{os.getuid()}.reserved"
    )
    assert Reservations.shared().of(UDID) is None
    assert Reservations.shared().all() == {}
    _lease()


def test_no_number_of_files_hides_a_reservation(locks: Path) -> None:
    Reservations.shared().reserve(UDID, 60)
    for number in range(MAX_FILES + 10):
        (locks / f"phone-0000000{number:04}.4321.reserved").touch()
    found = Reservations.shared().of(UDID)
    assert found is not None
    assert found.is_ours
