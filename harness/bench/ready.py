"""Waits until a phone is ready for a trial: for a warm one, as long as its suite allows; for what cannot pass, not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from harness.bench.listener import Listener
from harness.core.outcome import Outcome
from harness.device.errors import StepError
from harness.device.readiness import Needs, Unmet

STEP = "readiness"


async def wait_until_ready(
    look: Callable[[], Awaitable[list[Unmet]]], needs: Needs, phone: str, listener: Listener
) -> int:
    """Looks until nothing is unmet; gives the time that was waited, in ns (0: at once).

    Raises StepError (not_ready) for a need that no waiting mends, and when the time is up.
    """
    began_ns = time.monotonic_ns()
    looked = 0
    while True:
        unmet = await look()
        looked += 1
        waited_s = (time.monotonic_ns() - began_ns) / 1e9
        if not unmet:
            if looked == 1:
                return 0
            listener.step(_bar(needs), 1, 1)
            return time.monotonic_ns() - began_ns
        hopeless = [one for one in unmet if one.progress is None]
        if hopeless or waited_s >= needs.cool_timeout_s:
            late = "" if hopeless else f" (waited {_minutes(waited_s)})"
            words = "; ".join(one.words for one in hopeless or unmet)
            raise StepError(STEP, phone, f"{words}{late}", "", Outcome.NOT_READY)
        goal = ", ".join(one.progress for one in unmet if one.progress)
        listener.step(_bar(needs), round(waited_s), max(1, round(needs.cool_timeout_s)))
        listener.note(f"{goal}, {_minutes(waited_s)} of {_minutes(needs.cool_timeout_s)}")
        await asyncio.sleep(min(needs.cool_poll_s, max(0.0, needs.cool_timeout_s - waited_s)))


def _bar(needs: Needs) -> str:
    return f"wait for the phone to be ready (at most {_minutes(needs.cool_timeout_s)})"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
