"""Several phones of this machine at one suite: a farm's own hub and host, within one command and on loopback alone.

No second scheduler: what gives trials to phones, runs them again and keeps their records is what a farm has. The
certificates live as long as the command, in a folder that nobody else can read.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.bench.run_options import RunOptions
from harness.core.errors import DeviceError, UsageError
from harness.core.phone import DeviceWord, PhoneKind, Virtual
from harness.core.standing import RunStanding
from harness.device.lease import Tell
from harness.farm.address import FarmAddress
from harness.farm.board.words import Target, said_word, same_udid
from harness.farm.certs import ephemeral
from harness.farm.client import News
from harness.farm.host.join import Host, HostOptions, open_host
from harness.farm.hub.hub import Hub, HubOptions, open_hub
from harness.farm.link import Link, open_link
from harness.farm.local_phones import Share
from harness.farm.wire import Nothing, PhoneView, RunView, Status
from harness.store.address import Results, address_of
from harness.store.database import ResultStore
from harness.store.deliveries import undelivered
from harness.store.farm_ledger import FarmLedger, LedgerRun

SPOOL_FOLDER = ".farm-spool"
"""Of the results folder: what a command that was killed left behind is delivered by the next one."""
ALL_THERE_LIMIT_S = 300.0
"""From the start of the phones' processes to the word of the last of them."""
ATTACHED_LIMIT_S = 15.0
"""For usbmuxd to tell of a phone that was there when the command began."""
NOT_TO_BE_HAD = frozenset({"in_use", "not_ready", "reserved", "drained", "out", "gone"})
"""States of a phone that gets no trial."""


@dataclass(frozen=True)
class LocalFarm:
    """Open for the length of `open_local`."""

    link: Link
    phones: tuple[PhoneView, ...]
    """Those that have said who they are."""
    hub: Hub

    def check(self) -> None:
        """Raises what ended the hub, if something did."""
        if self.hub.coordinator.failed.done():
            self.hub.coordinator.failed.result()


def unfinished(results: Results, suite_digest: str) -> list[LedgerRun]:
    """Runs of several phones, of that suite, that were cut short; oldest first. Empty where there are no results."""
    if not address_of(results).has_records:
        return []
    with ResultStore.open(results) as store:
        runs = FarmLedger(store).runs(state=RunStanding.ACTIVE.value)
    return sorted((run for run in runs if run.suite_digest == suite_digest), key=lambda run: run.run_id)


@asynccontextmanager
async def open_local(
    results: Results, shares: Sequence[Share], options: RunOptions, tell: Tell, restore: Sequence[str] = ()
) -> AsyncIterator[LocalFarm]:
    """A hub on these results and a host with these phones; of runs that were cut short only `restore` go on.

    Leaving it ends what is under way: the apps on the phones are ended, records kept. Raises UsageError when a phone
    cannot be started as it was asked for, DeviceError when none is there, StoreError when another hub has the results.
    """
    words = _words(shares)
    async with AsyncExitStack() as stack:
        # made with 0700
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="iphone-load-harness-farm-")))
        certificates = ephemeral(folder)
        spool = address_of(results).folder / SPOOL_FOLDER
        stack.callback(forget_spool, spool)
        listen = FarmAddress("tls", "127.0.0.1", 0)
        options_of_hub = HubOptions(address_of(results), listen, certificates, own_paths=True, restore=tuple(restore))
        # of phones the host tells, of runs the news; what is left are troubles with the results
        hub = await stack.enter_async_context(
            open_hub(options_of_hub, lambda line: tell(line) if "cannot" in line else None)
        )
        host_options = HostOptions(spool=spool, transport=options.transport, own_paths=True)
        host = await stack.enter_async_context(open_host(hub.address, certificates, words, host_options, tell))
        link = await stack.enter_async_context(open_link(hub.address, certificates))
        yield LocalFarm(link, await _all_there(link, host, len(words), tell), hub)


def _words(shares: Sequence[Share]) -> list[DeviceWord]:
    """One for each phone: a UDID once, a virtual word as often as it stands there."""
    words: list[DeviceWord] = []
    for word in (word for share in shares for word in share.phones):
        if isinstance(word, Virtual) or word not in words:
            words.append(word)
    return words


async def _all_there(link: Link, host: Host, count: int, tell: Tell) -> tuple[PhoneView, ...]:
    """Once each phone has said who it is, or will not."""
    clock = asyncio.get_running_loop().time
    began_s = clock()
    while True:
        phones = (await link.ask("status", Nothing(), Status)).phones
        failed = [
            kept for kept in host.phones if kept.failed is not None and kept.task is not None and kept.task.done()
        ]
        waited_s = clock() - began_s
        # a phone that has no process yet is not attached
        expected = count if waited_s < ATTACHED_LIMIT_S else len(host.phones)
        if len(phones) + len(failed) >= expected or waited_s > ALL_THERE_LIMIT_S:
            break
        await asyncio.sleep(0.2)
    if failed:
        raise UsageError("; ".join(f"{kept.name}: {kept.failed}" for kept in failed))
    if not phones:
        raise DeviceError(f"none of {count} phones was ready within {waited_s:.0f} s")
    if len(phones) < count:
        tell(f"{count - len(phones)} of {count} phones are not ready yet; the others begin")
    return phones


class OutOfPatience(DeviceError):
    """What is left to run waits for phones that are somebody else's, or gone."""


class Patience:
    """Ends a run whose phones are not to be had for too long: a command is not there for ever, as a farm is."""

    def __init__(self, limit_s: float, clock: Callable[[], float] | None = None) -> None:
        """`clock`: seconds; None: the running loop's."""
        self._limit_s = limit_s
        self._clock = clock or asyncio.get_running_loop().time
        self._since_s: float | None = None

    def check(self, news: News) -> None:
        """Raises OutOfPatience naming the phones, once all runs that are left have waited in vain for too long."""
        left = [run for run in news.runs if run.state == RunStanding.ACTIVE]
        waited_for = [phone for phone in news.phones if any(_may_run(phone, run) for run in left)]
        if not left or any(not run.waiting or run.running for run in left) or _any_to_be_had(waited_for):
            self._since_s = None
            return
        now_s = self._clock()
        self._since_s = self._since_s if self._since_s is not None else now_s
        if now_s - self._since_s >= self._limit_s:
            told = "; ".join(f"{phone.phone} is {phone.state} ({phone.note})" for phone in waited_for)
            raise OutOfPatience(
                f"no phone could be had for {self._limit_s:g} s: {told or 'none is there'}. Wait longer (--lease-wait) "
                "and go on with the same command and --resume"
            )


def _any_to_be_had(phones: Sequence[PhoneView]) -> bool:
    return any(phone.state not in NOT_TO_BE_HAD for phone in phones)


def _may_run(phone: PhoneView, run: RunView) -> bool:
    """As `Target.means`, as far as a view tells: a virtual word may mean any virtual phone."""
    target = Target(run.target)
    if target.of_class is not None:
        return target.of_class == (phone.kind, phone.product_type)
    if run.target == phone.phone or same_udid(run.target, phone.phone):
        return True
    return phone.kind == PhoneKind.VIRTUAL and isinstance(said_word(run.target), Virtual)


def forget_spool(spool: Path) -> None:
    """Removes the copies of records that have all been delivered; what has not been is left for the next command."""
    if not spool.is_dir():
        return
    with ResultStore.open(spool) as store:
        if store.claimed() or undelivered(store, 1):
            return
    shutil.rmtree(spool, ignore_errors=True)
