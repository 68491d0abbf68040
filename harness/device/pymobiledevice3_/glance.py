"""What a phone tells anybody on its cable: no pairing, no session, nothing changed on either side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pymobiledevice3.service_connection import ServiceConnection

from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts, PhoneKind
from harness.device import limits
from harness.device.errors import StepError
from harness.device.pymobiledevice3_.steps import step

LOCKDOWN_PORT = 62078
MAX_TEXT = 64
"""Characters of a value that is shown."""


async def glance(udid: str, usbmux_address: str | None = None) -> PhoneFacts:
    """Who the phone is, also when it is locked or does not trust this host. Raises StepError within a short limit."""
    with step("ask who it is", udid, limits.GLANCE_LIMIT_S, Outcome.LOST):
        async with asyncio.timeout(limits.GLANCE_LIMIT_S):
            lockdown = await ServiceConnection.create_using_usbmux(udid, LOCKDOWN_PORT, usbmux_address=usbmux_address)
            try:
                answer = await lockdown.send_recv_plist({"Label": "iphone-load-harness", "Request": "GetValue"})
            finally:
                await lockdown.close()
    values = answer.get("Value")
    if not isinstance(values, Mapping):
        text = f"it told no values: {answer.get('Error')!r:.80}"
        raise StepError("ask who it is", udid, text, "", Outcome.NOT_READY)
    return facts_of(udid, values)


def facts_of(udid: str, values: Mapping[str, Any], settings: str = "") -> PhoneFacts:
    """Of lockdownd's values; what is missing there is empty."""
    return PhoneFacts(
        udid=udid,
        kind=PhoneKind.VIRTUAL if values.get("VirtualDevice") is True else PhoneKind.PHYSICAL,
        product_type=_text(values.get("ProductType")),
        os_version=_text(values.get("ProductVersion")),
        os_build=_text(values.get("BuildVersion")),
        name=_text(values.get("DeviceName")),
        settings=settings,
    )


def _text(value: object) -> str:
    """It comes from the other end and goes to terminals: short, and nothing that moves a cursor."""
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value[:MAX_TEXT] if character.isprintable())
