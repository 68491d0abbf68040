"""The instrument `ConditionInducer`: makes the phone say it is warm. Nothing gets warm: a thermal state is announced.

Assumed: a condition lasts as long as the channel that set it, which is how client tools use it. It wins over the
state that `thermal` models, and gives way to what was held before when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.virtual.services.instrument import Channel, Refused, Selector, text
from harness.virtual.state import Thermal

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

IDENTIFIER = "com.apple.instruments.server.services.ConditionInducer"
THERMAL_GROUP = "ThermalCondition"
THERMAL_PROFILES = {
    "ThermalFair": Thermal.FAIR,
    "ThermalSerious": Thermal.SERIOUS,
    "ThermalCritical": Thermal.CRITICAL,
}
"""Names as Xcode's list of device conditions gives them."""


class ConditionInducer:
    """One open channel."""

    def __init__(self, channel: Channel, phone: Phone) -> None:
        self._phone = phone
        self._active: str | None = None
        self._held_before: Thermal | None = None
        self.selectors: Mapping[str, Selector] = {
            "availableConditionInducers": self._available,
            "enableConditionWithIdentifier:profileIdentifier:": self._enable,
            "disableActiveCondition": self._disable,
        }

    async def close(self) -> None:
        """The condition goes with the channel."""
        await self._disable()

    async def _available(self) -> object:
        return [
            {
                "identifier": THERMAL_GROUP,
                "name": "Thermal State",
                "isActive": self._active is not None,
                "activeProfile": self._active or "",
                "isDestructive": False,
                "isInternal": False,
                "profilesSorted": True,
                "profiles": [
                    {
                        "identifier": name,
                        "name": state.name.capitalize(),
                        "description": f"The thermal state apps are told is {state.name.lower()}.",
                    }
                    for name, state in THERMAL_PROFILES.items()
                ],
            }
        ]

    async def _enable(self, condition: object, profile: object) -> object:
        group, name = text(condition, "the condition"), text(profile, "the profile")
        if group != THERMAL_GROUP or name not in THERMAL_PROFILES:
            raise Refused(f"there is no profile {name[:100]!r} of a condition {group[:100]!r} on this phone")
        if self._active is None:
            self._held_before = self._phone.state.thermal_held
        self._active = name
        self._hold(THERMAL_PROFILES[name])
        return None

    async def _disable(self) -> object:
        if self._active is not None:
            self._active = None
            self._hold(self._held_before)
        return None

    def _hold(self, thermal: Thermal | None) -> None:
        self._phone.state.thermal_held = thermal
        self._phone.conditions.tell()
