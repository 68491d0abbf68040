"""AFC over one directory: what `com.apple.afc`, house_arrest and the crash-report service have in common.

No path leaves the directory: `..` is refused, and whatever a link points to is resolved before it is used.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import struct
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from harness.virtual.events import AppFileReached, ReportOpened
from harness.virtual.stream import SocketStream
from harness.virtual.switches import harm_file
from harness.virtual.wire.afc import (
    AfcDecoder,
    AfcError,
    Operation,
    Request,
    Status,
    WriteBegin,
    WriteChunk,
    encode,
    encode_status,
)

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.stream import Stream

OPEN_FILES_LIMIT = 256
READ_LIMIT_BYTES = 8 * 1024 * 1024
HASH_READ_BYTES = 1024 * 1024
_READ_ONLY = 1
_OPEN_FLAGS = {
    _READ_ONLY: os.O_RDONLY,
    2: os.O_RDWR | os.O_CREAT,
    3: os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    4: os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    5: os.O_WRONLY | os.O_APPEND | os.O_CREAT,
    6: os.O_RDWR | os.O_APPEND | os.O_CREAT,
}
_SYMBOLIC_LINK = 2
_KINDS = {stat.S_IFDIR: "S_IFDIR", stat.S_IFREG: "S_IFREG", stat.S_IFLNK: "S_IFLNK"}
_STATUS_OF_ERRNO = {
    errno.ENOENT: Status.NOT_FOUND,
    errno.ENOTDIR: Status.NOT_FOUND,
    errno.EISDIR: Status.IS_DIRECTORY,
    errno.EACCES: Status.PERMISSION,
    errno.EPERM: Status.PERMISSION,
    errno.ELOOP: Status.PERMISSION,
    errno.EEXIST: Status.EXISTS,
    errno.ENOTEMPTY: Status.DIRECTORY_NOT_EMPTY,
    errno.ENOSPC: Status.NO_SPACE,
    errno.EDQUOT: Status.NO_SPACE,
    errno.EWOULDBLOCK: Status.WOULD_BLOCK,
    errno.EINVAL: Status.INVALID_ARGUMENT,
    errno.EBADF: Status.INVALID_ARGUMENT,
    errno.ENAMETOOLONG: Status.INVALID_ARGUMENT,
    errno.EIO: Status.IO_ERROR,
    errno.ENOSYS: Status.NOT_SUPPORTED,
    errno.EMFILE: Status.NO_RESOURCES,
}
Answer = tuple[Operation, bytes, bytes]
_DONE: Answer = (Operation.STATUS, struct.pack("<Q", Status.SUCCESS), b"")


class Place(Enum):
    """Whose files these are: faults are aimed at an app's files or at reports."""

    MEDIA = auto()
    CONTAINER = auto()
    REPORTS = auto()


async def serve_directory(
    stream: Stream, phone: Phone, root: Path, *, only: str | None = None, place: Place = Place.MEDIA
) -> None:
    """Speaks AFC until the client goes. With `only`, nothing but that folder of `root` can be reached."""
    session = _Session(root, only, phone, place)
    decoder = AfcDecoder()
    write: WriteBegin | None = None
    outcome = Status.SUCCESS
    receive = stream.receive_view if isinstance(stream, SocketStream) else stream.receive
    try:
        while data := await receive():
            decoder.receive_data(data)
            while (event := decoder.next_event()) is not None:
                if isinstance(event, WriteBegin):
                    write, outcome = event, session.check_write(event)
                elif isinstance(event, WriteChunk):
                    if write is not None and outcome is Status.SUCCESS:
                        outcome = session.write(write.handle, event.data)
                elif isinstance(event, Request):
                    await stream.send(await session.answer(event))
                else:
                    await stream.send(encode_status(event.number, outcome))
    except AfcError:
        return  # the client does not speak AFC: hang up on it
    finally:
        session.close()


class _Session:
    """The open files of one connection and what can be asked about the directory."""

    def __init__(self, root: Path, only: str | None, phone: Phone, place: Place) -> None:
        self._root = root.resolve()
        self._only = only
        self._state = phone.state
        self._events = phone.events
        self._switches = phone.switches
        self._place = place
        self._files: dict[int, int] = {}
        self._written: set[int] = set()
        self._next_handle = 1
        # charged for the write at hand and not written yet
        self._charged_bytes = 0
        self._operations: dict[int, Callable[[bytes], Answer]] = {
            Operation.READ_DIR: self._read_dir,
            Operation.TRUNCATE: self._truncate,
            Operation.REMOVE: self._remove,
            Operation.MAKE_DIR: self._make_dir,
            Operation.FILE_INFO: self._file_info,
            Operation.DEVICE_INFO: self._device_info,
            Operation.OPEN: self._open,
            Operation.READ: self._read,
            Operation.SEEK: self._seek,
            Operation.TELL: self._tell,
            Operation.CLOSE: self._close,
            Operation.SET_SIZE: self._set_size,
            Operation.CONNECTION_INFO: self._connection_info,
            Operation.SET_CONNECTION_OPTIONS: self._accept,
            Operation.RENAME: self._rename,
            Operation.SET_BLOCK_SIZE: self._accept,
            Operation.SET_SOCKET_BLOCK_SIZE: self._accept,
            Operation.LOCK: self._lock,
            Operation.MAKE_LINK: self._make_link,
            Operation.HASH: self._hash,
            Operation.SET_MTIME: self._set_mtime,
            Operation.HASH_RANGE: self._hash_range,
            Operation.REMOVE_ALL: self._remove_all,
        }
        # these may take seconds on a large file or tree; the rest is answered in place
        self._slow = {Operation.HASH, Operation.HASH_RANGE, Operation.REMOVE_ALL}

    async def answer(self, request: Request) -> bytes:
        """The packet that answers `request`; every failure becomes a status."""
        operation = self._operations.get(request.operation)
        if operation is None:
            return encode_status(request.number, Status.NOT_SUPPORTED)
        try:
            if request.operation in self._slow:
                kind, parameters, payload = await asyncio.to_thread(operation, request.body)
            else:
                kind, parameters, payload = operation(request.body)
        except OSError as error:
            return encode_status(request.number, _status_of(error))
        except (struct.error, UnicodeDecodeError, ValueError, OverflowError):
            return encode_status(request.number, Status.INVALID_ARGUMENT)
        return encode(request.number, kind, parameters, payload)

    def check_write(self, begin: WriteBegin) -> Status:
        """Whether a write may go ahead: the handle is open, and the disk has room for all of it."""
        if begin.handle not in self._files:
            return Status.INVALID_ARGUMENT
        self._give_back_charge()
        if not self._state.take_disk(begin.size_bytes):
            return Status.NO_SPACE
        self._charged_bytes = begin.size_bytes
        return Status.SUCCESS

    def write(self, handle: int, data: memoryview) -> Status:
        """Appends to what a write has brought so far."""
        descriptor = self._files[handle]
        self._written.add(handle)
        try:
            if self._place is Place.CONTAINER and self._events.has_write_marks:
                data = self._write_to_marks(descriptor, data)
            if self._switches.write_status is not None and self._place is Place.CONTAINER:
                status, self._switches.write_status = Status(self._switches.write_status), None
                return status
            self._store(descriptor, data)
        except OSError as error:
            return _status_of(error)
        return Status.SUCCESS

    def _write_to_marks(self, descriptor: int, data: memoryview) -> memoryview:
        """Writes up to the last mark within `data`, telling of each; returns what is left when a fault strikes."""
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        after = position or -1
        while (mark := self._events.next_write_mark(after, position + len(data))) is not None:
            self._store(descriptor, data[: mark - position])
            data = data[mark - position :]
            after = position = mark
            self._events.emit(AppFileReached(mark))
            if self._switches.write_status is not None:
                break
        return data

    def _store(self, descriptor: int, data: memoryview) -> None:
        while data:
            written = os.write(descriptor, data)
            self._charged_bytes -= written
            data = data[written:]

    def _give_back_charge(self) -> None:
        """What a write that broke off was charged for and did not bring."""
        self._state.give_disk(self._charged_bytes)
        self._charged_bytes = 0

    def close(self) -> None:
        """Closes what the client left open."""
        self._give_back_charge()
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    # -- paths

    def _path(self, raw: bytes, *, follow: bool = True) -> Path:
        """The path of this machine for a path of the client. `follow`: the last part may be a link that is followed.

        Raises PermissionError for a path that leaves the directory, and for the part of it that is not vended.
        """
        text = raw.split(b"\0")[0].decode("utf-8")
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise PermissionError(errno.EPERM, "the path leaves the directory")
        if not parts:
            return self._root
        base = self._root
        if self._only is not None:
            if parts[0] != self._only:
                raise PermissionError(errno.EPERM, "this part of the container is not vended")
            base = self._root / self._only
        lexical = self._root.joinpath(*parts)
        resolved = lexical.resolve() if follow else lexical.parent.resolve() / lexical.name
        if not resolved.is_relative_to(base):
            raise PermissionError(errno.EPERM, "a link leaves the directory")
        return resolved

    def _changeable(self, raw: bytes) -> Path:
        """A path that may be removed, renamed or replaced: not the directory itself, nor the vended folder."""
        path = self._path(raw, follow=False)
        if path == self._root or (self._only is not None and path == self._root / self._only):
            raise PermissionError(errno.EPERM, "this directory stays")
        return path

    def _file(self, handle: int) -> int:
        descriptor = self._files.get(handle)
        if descriptor is None:
            raise OSError(errno.EBADF, "no such handle")
        return descriptor

    # -- operations, each given parameters and payload in one

    def _accept(self, body: bytes) -> Answer:
        return _DONE

    def _read_dir(self, body: bytes) -> Answer:
        path = self._path(body)
        names = sorted(entry.name for entry in path.iterdir())
        if self._only is not None and path == self._root:
            names = [name for name in names if name == self._only]
        return Operation.DATA, b"", _strings(".", "..", *names)

    def _file_info(self, body: bytes) -> Answer:
        path = self._path(body, follow=False)
        seen = path.lstat()
        kind = _KINDS.get(stat.S_IFMT(seen.st_mode), "S_IFREG")
        words: list[str | int] = ["st_size", seen.st_size, "st_blocks", seen.st_blocks, "st_nlink", seen.st_nlink]
        words += ["st_ifmt", kind, "st_mtime", seen.st_mtime_ns, "st_birthtime", seen.st_ctime_ns]
        if kind == "S_IFLNK":
            words += ["LinkTarget", str(path.readlink())]
        return Operation.DATA, b"", _strings(*words)

    def _device_info(self, body: bytes) -> Answer:
        disk = os.statvfs(self._root)
        free = min(disk.f_bavail * disk.f_frsize, self._state.disk_bytes)
        if self._state.disk_budget_bytes is not None:
            free = min(free, self._state.disk_budget_bytes)
        model = ("Model", self._state.product_type)
        total = ("FSTotalBytes", self._state.disk_bytes)
        return Operation.DATA, b"", _strings(*model, *total, "FSFreeBytes", free, "FSBlockSize", 4096)

    def _connection_info(self, body: bytes) -> Answer:
        return Operation.DATA, b"", _strings("Version", "2")

    def _open(self, body: bytes) -> Answer:
        (mode,) = struct.unpack_from("<Q", body)
        if mode not in _OPEN_FLAGS:
            raise ValueError(f"open mode {mode}")
        if len(self._files) >= OPEN_FILES_LIMIT:
            raise OSError(errno.EMFILE, "too many open files")
        path = self._path(body[8:])
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a directory")
        if path.exists() and not path.is_file():
            raise PermissionError(errno.EPERM, "a special file")
        # the path is resolved: if its last part has become a link since, it is not followed
        before_bytes = _size(path) if _OPEN_FLAGS[mode] & os.O_TRUNC else 0
        descriptor = os.open(path, _OPEN_FLAGS[mode] | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._files[handle] = descriptor
        self._state.give_disk(before_bytes)
        if self._place is Place.REPORTS and mode == _READ_ONLY:
            self._events.emit(ReportOpened())
        return Operation.OPEN_RESULT, struct.pack("<Q", handle), b""

    def _read(self, body: bytes) -> Answer:
        handle, size = struct.unpack_from("<QQ", body)
        return Operation.DATA, b"", os.read(self._file(handle), min(size, READ_LIMIT_BYTES))

    def _seek(self, body: bytes) -> Answer:
        handle, whence, offset = struct.unpack_from("<QQq", body)
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(f"whence {whence}")
        os.lseek(self._file(handle), offset, whence)
        return _DONE

    def _tell(self, body: bytes) -> Answer:
        (handle,) = struct.unpack_from("<Q", body)
        position = os.lseek(self._file(handle), 0, os.SEEK_CUR)
        return Operation.TELL_RESULT, struct.pack("<Q", position), b""

    def _close(self, body: bytes) -> Answer:
        (handle,) = struct.unpack_from("<Q", body)
        descriptor = self._file(handle)
        if handle in self._written and self._place is Place.CONTAINER and self._switches.file_harm is not None:
            harm_file(descriptor, self._switches.file_harm)
            self._switches.file_harm = None
        self._written.discard(handle)
        del self._files[handle]
        os.close(descriptor)
        return _DONE

    def _set_size(self, body: bytes) -> Answer:
        handle, size = struct.unpack_from("<QQ", body)
        before_bytes = os.fstat(self._file(handle)).st_size
        os.ftruncate(self._file(handle), size)
        self._state.give_disk(max(0, before_bytes - size))
        return _DONE

    def _truncate(self, body: bytes) -> Answer:
        (size,) = struct.unpack_from("<Q", body)
        path = self._path(body[8:])
        before_bytes = _size(path)
        os.truncate(path, size)
        self._state.give_disk(max(0, before_bytes - size))
        return _DONE

    def _lock(self, body: bytes) -> Answer:
        handle, operation = struct.unpack_from("<QQ", body)
        fcntl.flock(self._file(handle), int(operation) | fcntl.LOCK_NB)
        return _DONE

    def _make_dir(self, body: bytes) -> Answer:
        self._path(body).mkdir(parents=True, exist_ok=True)
        return _DONE

    def _remove(self, body: bytes) -> Answer:
        path = self._changeable(body)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            freed_bytes = _size(path)
            path.unlink()
            self._state.give_disk(freed_bytes)
        return _DONE

    def _remove_all(self, body: bytes) -> Answer:
        path = self._changeable(body)
        if path.is_dir() and not path.is_symlink():
            freed_bytes = sum(_size(inner) for inner in path.rglob("*"))
            shutil.rmtree(path)
        else:
            freed_bytes = _size(path)
            path.unlink()
        self._state.give_disk(freed_bytes)
        return _DONE

    def _rename(self, body: bytes) -> Answer:
        old, new = _two_paths(body)
        source, target = self._changeable(old), self._changeable(new)
        freed_bytes = _size(target)
        source.rename(target)
        self._state.give_disk(freed_bytes)
        return _DONE

    def _make_link(self, body: bytes) -> Answer:
        (kind,) = struct.unpack_from("<Q", body)
        target, link = _two_paths(body[8:])
        place = self._changeable(link)
        if kind != _SYMBOLIC_LINK:
            os.link(self._path(target, follow=False), place, follow_symlinks=False)
            return _DONE
        words = target.decode("utf-8")
        base = self._root if self._only is None else self._root / self._only
        if not (place.parent / words).resolve().is_relative_to(base):
            raise PermissionError(errno.EPERM, "the link would leave the directory")
        place.symlink_to(words)
        return _DONE

    def _set_mtime(self, body: bytes) -> Answer:
        (time_ns,) = struct.unpack_from("<Q", body)
        os.utime(self._path(body[8:]), ns=(time_ns, time_ns))
        return _DONE

    def _hash(self, body: bytes) -> Answer:
        return Operation.DATA, b"", _digest(self._path(body), 0, None)

    def _hash_range(self, body: bytes) -> Answer:
        start, size = struct.unpack_from("<QQ", body)
        return Operation.DATA, b"", _digest(self._path(body[16:]), start, size)


def _size(path: Path) -> int:
    """What removing the last name of a plain file frees; 0 for what is none."""
    try:
        seen = path.lstat()
    except OSError:
        return 0
    return seen.st_size if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 else 0


def _status_of(error: OSError) -> Status:
    return _STATUS_OF_ERRNO.get(error.errno or 0, Status.UNKNOWN)


def _strings(*words: str | int) -> bytes:
    return b"".join(str(word).encode("utf-8", "surrogateescape") + b"\0" for word in words)


def _two_paths(body: bytes) -> tuple[bytes, bytes]:
    parts = body.split(b"\0")
    if len(parts) < 2:
        raise ValueError("two paths expected")
    return parts[0], parts[1]


def _digest(path: Path, start: int, size: int | None) -> bytes:
    """SHA-1 of a file or of a range of it, as afcd computes it; `size` None means to the end."""
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        file.seek(start)
        while size is None or size > 0:
            chunk = file.read(HASH_READ_BYTES if size is None else min(size, HASH_READ_BYTES))
            if not chunk:
                break
            digest.update(chunk)
            size = None if size is None else size - len(chunk)
    return digest.digest()
