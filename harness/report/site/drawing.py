"""Draws pages: few of them here, many in processes of their own, which begin while further pages are being planned.

The processes come of a server that has loaded what drawing needs (`forkserver`): a plain fork of a program that has
threads, as one with virtual phones has, may hang, and each loading everything anew would take longer than drawing.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import groupby, islice
from multiprocessing import connection, forkserver, get_context, parent_process
from types import ModuleType, TracebackType
from typing import Self

from harness.report.site.pages import Page

Drawn = tuple[str, bytes]
"""A page's name, and its file."""
_FEW_PAGES = 7
"""So many are drawn sooner by this process than by new ones."""
_AT_ONCE = 8
"""Pages handed over together at most."""
_PRELOADED = "harness.report.site.drawing_preloaded"


class Drawers:
    """Takes pages in their order of being planned; `drawn` gives their files in the same order."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._waiting: list[Page] = []
        self._handed_over: list[Future[list[Drawn]]] = []
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            # what has failed, or was interrupted, needs no further pages
            self._pool.shutdown(cancel_futures=True)

    def expect_many(self) -> None:
        """Begins to load what drawing needs, without waiting for it."""
        if self._processes > 1:
            get_context("forkserver").set_forkserver_preload([_PRELOADED])
            forkserver.ensure_running()

    def add(self, page: Page) -> None:
        """Hands over what is there when another kind of pages begins."""
        enough = len(self._waiting) > (0 if self._handed_over else _FEW_PAGES)
        if self._processes > 1 and enough and page.together != self._waiting[-1].together:
            self._hand_over()
        self._waiting.append(page)

    def drawn(self) -> Iterator[Drawn]:
        """The files of all pages so far; whatever drawing one raises is raised here."""
        if self._waiting and (self._handed_over or (self._processes > 1 and len(self._waiting) > _FEW_PAGES)):
            self._hand_over()
        while self._handed_over:
            # what it holds is let go when it has been given
            yield from self._handed_over.pop(0).result()
        yield from map(_drawn, self._waiting)
        self._waiting = []

    def _hand_over(self) -> None:
        if self._pool is None:
            self.expect_many()
            self._pool = ProcessPoolExecutor(
                self._processes, mp_context=get_context("forkserver"), initializer=_begin_process
            )
        for pages in _parcels(self._waiting):
            with _no_main():
                self._handed_over.append(self._pool.submit(_all_drawn, pages))
        self._waiting = []


def _parcels(pages: Iterable[Page]) -> Iterator[list[Page]]:
    for _, of_kind in groupby(pages, key=lambda page: page.together):
        while parcel := list(islice(of_kind, _AT_ONCE)):
            yield parcel


@contextmanager
def _no_main() -> Iterator[None]:
    """Processes begun meanwhile do not run the main module of this one: nothing of it is drawn, loading it takes long,
    and a script that asks for a report without `if __name__ == "__main__"` would ask again in each of them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _all_drawn(pages: list[Page]) -> list[Drawn]:
    return list(map(_drawn, pages))


def _drawn(page: Page) -> Drawn:
    drawn = page.draw(page.content)
    return page.name, drawn.encode() if isinstance(drawn, str) else drawn


def _begin_process() -> None:
    # pages are many small objects and hardly a cycle: looking for those takes a quarter of the time
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    # the planning process is interrupted, too, and ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed ends nobody, and its pool's processes would wait for pages for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
