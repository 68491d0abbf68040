"""How a virtual phone warms up, cools down and discharges: a first-order model. EMULATED, not measured on a phone.

One body with one temperature, that of the battery, which is what a host can read from a real phone:

    dT/dt = (rest + rise × busy cores − T) / time constant

so that under a steady load the temperature approaches `rest + rise × load` exponentially, and returns as it came. The
battery gives what the load draws and takes what the cable brings. Every constant is assumed, chosen so that a
two-core load for ten minutes makes a phone hot, as language models do; nothing may be concluded from them.

Pure: time and CPU time come from outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.virtual.state import Thermal

if TYPE_CHECKING:
    from harness.virtual.state import Battery

REST_CELSIUS = 29.5
"""Where the battery of an idle phone on a desk, on its cable, settles."""
RISE_CELSIUS_PER_CORE = 8.0
"""How much hotter one core that is always busy makes it in the end."""
TIME_CONSTANT_S = 300.0
"""After this long 63 % of a change has happened."""
THRESHOLDS_CELSIUS = {Thermal.FAIR: 36.0, Thermal.SERIOUS: 40.0, Thermal.CRITICAL: 44.0}
"""From here on the state is at least this."""
HYSTERESIS_CELSIUS = 1.0
"""How far it must cool under a threshold before the state falls again."""
BUSY_CORES_LIMIT = 6.0
"""An iPhone has six cores: a machine with more does not heat it beyond what they could."""
IDLE_WATTS = 0.5
WATTS_PER_CORE = 2.5
CABLE_WATTS = 7.5
BATTERY_VOLTS = 3.85
_NS_PER_S = 1_000_000_000
_S_PER_H = 3600.0


@dataclass(frozen=True)
class Load:
    """What the apps have done over a span of time."""

    elapsed_s: float
    cpu_ns: int

    @property
    def busy_cores(self) -> float:
        """How many cores were busy on average; 0 for a span without length."""
        if self.elapsed_s <= 0:
            return 0.0
        return min(self.cpu_ns / _NS_PER_S / self.elapsed_s, BUSY_CORES_LIMIT)


def advance(battery: Battery, load: Load) -> None:
    """Moves temperature and level by one span of time, exactly for a steady load: one long step equals many short."""
    if load.elapsed_s <= 0:
        return
    target = REST_CELSIUS + RISE_CELSIUS_PER_CORE * load.busy_cores
    kept = math.exp(-load.elapsed_s / TIME_CONSTANT_S)
    battery.temperature_celsius = target + (battery.temperature_celsius - target) * kept
    watts = (CABLE_WATTS if battery.charging else 0.0) - IDLE_WATTS - WATTS_PER_CORE * load.busy_cores
    full_watt_hours = battery.full_capacity_mah / 1000 * BATTERY_VOLTS
    level = battery.level_percent + 100 * watts * load.elapsed_s / _S_PER_H / full_watt_hours
    battery.level_percent = min(100.0, max(0.0, level))


def thermal_state(celsius: float, before: Thermal) -> Thermal:
    """The thermal state at a temperature, after another: it rises at a threshold and falls a little under it."""
    state = Thermal.NOMINAL
    for candidate, threshold in THRESHOLDS_CELSIUS.items():
        needed = threshold if candidate > before else threshold - HYSTERESIS_CELSIUS
        if celsius >= needed:
            state = candidate
    return state
