"""A phone of the farm kept for a person: the hub gives it no trials until then."""

from __future__ import annotations

import asyncio

from harness.farm.address import Certificates, FarmAddress
from harness.farm.client import made, whoami
from harness.farm.link import open_link
from harness.farm.wire import Reserve, Reserved


def reserve_in_farm(
    address: FarmAddress,
    certificates: Certificates | None,
    phone: str,
    for_s: float,
    reason: str = "",
    *,
    force: bool = False,
) -> str:
    """Keeps the phone for `for_s` from now on, 0 lets it go; until when and whose it was before (empty: nobody's).

    Raises UsageError for one that the hub does not know, and for somebody else's unless `force`.
    """
    message = made(Reserve, phone=phone, for_s=for_s, by=whoami(), reason=reason, force=force)

    async def ask() -> str:
        async with open_link(address, certificates) as link:
            return (await link.ask("reserve", message, Reserved)).was

    return asyncio.run(ask())
