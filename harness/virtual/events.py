"""What a phone notices about itself, told to whoever subscribed: how faults learn that their moment has come.

Cheap while nobody listens: who emits often asks `wanted` (or `write_marks`) first.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class InstallRequested:
    """installation_proxy was asked to install or upgrade."""


@dataclass(frozen=True)
class AppLaunched:
    """An app runs."""

    pid: int
    bundle_id: str


@dataclass(frozen=True)
class AppEnded:
    """An app is gone, and its report, if it left one, is written."""

    pid: int
    bundle_id: str


@dataclass(frozen=True)
class MemoryWarned:
    """An app has come near its footprint limit and has been warned, as far as it can be."""

    pid: int


@dataclass(frozen=True)
class AppFileReached:
    """A write over AFC has brought a file of an app's container to `offset_bytes`, one of the marks."""

    offset_bytes: int


@dataclass(frozen=True)
class AppPhase:
    """An app has told its host over the spliced port that a phase begins; the line is on its way to the host."""

    name: str


@dataclass(frozen=True)
class ReportOpened:
    """A client has opened a crash report to read it."""


@dataclass(frozen=True)
class NotificationPosted:
    """A Darwin notification, by the phone itself or by a client of notification_proxy."""

    name: str


Event = (
    InstallRequested
    | AppLaunched
    | AppEnded
    | MemoryWarned
    | AppFileReached
    | AppPhase
    | ReportOpened
    | NotificationPosted
)
Callback = Callable[[Event], None]


class Events:
    """The bus of one phone. Callbacks run at once, in the emitter's place, and must not raise."""

    def __init__(self) -> None:
        self._callbacks: dict[type[Event], list[Callback]] = {}
        self._write_marks: list[int] = []

    def subscribe(self, kind: type[Event], callback: Callback) -> Callable[[], None]:
        """Calls `callback` for every event of `kind`; returns the function that ends that."""
        callbacks = self._callbacks.setdefault(kind, [])
        callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return unsubscribe

    def wanted(self, kind: type[Event]) -> bool:
        """Whether anybody listens for `kind`."""
        return bool(self._callbacks.get(kind))

    def emit(self, event: Event) -> None:
        """Tells everybody who listens for this kind."""
        for callback in list(self._callbacks.get(type(event), ())):
            callback(event)

    def mark_write(self, offset_bytes: int) -> Callable[[], None]:
        """Asks for AppFileReached at this offset of any file; returns the function that ends that."""
        insort(self._write_marks, offset_bytes)

        def unmark() -> None:
            if offset_bytes in self._write_marks:
                self._write_marks.remove(offset_bytes)

        return unmark

    @property
    def has_write_marks(self) -> bool:
        """Whether a write has to ask `next_write_mark` at all."""
        return bool(self._write_marks)

    def next_write_mark(self, after_bytes: int, until_bytes: int) -> int | None:
        """The first mark beyond `after_bytes` (-1 at a file's beginning) and not beyond `until_bytes`, if any."""
        first = bisect_right(self._write_marks, after_bytes)
        if first == len(self._write_marks) or self._write_marks[first] > until_bytes:
            return None
        return self._write_marks[first]
