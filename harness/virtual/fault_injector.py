"""Makes faults happen: waits for each one's moment, turns the switches, uses the hands, and puts things right again.

Lives in the phone's event loop. A fault happens once; one that lasts ends after its time, or with `heal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from harness.virtual.events import AppFileReached, AppLaunched, AppPhase, Event, InstallRequested, ReportOpened
from harness.virtual.faults import Fault, Moment, Trigger
from harness.virtual.link import UNSHAPED, Shape
from harness.virtual.state import Trust
from harness.virtual.switches import FileHarm, Harm

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

log = logging.getLogger(__name__)

ARMED_LIMIT = 256
# how many of those that have happened are remembered
HAPPENED_LIMIT = 256
_EVENTS: dict[Moment, type[Event]] = {
    Moment.INSTALL: InstallRequested,
    Moment.LAUNCH: AppLaunched,
    Moment.PUSH: AppFileReached,
    Moment.LOAD: AppPhase,
    Moment.GENERATE: AppPhase,
    Moment.UNLOAD: AppPhase,
    Moment.PHASE: AppPhase,
    Moment.REPORT: ReportOpened,
}

Undo = Callable[[], None]


class Hands(Protocol):
    """What of `usecases` faults make use of."""

    def unplug(self) -> None: ...

    def plug(self) -> None: ...

    def drop_connections(self) -> None: ...

    def drop_tunnels(self) -> object: ...

    async def reboot(self, *, away_s: float = 1.0, locked: bool = False) -> None: ...

    def forget_hosts(self) -> None: ...

    def set_trust(self, trust: Trust) -> None: ...

    def jump_clock(self, seconds: float) -> None: ...

    def jetsam_other(self, name: str) -> object: ...


class TooManyFaults(Exception):
    """More faults are armed than anybody can mean."""


class FaultInjector:
    """The faults of one phone."""

    def __init__(self, phone: Phone, hands: Hands) -> None:
        self._phone = phone
        self._hands = hands
        # by their text: the same fault twice is one
        self._armed: dict[str, tuple[Fault, list[Undo]]] = {}
        self._lasting: list[Undo] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.happened: list[Fault] = []
        self._acts: dict[str, Callable[[Fault], Undo | None]] = {
            "unplug": self._unplug,
            "tunnel-drop": self._drop_tunnels,
            "drop-large-packets": self._drop_large_packets,
            "slow-link": self._slow_link,
            "service-refuses": self._service_refuses,
            "service-hangs": self._service_hangs,
            "afc-error": self._afc_error,
            "file-truncated": lambda fault: self._harm_file(Harm.TRUNCATED, fault),
            "file-corrupted": lambda fault: self._harm_file(Harm.CORRUPTED, fault),
            "kill-app": self._kill_app,
            "app-silent": self._app_silent,
            "app-garbage": self._app_garbage,
            "reboot": self._reboot,
            "revoke-trust": self._revoke_trust,
            "jetsam-other": self._jetsam_other,
            "sysmontap-silent": self._sysmontap_silent,
            "sysmontap-slow": self._sysmontap_slow,
            "clock-jump": self._clock_jump,
        }

    @property
    def armed(self) -> list[Fault]:
        """Those that wait for their moment, in the order in which they were armed."""
        return [fault for fault, _ in self._armed.values()]

    def arm(self, fault: Fault) -> None:
        """Lets `fault` happen at its moment, `now` at once. One that is armed already stays armed once."""
        if fault.trigger.moment is Moment.NOW:
            self._happen(fault)
            return
        if str(fault) in self._armed:
            return
        if len(self._armed) >= ARMED_LIMIT:
            raise TooManyFaults(f"{ARMED_LIMIT} faults are armed already: heal the phone first")
        undos = self._wait_for(fault.trigger, lambda: self._happen(fault))
        self._armed[str(fault)] = (fault, undos)
        if fault.name == "slow-link":
            undos.append(self._reserve_link())

    def heal(self) -> None:
        """Disarms everything, ends what lasts, and takes back what has not been met: a healthy phone again.

        What has happened has happened: a killed app stays dead, a clock stays where it is, forgotten hosts must pair.
        """
        for fault in self.armed:
            self._disarm(fault)
        for undo in list(self._lasting):
            undo()
        for task in self._tasks:
            task.cancel()
        switches = self._phone.switches
        switches.write_status = switches.file_harm = None
        switches.app_garbage = b""
        self._hands.plug()

    async def close(self) -> None:
        """Disarms everything and ends what lasts; the phone is being switched off and stays as it is."""
        for fault in self.armed:
            self._disarm(fault)
        for undo in list(self._lasting):
            undo()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- waiting for the moment

    def _wait_for(self, trigger: Trigger, act: Callable[[], None]) -> list[Undo]:
        if trigger.moment is Moment.AFTER:
            return [asyncio.get_running_loop().call_later(trigger.seconds, act).cancel]

        def notice(event: Event) -> None:
            if isinstance(event, AppPhase) and event.name not in trigger.phases:
                return
            if isinstance(event, AppFileReached) and event.offset_bytes != trigger.offset_bytes:
                return
            act()

        undos = [self._phone.events.subscribe(_EVENTS[trigger.moment], notice)]
        if trigger.moment is Moment.PUSH:
            undos.append(self._phone.events.mark_write(trigger.offset_bytes))
        return undos

    def _disarm(self, fault: Fault) -> None:
        _, undos = self._armed.pop(str(fault), (fault, []))
        for undo in undos:
            undo()

    def _happen(self, fault: Fault) -> None:
        log.info("fault: %s", fault)
        undo = self._acts[fault.name](fault)
        # only now, as a slow link must stay in the path from the arming to the end
        self._disarm(fault)
        self.happened = [*self.happened[-HAPPENED_LIMIT + 1 :], fault]
        if undo is not None:
            self._last(undo, fault.seconds())

    def _last(self, undo: Undo, seconds: float) -> None:
        """Calls `undo` once: after `seconds`, or when the phone is healed."""
        timer: asyncio.TimerHandle | None = None

        def end() -> None:
            if end in self._lasting:
                self._lasting.remove(end)
                if timer is not None:
                    timer.cancel()
                undo()

        self._lasting.append(end)
        if math.isfinite(seconds):
            timer = asyncio.get_running_loop().call_later(seconds, end)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what happens; a function is returned by what lasts for the parameter `seconds`: it ends it

    def _unplug(self, fault: Fault) -> Undo:
        self._hands.unplug()
        return self._hands.plug

    def _drop_tunnels(self, fault: Fault) -> None:
        self._hands.drop_tunnels()

    def _drop_large_packets(self, fault: Fault) -> Undo:
        state = self._phone.state
        before, state.drop_large_packets = state.drop_large_packets, True
        return lambda: setattr(state, "drop_large_packets", before)

    def _slow_link(self, fault: Fault) -> Undo:
        link = self._phone.link
        release = self._reserve_link()
        link.shape = Shape(fault.count("bandwidth"), fault.count("latency_ms") / 1000)

        def undo() -> None:
            link.shape = UNSHAPED
            release()

        return undo

    def _reserve_link(self) -> Undo:
        link = self._phone.link
        link.reserved += 1

        def release() -> None:
            link.reserved -= 1

        return release

    def _service_refuses(self, fault: Fault) -> Undo:
        refused, service = self._phone.switches.refused_services, fault.text("service")
        refused[service] = fault.text("error")

        def undo() -> None:
            refused.pop(service, None)

        return undo

    def _service_hangs(self, fault: Fault) -> Undo:
        hanging, service = self._phone.switches.hanging_services, fault.text("service")
        hanging.add(service)
        return lambda: hanging.discard(service)

    def _afc_error(self, fault: Fault) -> None:
        self._phone.switches.write_status = fault.count("status")

    def _harm_file(self, kind: Harm, fault: Fault) -> None:
        self._phone.switches.file_harm = FileHarm(kind, fault.chance())

    def _kill_app(self, fault: Fault) -> None:
        processes = self._phone.processes
        for row in processes.listing():
            if row.bundle_id is not None:
                processes.kill(row.pid, fault.count("signal"))

    def _app_silent(self, fault: Fault) -> Undo:
        switches = self._phone.switches
        switches.app_silent = True
        return lambda: setattr(switches, "app_silent", False)

    def _app_garbage(self, fault: Fault) -> None:
        self._phone.switches.app_garbage = fault.chance().randbytes(fault.count("bytes"))

    def _reboot(self, fault: Fault) -> None:
        self._begin(self._hands.reboot(away_s=fault.seconds()))

    def _revoke_trust(self, fault: Fault) -> Undo:
        self._hands.forget_hosts()
        self._hands.set_trust(Trust.PENDING)
        self._hands.drop_connections()

        def undo() -> None:
            # somebody may have answered the dialog meanwhile
            if self._phone.state.trust is Trust.PENDING:
                self._hands.set_trust(Trust.TRUSTED)

        return undo

    def _jetsam_other(self, fault: Fault) -> None:
        with contextlib.suppress(OSError):  # a full disk keeps no report
            self._hands.jetsam_other(fault.text("app"))

    def _sysmontap_silent(self, fault: Fault) -> Undo:
        switches = self._phone.switches
        switches.sysmontap_silent = True
        return lambda: setattr(switches, "sysmontap_silent", False)

    def _sysmontap_slow(self, fault: Fault) -> Undo:
        switches = self._phone.switches
        switches.sysmontap_interval_s = fault.chance().uniform(fault.seconds("least"), fault.seconds("most"))
        return lambda: setattr(switches, "sysmontap_interval_s", None)

    def _clock_jump(self, fault: Fault) -> None:
        self._hands.jump_clock(fault.count("offset"))
