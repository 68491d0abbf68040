"""A container each of whose steps goes through the hands of whoever watches over it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from harness.device.interface import Container, FileContents

_Value = TypeVar("_Value")


class Watch(Protocol):
    """Awaits a step; gives its value or raises a StepError of its own making."""

    async def __call__(self, step: Awaitable[_Value], /) -> _Value: ...


class WatchedContainer:
    """`Container` (harness.device.interface) around another."""

    def __init__(self, container: Container, watch: Watch) -> None:
        self._container = container
        self._watch = watch

    async def size(self, path: str) -> int | None:
        return await self._watch(self._container.size(path))

    async def make_folder(self, path: str) -> None:
        await self._watch(self._container.make_folder(path))

    async def names(self, folder: str) -> list[str]:
        return await self._watch(self._container.names(folder))

    async def free_bytes(self) -> int | None:
        return await self._watch(self._container.free_bytes())

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
        writing = self._container.write(
            path, source, from_bytes=from_bytes, progress=progress, one_by_one=one_by_one, odd=odd
        )
        await self._watch(writing)

    async def write_bytes(self, path: str, data: bytes) -> None:
        await self._watch(self._container.write_bytes(path, data))

    async def rename(self, path: str, to: str) -> None:
        await self._watch(self._container.rename(path, to))

    async def read(self, path: str, max_bytes: int, *, from_end: bool = False) -> FileContents | None:
        return await self._watch(self._container.read(path, max_bytes, from_end=from_end))

    async def remove(self, path: str) -> None:
        await self._watch(self._container.remove(path))
