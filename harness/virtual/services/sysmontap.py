"""The instrument `sysmontap`: periodic rows of counters of every process.

A sample is a DATA message holding a keyed array of two dictionaries: one of the CPU, one with `Processes` (pid →
values in the order of `procAttrs`) and `System` (in the order of `sysAttrs`). Clients throw the first message away.
Values this phone does not have are NSNull. How fast a real phone may be asked to sample is not known.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.virtual.mach_time import mach_absolute_time
from harness.virtual.services.instrument import Channel, Refused, Selector, dictionary, text, whole_number
from harness.virtual.stream import StreamClosed
from harness.virtual.wire.keyed_archive import NSNull, archive

if TYPE_CHECKING:
    from harness.virtual.app_process import ProcessInfo
    from harness.virtual.phone import Phone
    from harness.virtual.process import MemoryReading

IDENTIFIER = "com.apple.instruments.server.services.sysmontap"
PROCESS_ATTRIBUTES = (
    "pid",
    "name",
    "physFootprint",
    "memResidentSize",
    "memAnon",
    "memVirtualSize",
    "cpuUsage",
    "threadCount",
    "procAge",
)
"""Bytes; `cpuUsage` in percent of one core since the sample before; `procAge` in nanoseconds."""
SYSTEM_ATTRIBUTES = ("physMemSize",)
"""Bytes."""
MINIMUM_INTERVAL_S = 0.02
"""Faster wishes get this; it keeps a client that asks for 1 ms from eating a core."""
MAXIMUM_ATTRIBUTES = 64
CPU_COUNT = 6
_CPU_ROW_TYPE = 33
_PROCESS_ROW_TYPE = 7
_NULL = NSNull()


@dataclass(frozen=True)
class Config:
    """What to sample, and how often."""

    process_attributes: tuple[str, ...]
    system_attributes: tuple[str, ...]
    interval_s: float


def parse_config(value: object) -> Config:
    """The client's dictionary; raises Refused naming the key."""
    config = dictionary(value, "the configuration")
    interval_ns = whole_number(config.get("sampleInterval"), "sampleInterval (nanoseconds)")
    if interval_ns <= 0:
        raise Refused(f"sampleInterval must be above zero, got {interval_ns}")
    return Config(
        process_attributes=_names(config.get("procAttrs"), "procAttrs"),
        system_attributes=_names(config.get("sysAttrs"), "sysAttrs"),
        interval_s=max(interval_ns / 1e9, MINIMUM_INTERVAL_S),
    )


def _names(value: object, key: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, set)) or len(value) > MAXIMUM_ATTRIBUTES:
        raise Refused(f"{key} must be at most {MAXIMUM_ATTRIBUTES} names")
    return tuple(text(name, f"a name in {key}") for name in value)


class Sysmontap:
    """One open channel."""

    def __init__(self, channel: Channel, phone: Phone) -> None:
        self._channel = channel
        self._phone = phone
        self._config: Config | None = None
        self._task: asyncio.Task[None] | None = None
        self._cpu_before: dict[int, int] = {}
        self._sampled_at_ns: int | None = None
        self.selectors: Mapping[str, Selector] = {
            "setConfig:": self._set_config,
            "start": self._start,
            "stop": self._stop,
        }

    async def close(self) -> None:
        """Ends the sampling."""
        await self._stop()

    async def _set_config(self, value: object) -> object:
        self._config = parse_config(value)
        return None

    async def _start(self) -> object:
        if self._config is None:
            raise Refused("setConfig: must come before start")
        await self._stop()
        self._task = asyncio.create_task(self._run(self._config))
        return None

    async def _stop(self) -> object:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        return None

    async def _run(self, config: Config) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        with contextlib.suppress(StreamClosed):
            await self._channel.send_data(archive({"k": 0, "tv": 0}))
            while True:
                switches = self._phone.switches
                if not switches.sysmontap_silent:
                    await self._channel.send_data(archive(self._sample(config)))
                interval_s = max(config.interval_s, switches.sysmontap_interval_s or 0.0)
                # a client slower than the interval gets fewer samples, not a burst of late ones
                due = max(due + interval_s, clock())
                await asyncio.sleep(due - clock())

    def _sample(self, config: Config) -> list[object]:
        start = mach_absolute_time()
        processes = self._phone.processes.listing()
        readings = {p.pid: self._phone.processes.reading(p.pid) for p in processes}
        usages = self._cpu_usages(readings)
        rows = {
            p.pid: [_attribute(name, p, readings[p.pid], usages.get(p.pid)) for name in config.process_attributes]
            for p in processes
        }
        times = {"StartMachAbsTime": start, "EndMachAbsTime": mach_absolute_time()}
        load = {"CPU_TotalLoad": sum(usages.values()), "CPU_UserLoad": -1.0, "CPU_SystemLoad": -1.0}
        return [
            {
                "CPUCount": CPU_COUNT,
                "EnabledCPUs": CPU_COUNT,
                "PerCPUUsage": [],
                "SystemCPUUsage": {**load, "CPU_NiceLoad": 0.0},
                "Type": _CPU_ROW_TYPE,
                **times,
            },
            {
                "Processes": rows,
                "System": [self._system(name) for name in config.system_attributes],
                "Type": _PROCESS_ROW_TYPE,
                **times,
            },
        ]

    def _cpu_usages(self, readings: Mapping[int, MemoryReading | None]) -> dict[int, float]:
        """Percent of one core since the sample before; nothing for processes that are sampled first."""
        now_ns = time.monotonic_ns()
        elapsed_ns = None if self._sampled_at_ns is None else now_ns - self._sampled_at_ns
        cpu_now = {pid: reading.cpu_ns for pid, reading in readings.items() if reading is not None}
        usages: dict[int, float] = {}
        if elapsed_ns:
            usages = {
                pid: 100.0 * (cpu_ns - self._cpu_before[pid]) / elapsed_ns
                for pid, cpu_ns in cpu_now.items()
                if pid in self._cpu_before
            }
        self._cpu_before, self._sampled_at_ns = cpu_now, now_ns
        return usages

    def _system(self, name: str) -> object:
        return self._phone.state.ram_bytes if name == "physMemSize" else _NULL


def _attribute(name: str, process: ProcessInfo, reading: MemoryReading | None, cpu_usage: float | None) -> object:
    if name == "pid":
        return process.pid
    if name == "name":
        return process.name
    if name == "procAge":
        return int((datetime.now(UTC) - process.started_at).total_seconds() * 1e9)
    if name == "cpuUsage":
        return _NULL if cpu_usage is None else cpu_usage
    if reading is None:
        return _NULL
    values = {
        "physFootprint": reading.footprint_bytes,
        "memResidentSize": reading.resident_bytes,
        "memAnon": reading.anonymous_bytes,
        "memVirtualSize": reading.virtual_bytes,
        "threadCount": reading.threads,
    }
    return values.get(name, _NULL)
