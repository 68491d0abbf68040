"""From a device word to an open phone that nobody else uses meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.phone import AnyAttached, ByUdid, DeviceWord, PhoneFacts, Virtual
from harness.device.combined import open_transport, parse_transport
from harness.device.errors import PhoneNotFound, StepError
from harness.device.interface import Transport
from harness.device.lease import HostLock, Tell, Waiting, host_lock, phone_lock, take_first
from harness.device.reservation import Reservations
from harness.device.virtual_host import RunningVirtualPhone, running_virtual_phone

USB = "USB"
EMBEDDED_PREFIX = "virtual-"
"""Of the locks of phones that live in the process that uses them."""
# While waiting for whichever phone is free first: usbmuxd is asked for new ones so often.
RELIST_S = 1.0
LEASE_REMEDY = (
    "Wait for it longer (--lease-wait, under pytest --load-lease-wait), end that process, or use another phone"
)


def silent(_text: str) -> None:
    """Whoever opens a phone without a listener hears nothing."""


@dataclass(frozen=True)
class ReservedPhone:
    """A phone that is ours for now, and how to reach it; nothing has been asked of it yet."""

    udid: str
    usbmux_address: str | None = None
    """None: where this host's usbmuxd is."""
    settings: str = ""
    """A virtual phone's departures from its profile."""
    pair_records: Path | None = None

    async def open(self, *, transport: str = "auto", tell: Tell = silent) -> Transport:
        """Pairs if need be; the caller closes it. Raises PhoneNotFound, StepError, UsageError."""
        return await open_transport(
            self.udid,
            prefer=transport,
            usbmux_address=self.usbmux_address,
            settings=self.settings,
            pair_records=self.pair_records,
            tell=tell,
        )


@asynccontextmanager
async def open_phone(
    word: DeviceWord, *, transport: str = "auto", lease_wait_s: float = 0.0, tell: Tell = silent
) -> AsyncIterator[Transport]:
    """The phone that `word` names, leased and open for the length of the `async with`.

    Waits up to `lease_wait_s` for a phone that another process uses; `tell` gets a line about that.

    Raises PhoneNotFound when a named phone is not attached, LockBusy when it stays in use or another user has reserved
    it, UsageError for a wrong
    virtual profile, setting or transport, StepError when the phone is there but not ready.
    """
    parse_transport(transport)
    async with AsyncExitStack() as stack:
        phone = await stack.enter_async_context(reserve_phone(word, lease_wait_s=lease_wait_s, tell=tell))
        opened = await phone.open(transport=transport, tell=tell)
        stack.push_async_callback(opened.close)
        yield opened


@asynccontextmanager
async def reserve_phone(
    word: DeviceWord, *, lease_wait_s: float = 0.0, tell: Tell = silent
) -> AsyncIterator[ReservedPhone]:
    """The first half of `open_phone`: a virtual phone is started, any other one leased. Raises like it."""
    if isinstance(word, Virtual):
        with running_virtual_phone(word) as phone:
            async with _lease_of_embedded(phone, word, tell):
                records = phone.home / "host-pair-records"
                yield ReservedPhone(phone.udid, phone.usbmux_address, word.settings_text, records)
        return
    async with leased_phone(word, lease_wait_s=lease_wait_s, tell=tell) as udid:
        yield ReservedPhone(udid)


@asynccontextmanager
async def leased_phone(
    word: ByUdid | AnyAttached, *, lease_wait_s: float = 0.0, tell: Tell = silent
) -> AsyncIterator[str]:
    """The UDID of the phone that `word` means, leased for the length of the `async with`; not yet opened.

    A named phone is leased before anybody looks whether it is attached: while another process uses it, it may well
    be restarting. Raises PhoneNotFound, LockBusy, or StepError when there is no usbmuxd.
    """
    if isinstance(word, ByUdid):
        subject = f"phone {word.udid}"
        Reservations.shared().check(word.udid)
        async with host_lock(
            phone_lock(word.udid),
            subject=subject,
            purpose=_program(),
            wait_s=lease_wait_s,
            tell=tell,
            remedy=LEASE_REMEDY,
        ):
            yield word.udid
        return
    candidates = _Candidates(word, tell)
    lock = await take_first(candidates.look, Waiting(_program(), lease_wait_s, tell, LEASE_REMEDY))
    try:
        yield candidates.udid_of(lock.name)
    finally:
        lock.release()


async def expand(words: Sequence[DeviceWord]) -> list[DeviceWord]:
    """`all` becomes one word for each phone on a cable, sorted by UDID; the other words stay as they are.

    Raises PhoneNotFound when `all` means none, StepError when there is no usbmuxd.
    """
    expanded: list[DeviceWord] = []
    for word in words:
        if isinstance(word, AnyAttached) and word.every:
            expanded += [ByUdid(udid) for udid in await _on_a_cable() if ByUdid(udid) not in words]
        else:
            expanded.append(word)
    return expanded


class _Candidates:
    """The phones on a cable that a word means. The first look must find one; later ones may find none for a while."""

    def __init__(self, word: AnyAttached, tell: Tell) -> None:
        self._word = word
        self._tell = tell
        self._wanted: dict[str, str] = {}
        self._udids: dict[str, str] = {}
        self._facts: dict[str, PhoneFacts] = {}
        self._silent: set[str] = set()
        self._next_look: float | None = None

    def udid_of(self, lock_name: str) -> str:
        return self._udids[lock_name]

    async def look(self) -> Mapping[str, str]:
        """Lock and description of each, by UDID. Raises PhoneNotFound or StepError, but only at first."""
        now = asyncio.get_running_loop().time()
        first = self._next_look is None
        if self._next_look is not None and now < self._next_look:
            return self._wanted
        self._next_look = now + RELIST_S
        try:
            attached = await _on_a_cable()
            wanted = await self._of_the_class(attached)
        except (PhoneNotFound, StepError):
            # while somebody else uses the phone it may restart, and usbmuxd come and go with it
            if first:
                raise
            attached = wanted = []
        if first and not wanted:
            there = ", ".join(f"{udid} ({self._product_of(udid)})" for udid in attached)
            raise PhoneNotFound(f"--device={self._word.text}: no such phone is attached by USB; there is: {there}")
        wanted = self._not_reserved(wanted, first=first)
        self._udids |= {phone_lock(udid): udid for udid in wanted}
        self._wanted = {phone_lock(udid): f"phone {udid}" for udid in wanted}
        return self._wanted

    def _not_reserved(self, udids: list[str], *, first: bool) -> list[str]:
        """Without those that other users keep; raises PhoneReserved when at first there is no other."""
        kept = Reservations.shared().all() if udids else {}
        free = [udid for udid in udids if (one := kept.get(phone_lock(udid))) is None or one.is_ours]
        if first and udids and not free:
            Reservations.shared().check(udids[0])
        return free

    async def _of_the_class(self, attached: list[str]) -> list[str]:
        if self._word.product_type is None:
            return attached
        from harness.device.pymobiledevice3_ import glance

        unknown = [udid for udid in attached if udid not in self._facts]
        answers = await asyncio.gather(*map(glance, unknown), return_exceptions=True)
        for udid, answer in zip(unknown, answers, strict=True):
            if isinstance(answer, PhoneFacts):
                self._facts[udid] = answer
            elif isinstance(answer, StepError):
                if udid not in self._silent:
                    self._tell(f"left out: {answer}")
                self._silent.add(udid)
            else:
                raise answer
        return [udid for udid in attached if self._product_of(udid) == self._word.product_type]

    def _product_of(self, udid: str) -> str:
        facts = self._facts.get(udid)
        return facts.product_type if facts is not None else "does not answer"


async def _on_a_cable() -> list[str]:
    """UDIDs, sorted; phones that are only on the network are never chosen. Raises PhoneNotFound when there is none."""
    from harness.device.pymobiledevice3_ import attached_phones

    phones = await attached_phones()
    cabled = sorted({phone.udid for phone in phones if phone.connection == USB})
    if not cabled:
        raise none_on_a_cable(phone.udid for phone in phones)
    return cabled


def none_on_a_cable(others: Iterable[str]) -> PhoneNotFound:
    """To be raised; `others` are UDIDs of phones that are only on the network."""
    told = ", ".join(sorted(others))
    seen = f" (on the network, which is not enough: {told})" if told else ""
    return PhoneNotFound(f"no phone is attached by USB{seen}; --device=virtual needs none")


def _lease_of_embedded(phone: RunningVirtualPhone, word: Virtual, tell: Tell) -> AbstractAsyncContextManager[HostLock]:
    """Nobody else can reach that phone: the lock only tells others of it. By its home, since UDIDs follow slots."""
    home = hashlib.sha256(str(phone.home).encode(errors="surrogateescape")).hexdigest()[:16]
    name = f"{EMBEDDED_PREFIX}{home}"
    return host_lock(name, subject=word.text, purpose=f"{_program()}, {word.profile}", wait_s=0.0, tell=tell)


def _program() -> str:
    """What others are told that uses the phone: `harness`, `pytest`."""
    started = Path(sys.argv[0])
    # `python -m pytest` and `python -m harness.cli`
    name = started.parent.name if started.name == "__main__.py" else started.name
    return "harness" if name == "cli" else name
