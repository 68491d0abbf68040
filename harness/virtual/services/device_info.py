"""The instrument `deviceinfo`: which processes run, what the phone is, which counters sysmontap has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.virtual.mach_time import TIMEBASE_DENOMINATOR, TIMEBASE_NUMERATOR, mach_absolute_time
from harness.virtual.services.instrument import Channel, Selector, no_such_process, whole_number
from harness.virtual.services.sysmontap import PROCESS_ATTRIBUTES, SYSTEM_ATTRIBUTES
from harness.virtual.wire.keyed_archive import date

if TYPE_CHECKING:
    from harness.virtual.phone import Phone

IDENTIFIER = "com.apple.instruments.server.services.deviceinfo"
CPU_TYPE_ARM64 = 0x0100000C
"""mach/machine.h: CPU_TYPE_ARM | CPU_ARCH_ABI64."""
CPU_COUNT = 6
"""Every iPhone since the 8 has six cores (2 + 4)."""


class DeviceInfo:
    """One open channel."""

    def __init__(self, channel: Channel, phone: Phone) -> None:
        self._phone = phone
        self.selectors: Mapping[str, Selector] = {
            "runningProcesses": self._running_processes,
            "isRunningPid:": self._is_running,
            "execnameForPid:": self._executable,
            "machTimeInfo": self._mach_time_info,
            "systemInformation": self._system_information,
            "hardwareInformation": self._hardware_information,
            "machKernelName": self._kernel_name,
            "sysmonProcessAttributes": self._process_attributes,
            "sysmonSystemAttributes": self._system_attributes,
        }

    async def close(self) -> None:
        """Nothing runs here."""

    async def _running_processes(self) -> object:
        return [
            {
                "pid": process.pid,
                "name": process.name,
                "realAppName": self._told_path(process.device_path),
                "isApplication": process.bundle_id is not None,
                "startDate": date(process.started_at.timestamp()),
            }
            for process in self._phone.processes.listing()
        ]

    def _told_path(self, path: str) -> str:
        """Before iOS 17 without /private: tools of that time compare it with an app's path less that prefix."""
        return path.removeprefix("/private") if self._phone.state.os_numbers < (17,) else path

    async def _is_running(self, pid: object) -> object:
        return self._phone.processes.is_running(whole_number(pid, "the pid"))

    async def _executable(self, pid: object) -> object:
        wanted = whole_number(pid, "the pid")
        for process in self._phone.processes.listing():
            if process.pid == wanted:
                return self._told_path(process.device_path)
        raise no_such_process(wanted)

    async def _mach_time_info(self) -> object:
        return [mach_absolute_time(), TIMEBASE_NUMERATOR, TIMEBASE_DENOMINATOR]

    async def _system_information(self) -> object:
        state = self._phone.state
        return {
            "_deviceDisplayName": state.device_name,
            "_deviceIdentifier": state.udid,
            "_productType": state.product_type,
            "_productVersion": state.os_version,
            "_buildVersion": state.os_build,
        }

    async def _hardware_information(self) -> object:
        return {
            "numberOfCpus": CPU_COUNT,
            "numberOfPhysicalCpus": CPU_COUNT,
            "hwCPUtype": CPU_TYPE_ARM64,
            "hwPhysicalMemory": self._phone.state.ram_bytes,
        }

    async def _kernel_name(self) -> object:
        return self._phone.state.kernel

    async def _process_attributes(self) -> object:
        return list(PROCESS_ATTRIBUTES)

    async def _system_attributes(self) -> object:
        return list(SYSTEM_ATTRIBUTES)
