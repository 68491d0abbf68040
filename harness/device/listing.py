"""Which phones are there, who each of them is, and who uses it; and word when one comes or goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from harness.core.phone import PhoneFacts
from harness.device.errors import StepError
from harness.device.lease import LockFolder, phone_lock, who_holds
from harness.device.lock_holder import Holder
from harness.device.registry import EMBEDDED_PREFIX, USB
from harness.device.reservation import Reservation, Reservations

RETRY_S = 1.0
"""How often usbmuxd is tried while it is away."""
USE_USB = "attach it by USB: telemetry over Wi-Fi is not to be trusted"


@dataclass(frozen=True)
class ListedPhone:
    """A phone that usbmuxd lists. `facts` None: it did not answer, and `problem` says how."""

    udid: str
    connection: str
    facts: PhoneFacts | None
    in_use: bool
    holder: Holder | None
    """Who uses it; None also when that process left no word of itself."""
    problem: str | None = None
    reservation: Reservation | None = None
    """Who keeps it for himself."""


async def list_phones(folder: LockFolder | None = None) -> list[ListedPhone]:
    """By UDID; each on one line even if usbmuxd has it by USB and on the network. StepError: there is no usbmuxd."""
    from harness.device.pymobiledevice3_ import attached_phones

    connections: dict[str, str] = {}
    for phone in await attached_phones():
        if connections.get(phone.udid) != USB:
            connections[phone.udid] = phone.connection
    held = who_holds(folder)
    return list(await asyncio.gather(*(_look_at(udid, connections[udid], held) for udid in sorted(connections))))


def embedded_phones(folder: LockFolder | None = None) -> list[Holder | None]:
    """The processes of this host that run a virtual phone of their own."""
    return [holder for name, holder in who_holds(folder).items() if name.startswith(EMBEDDED_PREFIX)]


async def _look_at(udid: str, connection: str, held: dict[str, Holder | None]) -> ListedPhone:
    from harness.device.pymobiledevice3_ import glance

    facts, problem = None, None
    try:
        facts = await glance(udid)
    except StepError as error:
        problem = error.message
    if connection != USB:
        problem = USE_USB
    lock = phone_lock(udid)
    return ListedPhone(udid, connection, facts, lock in held, held.get(lock), problem, Reservations.shared().of(udid))


class Change(StrEnum):
    """What `watch_phones` tells."""

    ATTACHED = "attached"
    DETACHED = "detached"
    USBMUXD_GONE = "usbmuxd_gone"
    USBMUXD_BACK = "usbmuxd_back"


@dataclass(frozen=True)
class PhoneChange:
    """A phone that came or went; `phone` None: it is about usbmuxd itself, and `problem` says what."""

    change: Change
    phone: ListedPhone | None = None
    problem: str | None = None


async def watch_phones(folder: LockFolder | None = None) -> AsyncIterator[PhoneChange]:
    """The phones that are there, then each that comes or goes, until the consumer stops. Outlives usbmuxd."""
    from harness.device.pymobiledevice3_ import attachments

    there: dict[tuple[str, str], ListedPhone] = {}
    away = False
    while True:
        try:
            async for attached in attachments():
                if away:
                    away = False
                    yield PhoneChange(Change.USBMUXD_BACK)
                now = {(phone.udid, phone.connection) for phone in attached}
                for key in sorted(there.keys() - now):
                    yield PhoneChange(Change.DETACHED, there.pop(key))
                for key in sorted(now - there.keys()):
                    there[key] = await _look_at(*key, who_holds(folder))
                    yield PhoneChange(Change.ATTACHED, there[key])
        except StepError as error:
            # a phone behind it is out of reach either way; usbmuxd tells of it again when it is back
            for key in sorted(there):
                yield PhoneChange(Change.DETACHED, there.pop(key))
            if not away:
                yield PhoneChange(Change.USBMUXD_GONE, problem=str(error))
            away = True
        await asyncio.sleep(RETRY_S)
