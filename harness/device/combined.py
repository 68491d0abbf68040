"""A phone through one client library or several: each step goes to the first that has the capability for it.

pymobiledevice3 pairs and says who the phone is in any case. A step that fails once the phone has left is `lost`,
whatever the library made of it: how far it had got says nothing about the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from harness.core.errors import UsageError
from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts
from harness.core.telemetry import Reading
from harness.device.errors import REPLUG, StepError
from harness.device.interface import (
    Capability,
    Container,
    InstalledApp,
    PhoneCondition,
    Progress,
    Transport,
)
from harness.device.watched_container import WatchedContainer

_Value = TypeVar("_Value")
_Tell = Callable[[str], None]


class Prefer(StrEnum):
    AUTO = "auto"
    PYMOBILEDEVICE3 = "pymobiledevice3"
    """Nothing else."""
    TIDEVICE = "tidevice"
    """Whatever it can do on the phone; pymobiledevice3 does the rest."""


def parse_transport(word: str) -> Prefer:
    """Raises UsageError that lists the names."""
    try:
        return Prefer(word)
    except ValueError:
        raise UsageError(f"no transport is called {word[:40]!r}; there are: {', '.join(Prefer)}") from None


async def open_transport(
    udid: str,
    *,
    prefer: str = Prefer.AUTO,
    usbmux_address: str | None = None,
    settings: str = "",
    pair_records: Path | None = None,
    tell: _Tell = lambda text: None,
) -> Transport:
    """The phone, paired, through the libraries that `prefer` means; `tell` hears when that takes more than one.

    Raises UsageError for an unknown name, PhoneNotFound when the phone is not attached, StepError when it is not ready.
    """
    wanted = parse_transport(prefer)
    # costs half a second to import, and `--help` needs none of it
    from harness.device.pymobiledevice3_ import Pymobiledevice3Transport

    first = await Pymobiledevice3Transport.open(
        udid, usbmux_address=usbmux_address, settings=settings, pair_records=pair_records
    )
    members: list[Transport] = [first]
    missing = frozenset(Capability) - first.capabilities
    if wanted is Prefer.TIDEVICE or (wanted is Prefer.AUTO and missing):
        try:
            from harness.device.tidevice_ import TideviceTransport

            second = TideviceTransport(first.facts, first.pair_record, usbmux_address)
        except BaseException:
            await first.close()
            raise
        if wanted is Prefer.TIDEVICE:
            members.insert(0, second)
        elif missing & second.capabilities:
            members.append(second)
    combined = CombinedTransport(members)
    if wanted is Prefer.TIDEVICE and "+" in combined.name:
        tell(combined.division)
    return combined


class CombinedTransport:
    """`Transport` (harness.device.interface) over several, in order of preference; closes them all."""

    def __init__(self, members: Sequence[Transport]) -> None:
        self._members = tuple(members)
        self._doer = {capability: self._first_able(capability) for capability in Capability}

    def _first_able(self, capability: Capability) -> Transport:
        """Where nobody is able, the last one: its own refusal says why, and what helps."""
        return next((member for member in self._members if capability in member.capabilities), self._members[-1])

    @property
    def name(self) -> str:
        """Of those that have something to do."""
        return "+".join(member.name for member in self._members if member in self._doer.values())

    @property
    def division(self) -> str:
        """Who does what, in a line."""
        parts = []
        for member in self._members:
            duties = ", ".join(capability for capability, doer in self._doer.items() if doer is member)
            if duties:
                parts.append(f"{member.name} does {duties}")
        return "; ".join(parts)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset[Capability]().union(*(member.capabilities for member in self._members))

    @property
    def facts(self) -> PhoneFacts:
        return self._members[0].facts

    async def _try(self, step: Awaitable[_Value]) -> _Value:
        try:
            return await step
        except StepError as error:
            raise await self._with_absence(error) from error

    async def _with_absence(self, error: StepError) -> StepError:
        """The error as it stands, or that the phone is lost when it is no longer there."""
        if error.outcome is Outcome.LOST:
            return error
        try:
            if await self.is_present():
                return error
        except StepError as gone:
            return gone
        # of the same class: a cut that may be mended stays one
        return type(error)(error.step, self.facts.udid, "the phone left before it was done", REPLUG, Outcome.LOST)

    async def installed_app(self, bundle_id: str) -> InstalledApp | None:
        return await self._try(self._doer[Capability.INSTALL].installed_app(bundle_id))

    async def install(self, ipa: Path, progress: Progress) -> None:
        await self._try(self._doer[Capability.INSTALL].install(ipa, progress))

    @asynccontextmanager
    async def container(self, bundle_id: str) -> AsyncIterator[Container]:
        async with AsyncExitStack() as stack:
            opening = self._doer[Capability.FILES].container(bundle_id)
            container = await self._try(stack.enter_async_context(opening))
            yield WatchedContainer(container, self._try)

    async def launch(self, bundle_id: str, environment: Mapping[str, str]) -> int:
        return await self._try(self._doer[Capability.LAUNCH].launch(bundle_id, environment))

    async def kill(self, pid: int) -> None:
        await self._try(self._doer[Capability.LAUNCH].kill(pid))

    async def is_running(self, pid: int) -> bool:
        return await self._try(self._doer[Capability.LAUNCH].is_running(pid))

    async def wait_ended(self, pid: int) -> str | None:
        return await self._try(self._doer[Capability.LAUNCH].wait_ended(pid))

    async def watch_process(self, pid: int, interval_ms: int) -> AsyncIterator[Reading]:
        readings = self._doer[Capability.MONITOR].watch_process(pid, interval_ms)
        try:
            async for reading in readings:
                yield reading
        except StepError as error:
            raise await self._with_absence(error) from error
        finally:
            # with ours, not when the garbage collector finds it
            if isinstance(readings, AsyncGenerator):
                await readings.aclose()

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        return await self._try(self._doer[Capability.PORTS].connect(port))

    async def report_names(self) -> frozenset[str]:
        return await self._try(self._doer[Capability.REPORTS].report_names())

    async def read_report(self, name: str, max_bytes: int) -> bytes:
        return await self._try(self._doer[Capability.REPORTS].read_report(name, max_bytes))

    async def condition(self) -> PhoneCondition:
        return await self._try(self._doer[Capability.CONDITION].condition())

    async def is_present(self) -> bool:
        return await self._doer[Capability.PORTS].is_present()

    async def close(self) -> None:
        async with AsyncExitStack() as stack:
            for member in self._members:
                stack.push_async_callback(member.close)
