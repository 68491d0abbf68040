"""The pair records usbmuxd keeps for hosts, each in the home of the phone it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from harness.virtual.wire.plist import PlistFrameError, parse_dictionary

NAME_CHARS_LIMIT = 255


class BadPairRecordName(ValueError):
    """What a client asks for is no name of a pair record."""


class PairRecordStore:
    """Records by name, which is a UDID. `homes` gives each phone's; records of others go to the first."""

    def __init__(self, homes: Mapping[str, Path]) -> None:
        self._folders = {udid: home / "usbmux" for udid, home in homes.items()}
        self._default = next(iter(self._folders.values()))

    def read(self, name: object) -> bytes | None:
        """The record, or None when there is none; BadPairRecordName."""
        file = self._file(name)
        return file.read_bytes() if file.exists() else None

    def save(self, name: object, data: object) -> bool:
        """Keeps a record; False when `data` is no property list; BadPairRecordName."""
        file = self._file(name)
        if not isinstance(data, bytes) or not _is_plist(data):
            return False
        temporary = file.with_suffix(".new")
        temporary.write_bytes(data)
        temporary.replace(file)
        return True

    def delete(self, name: object) -> None:
        """Forgets a record, if there is one; BadPairRecordName."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: object) -> Path:
        if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_LIMIT:
            raise BadPairRecordName(f"{str(name)[:40]!r} is no name of 1…{NAME_CHARS_LIMIT} characters")
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        return self._folders.get(name, self._default) / f"{digest}.plist"


def _is_plist(data: bytes) -> bool:
    try:
        parse_dictionary(data)
    except PlistFrameError:
        return False
    return True
