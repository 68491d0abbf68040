"""Brings a model file into the app's container, once: the digest is in its name on the phone.

The file is written beside its final name and renamed when complete, so what bears the name is whole. The runner
checks the digest on the phone before it loads. A push that is cut is continued: by this process from the last
acknowledged byte, by a later one from where the unfinished file is certainly right (`afc_pipeline.safe_offset`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.outcome import Outcome
from harness.core.units import ByteCount, format_bytes
from harness.device.afc_pipeline import safe_offset
from harness.device.errors import REPLUG, BrokenConnection, StepError
from harness.device.interface import Container, Progress, Transport
from harness.device.lease import LockBusy, host_lock
from harness.device.phone_models import MODELS_FOLDER, PART_ENDING, PhoneModels, StoredModel, model_path
from harness.device.presence import GRACE_S, wait_until_present
from harness.device.usb import root_hub

DOCUMENTS = "/Documents/"
# Left free for what the trials themselves write (journals, weight caches) and for iOS, which shows dialogs and ends
# apps when its storage runs out. A choice, not a measurement.
RESERVE_BYTES = 256 * 1024 * 1024
# So many in a row without a byte acknowledged between them, and the push is given up: cuts after a silence up to a
# limit in time, and cuts that were quick, as a cable that hangs loose makes them.
SILENT_CUTS_LIMIT = 3
QUICK_CUTS_LIMIT = 60
QUICK_S = 5.0
# Other phones of the hub may be waiting for models of many gigabytes.
HUB_WAIT_S = 6 * 3600.0
PAUSE_S = 0.5
STEP = "push"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class PushedModel:
    path: str
    """Under the app's Documents folder, as a job names it."""
    pushed_bytes: int
    """What went over the cable and was acknowledged. 0: it was there."""
    pipelined: bool = True
    """Several writes were under way at once, to the end; False when the phone made us write one by one."""
    cuts: int = 0
    """How often the connection broke on the way."""


def tell_nobody(text: str) -> None:
    """Is told, and tells nobody."""


def count_nothing(pushed_bytes: int) -> None:
    """Is told, and counts nothing."""


@dataclass(frozen=True)
class PushOptions:
    """What a push may do, and who is told what it does."""

    tell: Tell = tell_nobody
    keep: tuple[str, ...] = ()
    """Models that are not removed to make room: names of files, or begins of digests."""
    in_use: frozenset[str] = frozenset()
    """Digests of those that are not removed either, as this run needs them."""
    grace_s: float = GRACE_S
    """How long the phone may be absent after a cut."""
    reserve_bytes: int = RESERVE_BYTES
    count: Callable[[int], None] = count_nothing
    """Takes bytes as the phone acknowledges them, also those of a push that fails later."""


DEFAULTS = PushOptions()


async def push_model(
    transport: Transport,
    bundle_id: str,
    model: Path,
    sha256: str,
    progress: Progress,
    options: PushOptions = DEFAULTS,
) -> PushedModel:
    """Raises StepError (push_failed, or lost when the phone stays away) naming what went wrong."""
    return await _Push(transport, bundle_id, model, sha256, progress, options).run()


async def missing_bytes(transport: Transport, bundle_id: str, name: str, sha256: str, size_bytes: int) -> int:
    """What `push_model` would have to write now; 0: the phone has the model. Raises StepError."""
    if await transport.installed_app(bundle_id) is None:
        return size_bytes
    target = model_path(sha256, name)
    async with transport.container(bundle_id) as container:
        if await container.size(target) == size_bytes:
            return 0
        part_bytes = await container.size(f"{target}{PART_ENDING}")
    return size_bytes if part_bytes is None or part_bytes > size_bytes else size_bytes - safe_offset(part_bytes)


async def forget_model(transport: Transport, bundle_id: str, sha256: str) -> None:
    """Removes the model, its manifest and its part from the phone. Raises StepError."""
    async with transport.container(bundle_id) as container:
        await PhoneModels(container).forget(sha256)


@dataclass
class _Push:
    """One model's way to the phone, over as many connections as it takes."""

    transport: Transport
    bundle_id: str
    model: Path
    sha256: str
    progress: Progress
    options: PushOptions
    acknowledged_bytes: int | None = None
    """The prefix that is on the phone for certain, as far as this process knows."""
    pushed_bytes: int = 0
    one_by_one: bool = False
    cuts: int = 0
    _size_bytes: int = field(init=False)
    _target: str = field(init=False)

    def __post_init__(self) -> None:
        self._target = model_path(self.sha256, self.model.name)
        try:
            self._size_bytes = self.model.stat().st_size
        except OSError as error:
            raise self._failure(f"{self.model} cannot be read: {error.strerror}", "", Outcome.HARNESS_ERROR) from error

    async def run(self) -> PushedModel:
        if not await self._through_cuts(self._use):
            async with self._hub():
                await self._through_cuts(self._bring)
        path = self._target.removeprefix(DOCUMENTS)
        return PushedModel(path, self.pushed_bytes, not self.one_by_one, self.cuts)

    async def _through_cuts(self, work: Callable[[Container], Awaitable[bool]]) -> bool:
        """Does the work, on a new connection after each cut, as long as it gets on."""
        silent = quick = 0
        while True:
            pushed_before_bytes, began_s = self.pushed_bytes, time.monotonic()
            try:
                async with self.transport.container(self.bundle_id) as container:
                    return await work(container)
            except StepError as error:
                if not isinstance(error, BrokenConnection) and error.outcome is not Outcome.LOST:
                    raise
                self.cuts += 1
                if self.pushed_bytes > pushed_before_bytes:
                    silent = quick = 0
                elif time.monotonic() - began_s < QUICK_S:
                    quick += 1
                else:
                    silent += 1
                if silent >= SILENT_CUTS_LIMIT or quick >= QUICK_CUTS_LIMIT:
                    why = error.message.removesuffix(f". {REPLUG}")
                    text = f"{silent + quick} connections in a row broke before a byte arrived; the last: {why}"
                    raise self._failure(text, REPLUG, error.outcome) from error
                await self._wait_for_phone(error)
            if silent or quick:
                # a phone that is going down is still listed for a moment
                await asyncio.sleep(PAUSE_S)

    async def _wait_for_phone(self, error: StepError) -> None:
        at = f"{format_bytes(self.acknowledged_bytes or 0)} of {format_bytes(self._size_bytes)}"
        why = error.message.removesuffix(f". {REPLUG}")
        self.options.tell(f"push {self.model.name} was cut at {at} ({why}); going on once the phone is there")
        if not await wait_until_present(self.transport, self.options.grace_s):
            text = f"the phone left at {at} and was not back within {self.options.grace_s:g} s"
            raise self._failure(text, REPLUG, Outcome.LOST) from error

    @asynccontextmanager
    async def _hub(self) -> AsyncIterator[None]:
        """One push at a time: two would share the hub's speed, and each would have more to lose by a cut."""
        hub = root_hub(self.transport.facts)
        holding = host_lock(
            f"hub-{hub}",
            subject=f"USB root hub {hub}",
            purpose=f"push {self.model.name} to {self.transport.facts.udid}",
            wait_s=HUB_WAIT_S,
            tell=self.options.tell,
        )
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(holding)
            except LockBusy as error:
                raise self._failure(str(error), "Run again later", Outcome.PUSH_FAILED) from error
            yield

    # -- what is done on one connection

    async def _use(self, container: Container) -> bool:
        """Whether the phone has the model; if so it is noted that it is used."""
        if await container.size(self._target) != self._size_bytes:
            return False
        await PhoneModels(container).note_use(self.sha256, self.model.name, self._size_bytes, pushed=False)
        return True

    async def _bring(self, container: Container) -> bool:
        there_bytes = await container.size(self._target)
        # it is there when a cut hid the answer to the renaming
        if there_bytes != self._size_bytes:
            if there_bytes is not None:
                await container.remove(self._target)
            await self._write(container)
        await PhoneModels(container).note_use(self.sha256, self.model.name, self._size_bytes, pushed=True)
        return True

    async def _write(self, container: Container) -> None:
        await container.make_folder(MODELS_FOLDER)
        part = f"{self._target}{PART_ENDING}"
        part_bytes = await container.size(part)
        begin_bytes = self._begin(part_bytes)
        await self._make_room(container, self._size_bytes - min(part_bytes or 0, self._size_bytes))
        if begin_bytes:
            self.options.tell(f"push {self.model.name} goes on at {format_bytes(begin_bytes)}")
        self.acknowledged_bytes = begin_bytes
        self._note_progress(begin_bytes)
        await container.write(
            part,
            self.model,
            from_bytes=begin_bytes,
            progress=self._note_progress,
            one_by_one=self.one_by_one,
            odd=self._note_oddity,
        )
        arrived_bytes = await container.size(part)
        if arrived_bytes != self._size_bytes:
            self.acknowledged_bytes = None
            await container.remove(part)
            text = f"{self.model.name}: {arrived_bytes} of {self._size_bytes} bytes are on the phone after the push"
            raise self._failure(text, "Check the phone's free storage and the cable, and run again")
        await container.rename(part, self._target)

    def _begin(self, part_bytes: int | None) -> int:
        """From where to write: what the phone has there is right."""
        if part_bytes is None or part_bytes > self._size_bytes:
            return 0
        if self.acknowledged_bytes is not None and self.acknowledged_bytes <= part_bytes:
            return self.acknowledged_bytes
        return safe_offset(part_bytes)

    def _note_progress(self, acknowledged_bytes: int) -> None:
        new_bytes = acknowledged_bytes - (self.acknowledged_bytes or 0)
        self.pushed_bytes += new_bytes
        self.options.count(new_bytes)
        self.acknowledged_bytes = acknowledged_bytes
        self.progress(f"push {self.model.name}", ByteCount(acknowledged_bytes), ByteCount(self._size_bytes))

    def _note_oddity(self, oddity: str) -> None:
        self.one_by_one = True
        self.options.tell(f"push {self.model.name} goes on with one write at a time, which is slower: {oddity}")

    # -- room

    async def _make_room(self, container: Container, rest_bytes: int) -> None:
        """Removes the models that were used longest ago until the rest fits; none if that would not suffice."""
        free_bytes = await container.free_bytes()
        wanted_bytes = rest_bytes + self.options.reserve_bytes
        if free_bytes is None or free_bytes >= wanted_bytes:
            return
        models = PhoneModels(container)
        removable = [model for model in await models.stored() if self._may_go(model)]
        if free_bytes + sum(model.size_bytes for model in removable) < wanted_bytes:
            raise self._no_room(free_bytes, rest_bytes, removable)
        for model in removable:
            if free_bytes >= wanted_bytes:
                break
            await models.remove(model)
            free_bytes += model.size_bytes
            gone = f"{model.text} ({format_bytes(model.size_bytes)})"
            self.options.tell(f"removed {gone} from the phone to make room for {self.model.name}")

    def _may_go(self, model: StoredModel) -> bool:
        needed = model.sha256 == self.sha256 or model.sha256 in self.options.in_use
        return not needed and not model.is_kept(self.options.keep)

    def _no_room(self, free_bytes: int, rest_bytes: int, removable: Sequence[StoredModel]) -> StepError:
        text = (
            f"{self.model.name} needs {format_bytes(rest_bytes)} and {format_bytes(self.options.reserve_bytes)} that"
            f" stay free; the phone has {format_bytes(free_bytes)}"
        )
        if removable:
            text += f", and {format_bytes(sum(model.size_bytes for model in removable))} in models that may be removed"
        return self._failure(text, "Free storage on the phone, or keep fewer models (--keep)")

    def _failure(self, text: str, remedy: str, outcome: Outcome = Outcome.PUSH_FAILED) -> StepError:
        return StepError(STEP, self.transport.facts.udid, text, remedy, outcome)
