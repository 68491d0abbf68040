"""The hands a test puts on a phone: pull the cable, lock it, heat it up, launch or kill an app.

Reachable from outside through `control.sock` in the phone's home, one JSON object a line, answered by one:
``{"do": "unplug"}`` → ``{"ok": true}``, ``{"do": "launch", "bundle_id": "…"}`` → ``{"ok": true, "pid": 4711}``, and
``{"ok": false, "error": "…"}`` for what cannot be done. No service of the phone leads here. What there is:

========================  =====================================================================
``unplug`` / ``plug``     the cable
``trust``                 ``state``: trusted, pending, denied or locked
``forget_hosts``          every paired host is forgotten
``battery``               any of ``percent``, ``charging``, ``temperature_celsius``
``thermal``               ``state``: nominal, fair, serious or critical holds it there; null lets it follow the model
``low_power``             ``on``: true or false
``developer_mode``        ``on``: true or false
``developer_image``       ``mounted``: true or false
``disk``                  ``free_bytes``: what services may still write; null for no such limit
``clock_jump``            ``seconds``: moves the phone's wall clock, back when negative
``reboot``                ``away_s`` (1 when absent), ``locked`` (true: until somebody unlocks it): apps die, the phone
                          detaches and comes back; pairings stay. Answers as soon as it is gone
``jetsam_other``          ``name`` of a process that is none of the apps: a JetsamEvent says it was killed
``drop_tunnels``          ends every developer tunnel at once; answers ``tunnels``: how many there were
``drop_large_packets``    ``on``: packets of the host over 8192 bytes never arrive through a tunnel
``strict_http2_windows``  ``on``: RemoteXPC services opened from now on grant HTTP/2's smallest windows
``conditions``            answers thermal, battery and low power as they are now
``launch``                ``bundle_id``, ``arguments`` (list), ``environment`` (dictionary)
``kill``                  ``pid``, ``signal`` (number, 9 when absent)
``fault``                 ``name``, ``at`` (a trigger, now when absent), ``seed`` and the fault's own parameters as
                          words; or ``text``: faults as `faults.py` writes them. Answers ``faults``, the texts
``faults``                answers ``armed`` and ``happened``, the texts
``heal``                  disarms every fault and ends those that last
``census``                answers open files, tasks, app processes and tunnels
``processes``             answers ``processes``: pid, name and bundle id of each app process
``memory``                ``pid``; answers ``memory``: a reading, null when it is gone
========================  =====================================================================
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.virtual.census import take_census
from harness.virtual.fault_injector import FaultInjector, TooManyFaults
from harness.virtual.faults import FaultError, make_fault, parse_faults
from harness.virtual.process import LaunchRefused, NoSuchProcess
from harness.virtual.state import Thermal, Trust

if TYPE_CHECKING:
    from harness.virtual.phone import Phone
    from harness.virtual.server import Usbmuxd


class CannotDo(Exception):
    """A request nobody could fulfil; the message says why."""


class Usecases:
    """What can be done to one phone; the methods are for tests in the same process, `control.sock` for all others."""

    def __init__(self, phone: Phone, usbmuxd: Usbmuxd) -> None:
        self._phone = phone
        self._usbmuxd = usbmuxd
        self._returning: asyncio.Task[None] | None = None
        self.faults = FaultInjector(phone, self)

    def arm_faults(self) -> None:
        """Arms the faults the phone was set up with; needs a running event loop."""
        for fault in parse_faults(self._phone.state.fault, self._phone.state.seed) if self._phone.state.fault else []:
            self.faults.arm(fault)

    async def close(self) -> None:
        """Nothing more will happen by itself: neither a fault nor the return from a reboot."""
        await self.faults.close()
        await self._stay_away()

    async def _stay_away(self) -> None:
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)

    def unplug(self) -> None:
        """Pulls the cable."""
        self._usbmuxd.unplug(self._phone)

    def plug(self) -> None:
        """Puts the cable back."""
        self._usbmuxd.plug(self._phone)

    async def reboot(self, *, away_s: float = 1.0, locked: bool = False) -> None:
        """Restarts the phone; returns once it is gone. `away_s` later it is back, if it was on its cable before.

        Pairings stay. `locked`: it stays locked until its trust is set to trusted, as before the first unlock.
        """
        plugged = self._usbmuxd.is_plugged(self._phone)
        await self._stay_away()
        self.unplug()
        await self._phone.restart()
        if locked:
            self._phone.state.trust = Trust.LOCKED
        if plugged:
            self._returning = asyncio.get_running_loop().create_task(self._return(away_s))

    async def _return(self, away_s: float) -> None:
        await asyncio.sleep(away_s)
        self.plug()

    def jump_clock(self, seconds: float) -> None:
        """Moves the wall clock: what reports and lockdownd say; the monotonic clock goes on."""
        self._phone.state.clock_offset_s += seconds

    def jetsam_other(self, name: str) -> Path:
        """Writes a JetsamEvent whose victim is none of the apps; returns its file."""
        return self._phone.processes.jetsam_other(name)

    def drop_connections(self) -> None:
        """Breaks every connection to the phone, which stays on its cable."""
        self._usbmuxd.drop_connections(self._phone)

    def set_trust(self, trust: Trust) -> None:
        """What a host meets from now on; hosts that are paired stay so."""
        self._phone.state.trust = trust

    def forget_hosts(self) -> None:
        """Unpairs everybody."""
        self._phone.hosts.unpair_all()

    def set_battery(
        self, *, percent: int | None = None, charging: bool | None = None, temperature_celsius: float | None = None
    ) -> None:
        """Changes the readings that are given."""
        # what has passed until now still belongs to the old readings
        self._phone.conditions.step()
        battery = self._phone.state.battery
        if percent is not None:
            battery.level_percent = float(percent)
        if charging is not None:
            battery.charging = charging
        if temperature_celsius is not None:
            battery.temperature_celsius = temperature_celsius
        self._phone.conditions.tell()

    def hold_thermal(self, thermal: Thermal | None) -> None:
        """Holds the thermal state; None lets it follow the model again."""
        self._phone.state.thermal_held = thermal
        self._phone.conditions.tell()

    def drop_tunnels(self) -> int:
        """Ends every developer tunnel at once; returns how many there were."""
        return self._phone.drop_tunnels()

    def set_drop_large_packets(self, on: bool) -> None:
        """Loses packets of the host over 8192 bytes, in tunnels that are open as well."""
        self._phone.state.drop_large_packets = on

    def set_strict_http2_windows(self, on: bool) -> None:
        """Grants the smallest windows to RemoteXPC connections made from now on."""
        self._phone.switches.strict_http2_windows = on

    def set_low_power(self, on: bool) -> None:
        """Switches Low Power Mode."""
        self._phone.state.low_power = on
        self._phone.conditions.tell()

    def set_developer_image(self, mounted: bool) -> None:
        """Mounts or removes the developer image; tunnels that are open keep what they were offered."""
        self._phone.state.developer_image_mounted = mounted

    def set_developer_mode(self, on: bool) -> None:
        """Switches Developer Mode."""
        self._phone.state.developer_mode = on

    def set_disk(self, free_bytes: int | None) -> None:
        """Leaves `free_bytes` for services to write; None lifts that."""
        self._phone.state.disk_budget_bytes = free_bytes

    async def perform(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request of the control socket; CannotDo says what is wrong with it."""
        from pydantic import ValidationError

        words = {name: value for name, value in request.items() if name != "do"}
        try:
            return await self._perform(request.get("do"), words)
        except ValidationError as error:
            details = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise CannotDo(f"{request.get('do')}: {details}") from error
        except (LaunchRefused, NoSuchProcess, FaultError, TooManyFaults) as error:
            raise CannotDo(str(error)) from error

    async def _perform(self, what: object, words: dict[str, Any]) -> dict[str, Any]:
        # here, not above: most phones are never asked anything, and it takes as long to import as half of the phone
        from harness.virtual import usecase_words as forms

        processes = self._phone.processes
        match what:
            case "unplug":
                forms.Words.model_validate(words)
                self.unplug()
            case "plug":
                forms.Words.model_validate(words)
                self.plug()
            case "trust":
                self.set_trust(forms.TrustWords.model_validate(words).state)
            case "forget_hosts":
                forms.Words.model_validate(words)
                self.forget_hosts()
            case "battery":
                self.set_battery(**forms.BatteryWords.model_validate(words).model_dump())
            case "developer_mode":
                self.set_developer_mode(forms.SwitchWords.model_validate(words).on)
            case "developer_image":
                self.set_developer_image(forms.DeveloperImageWords.model_validate(words).mounted)
            case "thermal":
                held = forms.ThermalWords.model_validate(words).state
                self.hold_thermal(None if held is None else Thermal[held.upper()])
            case "low_power":
                self.set_low_power(forms.SwitchWords.model_validate(words).on)
            case "drop_tunnels":
                forms.Words.model_validate(words)
                return {"tunnels": self.drop_tunnels()}
            case "drop_large_packets":
                self.set_drop_large_packets(forms.SwitchWords.model_validate(words).on)
            case "strict_http2_windows":
                self.set_strict_http2_windows(forms.SwitchWords.model_validate(words).on)
            case "clock_jump":
                self.jump_clock(forms.ClockJumpWords.model_validate(words).seconds)
            case "reboot":
                reboot = forms.RebootWords.model_validate(words)
                await self.reboot(away_s=reboot.away_s, locked=reboot.locked)
            case "jetsam_other":
                return {"report": self.jetsam_other(forms.JetsamOtherWords.model_validate(words).name).name}
            case "conditions":
                forms.Words.model_validate(words)
                return self._conditions()
            case "disk":
                self.set_disk(forms.DiskWords.model_validate(words).free_bytes)
            case "launch":
                launch = forms.LaunchWords.model_validate(words)
                pid = await processes.launch(
                    launch.bundle_id, launch.arguments, launch.environment, kill_existing=launch.kill_existing
                )
                return {"pid": pid}
            case "kill":
                kill = forms.KillWords.model_validate(words)
                processes.kill(kill.pid, kill.signal)
            case "processes":
                forms.Words.model_validate(words)
                rows = [row for row in processes.listing() if row.bundle_id is not None]
                return {"processes": [{"pid": r.pid, "name": r.name, "bundle_id": r.bundle_id} for r in rows]}
            case "fault":
                return self._fault(words)
            case "faults":
                forms.Words.model_validate(words)
                return {"armed": list(map(str, self.faults.armed)), "happened": list(map(str, self.faults.happened))}
            case "heal":
                forms.Words.model_validate(words)
                self.faults.heal()
            case "census":
                forms.Words.model_validate(words)
                return {"census": take_census(self._phone)}
            case "memory":
                reading = processes.reading(forms.PidWords.model_validate(words).pid)
                return {"memory": None if reading is None else dataclasses.asdict(reading)}
            case _:
                raise CannotDo(f"nothing is known as {what!r}")
        return {}

    def _fault(self, words: dict[str, Any]) -> dict[str, Any]:
        from harness.virtual import usecase_words as forms

        if "text" in words:
            given = forms.FaultTextWords.model_validate(words)
            faults = parse_faults(given.text, given.seed or self._phone.state.seed)
        else:
            one = forms.FaultWords.model_validate(words)
            parameters = {name: str(value) for name, value in (one.model_extra or {}).items()}
            faults = [make_fault(one.name, parameters, one.at, one.seed or self._phone.state.seed)]
        for fault in faults:
            self.faults.arm(fault)
        return {"faults": list(map(str, faults))}

    def _conditions(self) -> dict[str, Any]:
        self._phone.conditions.step()
        state = self._phone.state
        return {
            "thermal": state.thermal.name.lower(),
            "battery_percent": state.battery.percent,
            "battery_celsius": round(state.battery.temperature_celsius, 3),
            "low_power": state.low_power,
        }
