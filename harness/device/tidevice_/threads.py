"""Blocking work in a thread that can be given up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_Value = TypeVar("_Value")


async def in_thread(work: Callable[[], _Value], give_up: Callable[[], None]) -> _Value:
    """The value of `work`, done in a thread of its own.

    When the caller stops waiting (a time limit, a cancellation), `give_up` is called: it must close whatever the work
    may wait for, so that the thread ends. One that does not end even so is left behind: it keeps neither the event
    loop nor the process from ending, which threads of a pool would.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Value] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        # the loop is closed when nobody waits any more
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if answer.done() else settle())

    def run() -> None:
        try:
            value = work()
        except Exception as error:  # noqa: BLE001  # handed to the one who waits
            raised = error
            tell(lambda: answer.set_exception(raised))
        else:
            tell(lambda: answer.set_result(value))

    threading.Thread(target=run, name="tidevice", daemon=True).start()
    try:
        return await answer
    except asyncio.CancelledError:
        give_up()
        raise
