"""A farm's file store: where hosts put telemetry and artifacts, instead of sending them through the hub.

    <URL>/telemetry/<trial id>.parquet    <URL>/artifacts/<trial id>/…        as in a results folder

Any URL that fsspec knows: `s3://`, `gs://`, `sftp://`, `file://`; what speaks a protocol is installed by whoever uses
it (`pip install s3fs`), and finds its own credentials. The hub has the records, with the same names; whoever wants the
files beside them brings the store's two folders into the results folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import fsspec  # type: ignore[import-untyped]  # it has no types

from harness.core.errors import HarnessError, UsageError
from harness.core.text import printable

_LOGIN = re.compile(r"//[^/@\s]*@")
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[^\s\0]{1,1000}\Z")


def check_file_store(url: str, flag: str = "--files") -> str:
    """The URL without a slash at its end. Raises UsageError for what is none, or whose protocol is not installed."""
    if not _URL.match(url):
        raise UsageError(f"{flag}={printable(url[:200])}: not a URL such as s3://bucket/folder or file:///srv/loads")
    try:
        fsspec.get_filesystem_class(url.partition("://")[0])
    except (ValueError, ImportError) as error:
        raise UsageError(f"{flag}={printable(url[:200])}: {error}") from None
    return url.rstrip("/")


def put(url: str, files: Iterable[tuple[Path, str]]) -> None:
    """Each file under its name below the store, whole when this returns; again is fine. Raises HarnessError."""
    try:
        store, root = fsspec.core.url_to_fs(url)
        for path, name in files:
            target = f"{root}/{name}"
            store.makedirs(target.rpartition("/")[0], exist_ok=True)
            store.put_file(str(path), target)
            there = store.info(target)["size"]
            if there != path.stat().st_size:
                raise HarnessError(f"{name} has {there} bytes there, and {path.stat().st_size} here")
    except Exception as error:  # every protocol has errors of its own
        why = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        # the whole farm reads it, and a password in the URL is this host's
        told = _LOGIN.sub("//…@", f"the farm's file store {url} took no files: {why}")
        raise HarnessError(told) from error
