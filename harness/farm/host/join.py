"""A host of a farm: keeps a process for each of its phones, and brings home what they leave behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness import __version__
from harness.core.errors import HarnessError, UsageError
from harness.core.phone import AnyAttached, ByUdid, DeviceWord, Virtual, parse_device_word
from harness.device.lease import LockFolder
from harness.device.listing import Change, PhoneChange, watch_phones
from harness.device.registry import USB
from harness.farm.address import Certificates, FarmAddress
from harness.farm.host.delivery import Courier
from harness.farm.host.process_options import ProcessOptions, certificate_paths
from harness.farm.host.spool import close_abandoned, default_spool, forget_old, host_word
from harness.farm.host.supervisor import STALL_LIMIT_S, KeptProcess, Supervisor
from harness.farm.link import HubUnreachable, Link, open_link
from harness.farm.wire import Hello, Nothing
from harness.runner.choice import parse_runner
from harness.store.database import ResultStore

SWEEP_S = 15.0
LAST_SWEEP_LIMIT_S = 60.0
FORGET_S = 86_400.0
REPLUG_S = 15.0
"""A phone that is unplugged keeps its process so long: a cable may be put back."""
MAX_PHONES = 256
HOST_LOCK = "host"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class HostOptions:
    """How a host takes part, beside where the hub is and which phones it brings."""

    name: str = ""
    """As the farm calls it; empty: the machine's own name."""
    spool: Path | None = None
    """None: `spool.default_spool`."""
    phones: int = 1
    """Of each virtual word."""
    runner: tuple[str, ...] = ("auto",)
    transport: str = "auto"
    usb_cycle: tuple[str, ...] = ()
    stall_limit_s: float = STALL_LIMIT_S
    file_store: str = ""
    """See `ProcessOptions`."""
    own_paths: bool = False
    """See `ProcessOptions`."""


class Host:
    """Make one with `open_host`."""

    def __init__(
        self, words: Sequence[DeviceWord], options: HostOptions, template: ProcessOptions, store: ResultStore,
        link: Link, tell: Tell,
    ) -> None:  # fmt: skip  # what a host is made of
        self.name = template.host
        self._words = tuple(words)
        self._options = options
        self._template = template
        self._store = store
        self._tell = tell
        self._supervisor = Supervisor(tell, stall_limit_s=options.stall_limit_s)
        self._link = link
        self._hello = Hello(version=__version__, host=template.host)
        self._courier = Courier(store, link, template.host, tell, template.file_store)
        self._away = False
        self._dropping: dict[str, asyncio.Task[None]] = {}
        self._attached: set[str] = set()

    @property
    def phones(self) -> list[KeptProcess]:
        """The phones that have a process now."""
        return self._supervisor.phones

    def start(self) -> None:
        """Begins with the virtual phones; physical ones come as usbmuxd tells of them."""
        for word in self._words:
            if isinstance(word, Virtual):
                same = sum(1 for kept in self._supervisor.phones if kept.options.word == word.text)
                for number in range(same, same + self._options.phones):
                    self._keep(f"{word.text}#{number + 1}", word.text)

    async def follow_phones(self) -> None:
        """Phones on cables, as they come and go; returns at once where only virtual ones were asked for."""
        if all(isinstance(word, Virtual) for word in self._words):
            return
        async for change in watch_phones():
            self._follow(change)

    def _follow(self, change: PhoneChange) -> None:
        phone = change.phone
        if phone is None:
            self._tell(change.problem or "usbmuxd is back")
            return
        if phone.connection != USB or not self._means(phone.udid, phone.facts.product_type if phone.facts else None):
            return
        if change.change is Change.ATTACHED:
            self._attached.add(phone.udid)
            dropping = self._dropping.pop(phone.udid, None)
            if dropping is not None:
                dropping.cancel()
                self._supervisor.say(phone.udid, {"attached": True})
            self._keep(phone.udid, phone.udid)
        elif change.change is Change.DETACHED:
            self._attached.discard(phone.udid)
            self._supervisor.say(phone.udid, {"attached": False})
            self._dropping[phone.udid] = asyncio.create_task(self._drop_later(phone.udid))

    async def _drop_later(self, udid: str) -> None:
        await asyncio.sleep(REPLUG_S)
        self._dropping.pop(udid, None)
        self._tell(f"{udid}: unplugged; it leaves the farm")
        await asyncio.shield(self._supervisor.drop(udid))
        if udid in self._attached:
            # it came back while its process was ending
            self._keep(udid, udid)

    def _means(self, udid: str, product_type: str | None) -> bool:
        for word in self._words:
            if isinstance(word, ByUdid) and word.udid.replace("-", "").lower() == udid.replace("-", "").lower():
                return True
            if isinstance(word, AnyAttached) and word.product_type in (None, product_type):
                return True
        return False

    def _keep(self, key: str, word: str) -> None:
        if len(self._supervisor.phones) >= MAX_PHONES:
            self._tell(f"{key}: left out; a host takes {MAX_PHONES} phones")
            return
        self._supervisor.keep(key, self._template.model_copy(update={"word": word}))

    async def sweep_forever(self) -> None:
        """Again and again: trials of dead processes are closed, and what is undelivered goes to the hub."""
        forgot_s = -FORGET_S
        loop = asyncio.get_running_loop()
        while True:
            await self.sweep()
            if loop.time() - forgot_s >= FORGET_S:
                forgot_s = loop.time()
                with suppress(HarnessError):
                    await asyncio.to_thread(forget_old, self._store)
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """Once."""
        try:
            for record in await asyncio.to_thread(close_abandoned, self._store):
                self._tell(f"trial {record.trial_id} ({record.case}#{record.ordinal}) was cut off: {record.reason}")
            await self._link.ask("hello", self._hello, Nothing)
            went = await self._courier.sweep()
        except HubUnreachable as error:
            if not self._away:
                self._tell(f"{error} Records are kept until it is back")
            self._away = True
        except HarnessError as error:
            self._tell(str(error))
        else:
            if self._away:
                self._tell("the hub is back")
            self._away = False
            if went:
                self._tell(f"delivered what waited here: {went} record{'s' if went > 1 else ''}")

    async def drain(self) -> None:
        """Trials under way end and are delivered; no further one begins."""
        await self._supervisor.drain()

    async def end(self) -> None:
        """Trials under way are ended, their records kept as cut short, and delivered if the hub is there."""
        for task in self._dropping.values():
            task.cancel()
        await self._supervisor.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SWEEP_LIMIT_S):
                await self.sweep()


def parse_words(texts: Sequence[str]) -> list[DeviceWord]:
    """Words for `join`. Raises UsageError for `any`, which would be one phone by chance, and for none at all."""
    words = [parse_device_word(text) for text in texts]
    if not words:
        raise UsageError("--device: name the phones that join: all, class:…, a UDID, virtual:…; several are fine")
    for word in words:
        if isinstance(word, AnyAttached) and not word.every and word.product_type is None:
            raise UsageError("--device=any: a host joins with phones that are meant: all, class:…, a UDID, virtual:…")
    return words


@asynccontextmanager
async def open_host(
    address: FarmAddress,
    certificates: Certificates | None,
    words: Sequence[DeviceWord],
    options: HostOptions,
    tell: Tell,
) -> AsyncIterator[Host]:
    """A host for the length of the `async with`; leaving it ends what is under way (`Host.drain` first, to finish it).

    Raises UsageError for a runner or a spool that cannot be used, or when another host of this farm has the spool.
    """
    name = host_word(options.name or socket.gethostname())
    spool = options.spool or default_spool()
    if options.runner != ("auto",):
        parse_runner(options.runner)
    template = ProcessOptions(
        hub=address.text,
        certificates=certificate_paths(certificates),
        host=name,
        word="virtual",
        spool=str(spool.absolute()),
        runner=tuple(word if not word.endswith(".ipa") else str(Path(word).absolute()) for word in options.runner),
        transport=options.transport,
        usb_cycle=options.usb_cycle,
        file_store=options.file_store,
        own_paths=options.own_paths,
    )
    async with AsyncExitStack() as stack:
        store = stack.enter_context(ResultStore.open(spool))
        lock = LockFolder(spool / ".host", private=True).try_take(HOST_LOCK, "harness farm join")
        if lock is None:
            raise UsageError(
                f"{spool}: another host process has this spool; one `harness farm join` takes all phones of a machine, "
                "or give this one a --spool and a --host-name of its own"
            )
        stack.callback(lock.release)
        link = await stack.enter_async_context(open_link(address, certificates))
        host = Host(words, options, template, store, link, tell)
        tasks = [asyncio.create_task(host.sweep_forever()), asyncio.create_task(host.follow_phones())]
        try:
            host.start()
            yield host
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await host.end()
