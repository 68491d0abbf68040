"""Keeps the phone's conditions going: applies the thermal model to what the apps really use, and tells the apps.

Apps find the path of a small JSON file in `VIRTUAL_SYSTEM_STATE`: `{"thermal": 0…3, "low_power": bool,
"battery_percent": n}`. It is replaced as a whole when something in it has changed: at most twice a second by itself,
and at once when a hand did it. It stands for what iOS tells an app through ProcessInfo and UIDevice. EMULATED.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from harness.virtual.thermal import Load, advance, thermal_state

if TYPE_CHECKING:
    from harness.virtual.state import PhoneState

BUSY_INTERVAL_S = 0.5
# with no app running only cooling and charging are left, and 32 phones in one process must cost next to nothing
IDLE_INTERVAL_S = 5.0


class Conditions:
    """One phone's conditions. `cpu_times` gives the CPU time of every running app in ns, by pid.

    `start` needs a running event loop; `step` may be called at any time, which tests do with a `clock` of their own.
    """

    def __init__(
        self,
        state: PhoneState,
        cpu_times: Callable[[], Mapping[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._cpu_times = cpu_times
        self._clock = clock
        self._last_s = clock()
        self._last_cpu_ns: dict[int, int] = {}
        self._written = ""
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._state.thermal_modelled = thermal_state(state.battery.temperature_celsius, state.thermal_modelled)

    def start(self) -> None:
        """Begins to keep time."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Ends it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def tell(self) -> None:
        """Makes the file true at once; called before an app starts, and when a hand has changed something."""
        self._state.thermal_modelled = thermal_state(
            self._state.battery.temperature_celsius, self._state.thermal_modelled
        )
        self._write()
        self._hurry.set()

    def step(self) -> None:
        """Moves the model to now. What an app used after the last step before its end is not counted."""
        now_s = self._clock()
        now_cpu_ns = dict(self._cpu_times())
        spent_ns = sum(max(0, used - self._last_cpu_ns.get(pid, 0)) for pid, used in now_cpu_ns.items())
        state = self._state
        advance(state.battery, Load(now_s - self._last_s, spent_ns))
        self._last_s, self._last_cpu_ns = now_s, now_cpu_ns
        state.thermal_modelled = thermal_state(state.battery.temperature_celsius, state.thermal_modelled)

    async def _run(self) -> None:
        while True:
            self._hurry.clear()
            self.step()
            if self._last_cpu_ns:
                self._write()
                await asyncio.sleep(BUSY_INTERVAL_S)
                continue
            try:
                async with asyncio.timeout(IDLE_INTERVAL_S):
                    await self._hurry.wait()
            except TimeoutError:
                continue

    def _write(self) -> None:
        state = self._state
        text = json.dumps(
            {"thermal": int(state.thermal), "low_power": state.low_power, "battery_percent": state.battery.percent}
        )
        if text == self._written:
            return
        draft = state.system_state_file.with_suffix(".new")
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(state.system_state_file)
        self._written = text
