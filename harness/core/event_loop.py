"""One known error of asyncio kept out of the log, and out of whoever takes the log's errors for their own.

A socket's transport that is closed from within `resume_writing` tells of its end twice; TLS does just that when the
other side resets while a full buffer drains (a cable pulled in the middle of a push). The first telling has done all
there is to do, the second one raises AttributeError into the event loop's exception handler.
Source: https://github.com/python/cpython/issues/156512, mended in CPython in August 2026.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

Context = dict[str, Any]
Handler = Callable[[asyncio.AbstractEventLoop, Context], object]

_TOLD_TWICE = "_call_connection_lost"


def forgive_second_close() -> None:
    """From now on the running loop drops that one error; every other one goes where it went before.

    May be called any number of times.
    """
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    if not isinstance(before, _Forgiving):
        loop.set_exception_handler(_Forgiving(before))


class _Forgiving:
    def __init__(self, before: Handler | None) -> None:
        self._before = before

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        if _is_second_close(context.get("exception")):
            return
        if self._before is None:
            loop.default_exception_handler(context)
        else:
            self._before(loop, context)


def _is_second_close(error: object) -> bool:
    """Raised by the method itself, on what its first run has set to None: not by a protocol's `connection_lost`."""
    if not isinstance(error, AttributeError) or error.obj is not None:
        return False
    frames = traceback.extract_tb(error.__traceback__)
    # none: an error that was handed over without having been raised
    return bool(frames) and frames[-1].name == _TOLD_TWICE and "asyncio" in frames[-1].filename
