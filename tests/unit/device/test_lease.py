"""Locks of a host: one holder at a time, whoever it is, however it ends, and whatever lies in the folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device import lease
from harness.device.lease import (
    HeldLock,
    LockBusy,
    LockFolder,
    LocksUnusable,
    Waiting,
    host_lock,
    phone_lock,
    take_first,
    who_holds,
)
from harness.device.lock_holder import MAX_HOLDER_BYTES, Holder, read_holder

LIMIT_S = 30.0
NOBODY = 65534
PURPOSE = "a test"
# takes the lock as another process and says so; then waits to be ended
HOLDER = """
import os, sys
from pathlib import Path
from harness.device.lease import LockFolder
folder = LockFolder(Path(sys.argv[1]))
if len(sys.argv) > 3:
    # everything that is imported on the way: the other user may not be able to read this Python
    folder.try_take("warm-up", "").release()
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
lock = folder.try_take(sys.argv[2], "the other one")
print("held" if lock else "busy", flush=True)
sys.stdin.read()
if lock:
    lock.release()
"""


@pytest.fixture
def folder(tmp_path: Path) -> LockFolder:
    return LockFolder(tmp_path / "locks")


@contextlib.contextmanager
def other_process(folder: LockFolder, name: str, *uid: str) -> Iterator[subprocess.Popen[str]]:
    """Holds the lock until its standard input is closed, or it is killed."""
    command = [sys.executable, "-c", HOLDER, str(folder.path), name, *uid]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(LIMIT_S)
        process.stdout.close()


def taken(folder: LockFolder, name: str) -> lease.HostLock:
    lock = folder.try_take(name, PURPOSE)
    assert lock is not None
    return lock


def test_one_holder_at_a_time(folder: LockFolder) -> None:
    first = taken(folder, "hub-1")
    assert folder.try_take("hub-1", PURPOSE) is None, "not even twice in one process"
    other = taken(folder, "hub-2")
    first.release()
    first.release()
    again = taken(folder, "hub-1")
    assert again.took_over is None, "the first let go of it"
    for lock in (other, again):
        lock.release()
    assert list(folder.path.iterdir()) == [], "nothing is left behind"


def test_a_lock_whose_file_vanished_meanwhile_is_taken_anew(
    folder: LockFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder lets go, and removes the file, after we have opened it and before we lock it."""
    first = taken(folder, "hub-1")
    flock = lease._flock

    def release_first(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
        first.release()
        return flock(descriptor, kind)

    monkeypatch.setattr(lease, "_flock", release_first)
    second = taken(folder, "hub-1")
    assert folder.try_take("hub-1", PURPOSE) is None, "what the second holds is what everybody finds"
    second.release()


def test_the_folder_is_for_all_users(folder: LockFolder) -> None:
    lock = taken(folder, "hub-1")
    assert folder.path.stat().st_mode & 0o7777 == 0o1777
    assert (folder.path / "hub-1.lock").stat().st_mode & 0o777 == 0o666
    lock.release()


def test_the_holder_is_told(folder: LockFolder) -> None:
    with other_process(folder, "hub-1") as process:
        assert folder.try_take("hub-1", PURPOSE) is None
        (held,) = folder.held()
        assert held.name == "hub-1"
        assert held.holder is not None
        assert (held.holder.pid, held.holder.uid, held.holder.purpose) == (process.pid, os.getuid(), "the other one")
        assert f"(pid {process.pid}, the other one) since 20" in held.holder.text
        assert who_holds(folder) == {"hub-1": held.holder}
    assert folder.held() == []


def test_a_killed_holder_is_taken_over_and_told(folder: LockFolder) -> None:
    with other_process(folder, "hub-1") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT_S)
        assert folder.held() == [], "the kernel let go of it"
        lock = taken(folder, "hub-1")
        assert lock.took_over is not None
        assert lock.took_over.pid == process.pid
        lock.release()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_users_lock_is_seen_waited_for_and_taken_over() -> None:
    # pytest's own folder is closed to other users
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        folder = LockFolder(Path(base) / "locks")
        taken(folder, "hub-1").release()
        with other_process(folder, "hub-1", str(NOBODY)) as process:
            assert folder.try_take("hub-1", PURPOSE) is None
            (held,) = folder.held()
            assert held.holder is not None
            assert held.holder.uid == NOBODY
            process.send_signal(signal.SIGKILL)
            process.wait(LIMIT_S)
            lock = taken(folder, "hub-1")
            assert lock.took_over is not None
            assert lock.took_over.uid == NOBODY
            lock.release()
        # and the other way round: a file that root made and was killed with is open to everybody
        (folder.path / "hub-2.lock").write_text("")
        (folder.path / "hub-2.lock").chmod(0o666)
        with other_process(folder, "hub-2", str(NOBODY)):
            assert folder.try_take("hub-2", PURPOSE) is None
        # that user cannot remove root's file; that it was let go of is told all the same
        lock = taken(folder, "hub-2")
        assert lock.took_over is None
        lock.release()


def test_a_symbolic_link_is_not_followed(folder: LockFolder, tmp_path: Path) -> None:
    taken(folder, "hub-1").release()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (folder.path / "hub-1.lock").symlink_to(precious)
    with pytest.raises(LocksUnusable, match="symbolic link"):
        folder.try_take("hub-1", PURPOSE)
    assert folder.held() == []
    assert folder.holder("hub-1") is None
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("kind", ["hard link", "pipe", "folder"])
def test_other_things_than_plain_files_are_refused(folder: LockFolder, tmp_path: Path, kind: str) -> None:
    taken(folder, "hub-1").release()
    path = folder.path / "hub-1.lock"
    precious = tmp_path / "precious"
    precious.write_text("mine")
    make: Mapping[str, Callable[[], object]] = {
        "hard link": lambda: path.hardlink_to(precious),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    make[kind]()
    with pytest.raises(LocksUnusable, match=r"hub-1\.lock"):
        folder.try_take("hub-1", PURPOSE)
    assert folder.held() == []
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_the_folder_itself_must_be_one(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "locks"
    if kind == "file":
        path.write_text("")
    else:
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocksUnusable, match="IPHONE_LOAD_HARNESS_LOCKS"):
        LockFolder(path).try_take("hub-1", PURPOSE)


@pytest.mark.parametrize(
    "text",
    [b"", b"\0" * 64, b"{}", b'{"user": 7}', b"[" * 100_000, b'{"user":"a","uid":-1,"pid":1,"host":"","since":""}'],
)
def test_a_holders_garbage_is_nobodys_word(folder: LockFolder, text: bytes) -> None:
    lock = taken(folder, "hub-1")
    (folder.path / "hub-1.lock").write_bytes(text)
    assert folder.held() == [HeldLock("hub-1", None)]
    lock.release()


@given(st.binary(max_size=2 * MAX_HOLDER_BYTES))
def test_whatever_a_file_says_is_read(data: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        holder = read_holder(file.fileno())
        assert holder is None or holder.text.isprintable()


@given(st.text(min_size=1, max_size=64), st.text(max_size=200), st.text(max_size=40))
def test_what_a_holder_says_moves_no_cursor(user: str, purpose: str, since: str) -> None:
    holder = Holder(user=user, uid=1, pid=1, host=purpose, since=since, purpose=purpose)
    assert holder.text.isprintable()


@pytest.mark.parametrize("name", ["", "../hub", "a/b", ".hidden", "x" * 101, "hub\n"])
def test_a_name_must_be_a_files_name(folder: LockFolder, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a lock"):
        folder.try_take(name, PURPOSE)


def test_the_name_of_a_phones_lock() -> None:
    udid = "00008140-001A2B3C4D5E6F70"
    assert phone_lock(udid) == phone_lock(udid.lower()) == phone_lock(udid.replace("-", ""))
    for odd in ("../../etc/passwd", "\udc80", "x" * 1000, ""):
        assert lease._NAME.match(phone_lock(odd))


def test_files_that_are_no_locks_of_ours_are_passed_over(folder: LockFolder) -> None:
    taken(folder, "hub-1").release()
    (folder.path / "README").write_text("hello")
    odd = folder.path / "odd name.lock"
    with odd.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert folder.held() == []


def test_the_folder_follows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IPHONE_LOAD_HARNESS_LOCKS", str(tmp_path / "mine"))
    assert LockFolder.shared().path == tmp_path / "mine"
    monkeypatch.delenv("IPHONE_LOAD_HARNESS_LOCKS")
    assert LockFolder.shared().path == lease.DEFAULT_FOLDER


@pytest.mark.anyio
async def test_waiting_is_told_and_ends_when_the_holder_does(folder: LockFolder) -> None:
    told: list[str] = []
    with other_process(folder, "hub-1") as process:

        def tell(text: str) -> None:
            told.append(text)
            assert process.stdin is not None
            process.stdin.close()

        async with host_lock(
            "hub-1", subject="USB hub 1", purpose=PURPOSE, wait_s=LIMIT_S, tell=tell, folder=folder
        ) as lock:
            assert lock.took_over is None
    (line,) = told
    assert line.startswith("USB hub 1 is in use by ")
    assert "waiting up to" in line


@pytest.mark.anyio
async def test_who_does_not_wait_hears_who_holds_it_and_what_to_do(folder: LockFolder) -> None:
    with other_process(folder, "hub-1") as process, pytest.raises(LockBusy) as refused:
        async with host_lock(
            "hub-1", subject="USB hub 1", purpose=PURPOSE, wait_s=0.0, tell=print, remedy="Unplug it", folder=folder
        ):
            pass
    assert refused.value.holder is not None
    assert refused.value.holder.pid == process.pid
    assert str(process.pid) in str(refused.value)
    assert str(refused.value).endswith(". Unplug it")


@pytest.mark.anyio
async def test_the_first_that_is_free_is_taken(folder: LockFolder) -> None:
    async def both() -> Mapping[str, str]:
        return {"phone-1": "phone 1", "phone-2": "phone 2"}

    waiting = Waiting(PURPOSE, 0.0, print)
    first = await take_first(both, waiting, folder)
    second = await take_first(both, waiting, folder)
    assert (first.name, second.name) == ("phone-1", "phone-2")
    with pytest.raises(LockBusy, match=r"phone 1 is in use by .*; phone 2 is in use by"):
        await take_first(both, waiting, folder)
    second.release()
    third = await take_first(both, waiting, folder)
    assert third.name == "phone-2"
    first.release()
    third.release()
