"""NSKeyedArchiver, the object format inside DTX: bpylist2 with a class map of our own and typed errors.

bpylist2 keeps its class maps in module globals that any importer may change; here they belong to this module, so
that what a phone understands does not depend on who else is loaded. Untrusted input: size-bounded by DTX.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bpylist2 import archiver  # type: ignore[import-untyped]  # bpylist2 ships no types
from bpylist2.archive_types import timestamp  # type: ignore[import-untyped]  # bpylist2 ships no types


class ArchiveError(ValueError):
    """Bytes that are no keyed archive, or a value that has no Foundation class here."""


class NSNull:
    """What Foundation puts into collections where there is no value."""

    @staticmethod
    def encode_archive(value: NSNull, archive: Any) -> None:
        """Nothing: the class says it all."""

    @staticmethod
    def decode_archive(archive: Any) -> None:
        """Collections of Python may hold None."""
        return


@dataclass(frozen=True)
class NSError:
    """An error as Foundation sends it."""

    domain: str
    code: int
    user_info: dict[str, object] = field(default_factory=dict)

    @staticmethod
    def encode_archive(value: NSError, archive: Any) -> None:
        archive.encode("NSDomain", value.domain)
        archive.encode("NSCode", value.code)
        archive.encode("NSUserInfo", value.user_info)

    @staticmethod
    def decode_archive(archive: Any) -> NSError:
        return NSError(archive.decode("NSDomain"), archive.decode("NSCode"), archive.decode("NSUserInfo") or {})


def _field(archive: Any, name: str, kind: type) -> Any:
    """The field, which must be of this very type.

    Never converted: bytes(n) makes n zeros, and the text of lists that share parts grows without bound.
    """
    value = archive.decode(name)
    if not isinstance(value, kind):
        raise ArchiveError(f"{name} must be of type {kind.__name__}, got {type(value).__name__}")
    return value


class _NSUUID:
    @staticmethod
    def decode_archive(archive: Any) -> bytes:
        return bytes(_field(archive, "NS.uuidbytes", bytes))


class _NSString:
    @staticmethod
    def decode_archive(archive: Any) -> str:
        return str(_field(archive, "NS.string", str))


class _NSData:
    @staticmethod
    def decode_archive(archive: Any) -> bytes:
        return bytes(_field(archive, "NS.data", bytes))


_DECODED: dict[str, type] = {
    "NSDictionary": archiver.DictArchive,
    "NSMutableDictionary": archiver.DictArchive,
    "NSArray": archiver.ListArchive,
    "NSMutableArray": archiver.ListArchive,
    "NSSet": archiver.SetArchive,
    "NSMutableSet": archiver.SetArchive,
    "NSDate": timestamp,
    "NSNull": NSNull,
    "NSError": NSError,
    "NSUUID": _NSUUID,
    "NSString": _NSString,
    "NSMutableString": _NSString,
    "NSData": _NSData,
    "NSMutableData": _NSData,
}
_ENCODED: dict[type, str] = {NSNull: "NSNull", NSError: "NSError", timestamp: "NSDate"}


class _Unarchive(archiver.Unarchive):  # type: ignore[misc]  # its base is untyped
    def class_for_uid(self, index: Any) -> type:
        description = self.objects[index.data]
        name = description["$classname"]
        if name not in _DECODED:
            raise ArchiveError(f"the class {name!r} is not understood")
        return _DECODED[name]


class _Archive(archiver.Archive):  # type: ignore[misc]  # its base is untyped
    def encode_top_level(self, obj: Any, archive_obj: dict[str, Any]) -> None:
        name = _ENCODED.get(type(obj))
        if name is None:
            if type(obj) not in (list, dict, set):
                raise ArchiveError(f"there is no Foundation class for {type(obj).__name__}")
            super().encode_top_level(obj, archive_obj)
            return
        archive_obj["$class"] = self.uid_for_archiver(name)
        type(obj).encode_archive(obj, archiver.ArchivingObject(archive_obj, self))


def archive(value: object) -> bytes:
    """`value` as a binary keyed archive; None inside collections must be `NSNull()`. Raises ArchiveError."""
    try:
        return bytes(_Archive(value).to_bytes())
    except ArchiveError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ArchiveError(f"cannot be archived: {error}") from error


def unarchive(data: bytes) -> object:
    """The value inside; raises ArchiveError."""
    try:
        value: object = _Unarchive(data).top_object()
    except ArchiveError:
        raise
    except Exception as error:  # bpylist2 and plistlib raise nearly anything
        raise ArchiveError(f"not a keyed archive: {type(error).__name__}: {error}") from error
    return value


def date(since_epoch_s: float) -> object:
    """An NSDate for `archive`, from seconds since 1970."""
    stamp: object = timestamp(since_epoch_s)
    return stamp
