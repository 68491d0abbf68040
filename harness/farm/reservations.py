"""A phone of the farm kept for a person: the hub gives it no trials until then."""

from __future__ import annotations

import asyncio

from harness.farm.address import Certificates, FarmAddress
from harness.farm.client import made, whoami
from harness.farm.link import open_link
from harness.farm.wire import Nothing, Reserve


def reserve_in_farm(
    address: FarmAddress, certificates: Certificates | None, phone: str, for_s: float, reason: str = ""
) -> None:
    """Keeps the phone for `for_s` from now on, 0 lets it go. Raises UsageError for one that the hub does not know."""
    message = made(Reserve, phone=phone, for_s=for_s, by=whoami(), reason=reason)

    async def ask() -> None:
        async with open_link(address, certificates) as link:
            await link.ask("reserve", message, Nothing)

    asyncio.run(ask())
