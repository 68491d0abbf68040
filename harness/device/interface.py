"""The small interface behind which a client library of iPhones hides.

Every method raises StepError (never the library's own exceptions) when the phone or the cable is in the way, and
has a limit in time; only `watch_process` goes on until its consumer stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from harness.core.phone import PhoneFacts
from harness.core.telemetry import Reading

Progress = Callable[[str, int, int], None]
"""Called with what is going on (`install`, `push tiny.task`), how much is done, and how much there is to do.

Where these are bytes on their way they are `ByteCount`s; the first call tells how much was there before.
"""


class Capability(StrEnum):
    """What a transport can do on the phone at hand; asking for another raises StepError."""

    FILES = "files"
    INSTALL = "install"
    PORTS = "ports"
    REPORTS = "reports"
    CONDITION = "condition"
    LAUNCH = "launch"
    """And kill, the process list, and word of a process's end."""
    MONITOR = "monitor"


@dataclass(frozen=True)
class PhoneCondition:
    """What a phone says of itself before a trial. None: it does not tell, or not through this transport."""

    battery_celsius: float | None = None
    battery_percent: int | None = None
    charging: bool | None = None
    free_bytes: int | None = None
    """Of the partition on which apps keep their files."""
    locked: bool | None = None
    developer_mode: bool | None = None
    developer_image: bool | None = None
    """Mounted? None also before Developer Mode is on."""
    clock_offset_ns: int | None = None
    """The phone's wall clock minus the host's."""


@dataclass(frozen=True)
class InstalledApp:
    bundle_id: str
    build: str | None
    entitlements: Mapping[str, Any]
    process: str | None = None
    """Name of its processes (CFBundleExecutable)."""


@dataclass(frozen=True)
class FileContents:
    data: bytes
    size: int
    """Of the whole file; more than `data` has when the reading was limited."""


class Container(Protocol):
    """The files of one app; paths begin at the container's root (`/Documents/…`).

    Raises Cut where a new connection may mend it, any other StepError where the phone refuses.
    """

    async def size(self, path: str) -> int | None:
        """Size in bytes, None when there is no such file."""
        ...

    async def make_folder(self, path: str) -> None: ...

    async def names(self, folder: str) -> list[str]:
        """What is in the folder; empty when there is none."""
        ...

    async def free_bytes(self) -> int | None:
        """Free storage of the phone; None when it does not tell."""
        ...

    async def write(
        self,
        path: str,
        source: Path,
        *,
        from_bytes: int = 0,
        progress: Callable[[int], None],
        one_by_one: bool = False,
        odd: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Cuts the file on the phone to `from_bytes`, which it must have, and writes the rest of `source` behind that.

        Several requests are under way at once, unless `one_by_one`, or until something odd is met: then `odd` gets it
        in words, and the rest is written one request at a time. `progress` gets the acknowledged prefix: so many bytes
        of the file are on the phone for certain, whatever happens next. It is told before anything is raised.
        """
        ...

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Writes a small file, replacing it."""
        ...

    async def rename(self, path: str, to: str) -> None: ...

    async def read(self, path: str, max_bytes: int, *, from_end: bool = False) -> FileContents | None:
        """At most `max_bytes` of the file's begin or end, None when there is none."""
        ...

    async def remove(self, path: str) -> None:
        """Removes the file; one that is not there is fine."""
        ...


class Transport(Protocol):
    """One phone through one client library."""

    @property
    def name(self) -> str:
        """The client library's, as in `pymobiledevice3`; those of several at work together are joined by `+`."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do on this phone. Asking for anything else raises StepError (not_ready) that says what helps."""
        ...

    @property
    def facts(self) -> PhoneFacts: ...

    async def installed_app(self, bundle_id: str) -> InstalledApp | None: ...

    async def install(self, ipa: Path, progress: Progress) -> None: ...

    def container(self, bundle_id: str) -> AbstractAsyncContextManager[Container]: ...

    async def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        """Starts the app (ending one that runs); gives its pid."""
        ...

    async def kill(self, pid: int) -> None:
        """Ends the process; one that is gone is fine."""
        ...

    async def is_running(self, pid: int) -> bool: ...

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to a port on which an app of the phone listens; None while nobody listens."""
        ...

    def watch_process(self, pid: int, interval_ms: int) -> AsyncIterator[Reading]:
        """Readings of the phone's system monitor (source HOST, `t_ns` on the host's monotonic clock)."""
        ...

    async def report_names(self) -> frozenset[str]:
        """Names of the crash reports now on the phone."""
        ...

    async def read_report(self, name: str, max_bytes: int) -> bytes: ...

    async def condition(self) -> PhoneCondition:
        """What the phone says of itself now; quick enough to be asked before every trial."""
        ...

    async def wait_ended(self, pid: int) -> str | None:
        """Waits until the phone tells that the process has ended, and says how it told; the caller cancels.

        None at once where no such word is to be had.
        """
        ...

    async def is_present(self) -> bool:
        """Is the phone attached now?"""
        ...

    async def close(self) -> None: ...
