"""Unpacks an IPA a client has staged. An IPA is untrusted: names, sizes and kinds of its entries are checked first."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from harness.virtual.apps import BadBundle

ENTRIES_LIMIT = 20_000
UNPACKED_LIMIT_BYTES = 4 * 1024**3
PATH_LIMIT_CHARS = 1024
COPY_BYTES = 1024 * 1024


def unpack(package: Path, into: Path) -> Path:
    """Unpacks `Payload/<Name>.app` of `package` under `into` and returns the bundle's directory there.

    Raises BadBundle for what is no IPA, names that leave the bundle, links and special files, and sizes beyond the
    limits (what the entries really give counts, not what they declare). OSError (a full disk) escapes.
    """
    try:
        with zipfile.ZipFile(package) as archive:
            return _unpack(archive, into)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError and NotImplementedError are what zipfile says to encryption and unknown compression
        raise BadBundle(f"{package.name} is no readable IPA: {error}") from error


def _unpack(archive: zipfile.ZipFile, into: Path) -> Path:
    entries = archive.infolist()
    if len(entries) > ENTRIES_LIMIT:
        raise BadBundle(f"the IPA has {len(entries)} entries, more than {ENTRIES_LIMIT}")
    bundles: set[str] = set()
    left = UNPACKED_LIMIT_BYTES
    for entry in entries:
        parts = _safe_parts(entry)
        if len(parts) < 2 or parts[0] != "Payload":
            continue
        bundles.add(parts[1])
        target = into.joinpath(*parts[1:])
        try:
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            left = _copy(archive, entry, target, left)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise BadBundle(f"{entry.filename[:80]!r} is in the IPA twice, or below a file") from error
    if len(bundles) != 1 or not (name := bundles.pop()).endswith(".app") or not (into / name).is_dir():
        raise BadBundle("the IPA does not hold exactly one Payload/<Name>.app")
    return into / name


def _safe_parts(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    name = entry.filename
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadBundle(f"{name[:80]!r} is a link or a special file")
    path = PurePosixPath(name)
    if len(name) > PATH_LIMIT_CHARS or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise BadBundle(f"{name[:80]!r} is no path inside the package")
    return path.parts


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Writes one entry and returns how many bytes the others may still take."""
    with archive.open(entry) as source, target.open("xb") as file:
        while chunk := source.read(COPY_BYTES):
            left -= len(chunk)
            if left < 0:
                raise BadBundle(f"the IPA unpacks to more than {UNPACKED_LIMIT_BYTES} bytes")
            file.write(chunk)
    if entry.external_attr >> 16 & stat.S_IXUSR:
        target.chmod(0o755)
    return left


def discard(folder: Path) -> None:
    """Removes a staging folder, whatever is left in it."""
    shutil.rmtree(folder, ignore_errors=True)
