"""What is true of one virtual phone: identity, trust, battery, disk, clock. Services read it, `usecases` change it.

Knows no protocol and starts nothing; it only keeps small files in the phone's home directory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

INCREASED_MEMORY_LIMIT = "com.apple.developer.kernel.increased-memory-limit"
EXTENDED_VIRTUAL_ADDRESSING = "com.apple.developer.kernel.extended-virtual-addressing"


class Trust(StrEnum):
    """What a host that wants to pair or to open a session meets."""

    TRUSTED = "trusted"  # the owner taps Trust at once
    PENDING = "pending"  # the dialog is open and nobody has tapped yet
    DENIED = "denied"  # the owner taps Don't Trust
    LOCKED = "locked"  # the screen is locked: no pairing, no session, no launch


class Connection(StrEnum):
    """How usbmuxd lists the phone. One on Wi-Fi is listed and refuses every connection, see `server`."""

    USB = "usb"
    WIFI = "wifi"


class Thermal(IntEnum):
    """`ProcessInfo.ThermalState`, with Apple's numbers."""

    NOMINAL = 0
    FAIR = 1
    SERIOUS = 2
    CRITICAL = 3


@dataclass
class Battery:
    """The readings a host may ask for; `temperature_celsius` is the best thermal gate an iPhone offers to a host.

    `level_percent` is what `thermal` moves; hosts are told whole percents.
    """

    level_percent: float = 87.0
    charging: bool = True
    temperature_celsius: float = 29.5
    voltage_millivolts: int = 4180
    current_milliamperes: int = 312
    cycle_count: int = 143
    design_capacity_mah: int = 3582
    full_capacity_mah: int = 3510

    @property
    def percent(self) -> int:
        """The level as iOS shows it."""
        return round(self.level_percent)


@dataclass(frozen=True)
class MemoryLimits:
    """What one app may use: jetsam's footprint limit, and the address space it may fill with private memory."""

    footprint_bytes: int
    allocation_bytes: int


@dataclass
class PhoneState:
    """One phone's truth. The profile gives most of it; `home` holds whatever outlives a run."""

    profile: str
    udid: str
    ecid: int
    home: Path
    product_type: str
    hardware_model: str
    marketing_name: str
    cpu_architecture: str
    chip_id: int
    board_id: int
    os_version: str
    os_build: str
    kernel: str
    ram_bytes: int
    # without and with the entitlement that raises each
    footprint_limit_bytes: int
    footprint_limit_increased_bytes: int
    allocation_limit_bytes: int
    allocation_limit_extended_bytes: int
    page_size_bytes: int
    disk_bytes: int
    screen: tuple[int, int, float]
    serial_number: str
    device_name: str
    wifi_address: str
    connection: Connection = Connection.USB
    trust: Trust = Trust.TRUSTED
    developer_mode: bool = True
    developer_image_mounted: bool = True
    personalization_nonces_rolled: int = 0
    battery: Battery = field(default_factory=Battery)
    low_power: bool = False
    # None: the thermal state follows the battery's temperature (see `thermal`); else it stays at this
    thermal_held: Thermal | None = None
    thermal_modelled: Thermal = Thermal.NOMINAL
    # None: as much as the real disk gives; a number: bytes services may still write before the disk is full
    disk_budget_bytes: int | None = None
    # how far the phone's wall clock is ahead of this machine's
    clock_offset_s: float = 0.0
    # whether an app may be told that there is a GPU though there is none: see docs/virtual-iphone.md
    gpu_emulated: bool = False
    # services behind lockdownd speak without TLS: no phone does so, benchmarks need it
    plain_services: bool = False
    # packets of the host over 8192 bytes never arrive through the tunnel
    drop_large_packets: bool = False
    # what `fault=` asked for, in the words of `faults`; None for nothing
    fault: str | None = None
    # the `seed=` setting, for whatever draws by chance; 0 when none was given
    seed: str = "0"

    @property
    def media(self) -> Path:
        """What `com.apple.afc` serves."""
        return self.home / "Media"

    @property
    def crash_reports(self) -> Path:
        """Where the phone keeps its `.ips` reports."""
        return self.home / "CrashReports"

    @property
    def system_state_file(self) -> Path:
        """What `conditions` tells apps of the phone's thermal state, power mode and battery; no app's container."""
        return self.home / "system_state.json"

    @property
    def os_label(self) -> str:
        """The system's name as reports write it."""
        return f"iPhone OS {self.os_version} ({self.os_build})"

    @property
    def os_numbers(self) -> tuple[int, ...]:
        """The version for comparison: (18, 5)."""
        return tuple(int(part) for part in self.os_version.split("."))

    @property
    def thermal(self) -> Thermal:
        """The thermal state apps and hosts are told."""
        return self.thermal_modelled if self.thermal_held is None else self.thermal_held

    @property
    def developer_services(self) -> bool:
        """Whether what comes with the developer image can be reached: only in Developer Mode, only while mounted."""
        return self.developer_mode and self.developer_image_mounted

    def unix_time(self) -> float:
        """The phone's own wall clock, seconds since 1970."""
        return time.time() + self.clock_offset_s

    def now(self) -> datetime:
        """The phone's own wall clock, in UTC."""
        return datetime.fromtimestamp(self.unix_time(), UTC)

    def limits_for(self, entitlements: Mapping[str, Any]) -> MemoryLimits:
        """What an app with these entitlements may use.

        increased-memory-limit raises the footprint limit, and since iOS 16 (xnu-8792) it also grants the address space
        that extended-virtual-addressing grants.
        """
        increased = entitlements.get(INCREASED_MEMORY_LIMIT) is True
        extended = increased or entitlements.get(EXTENDED_VIRTUAL_ADDRESSING) is True
        return MemoryLimits(
            self.footprint_limit_increased_bytes if increased else self.footprint_limit_bytes,
            self.allocation_limit_extended_bytes if extended else self.allocation_limit_bytes,
        )

    def take_disk(self, size_bytes: int) -> bool:
        """Charges a write against the budget; False when it does not fit (the disk is full)."""
        if self.disk_budget_bytes is None:
            return True
        if size_bytes > self.disk_budget_bytes:
            return False
        self.disk_budget_bytes -= size_bytes
        return True

    def give_disk(self, size_bytes: int) -> None:
        """What was charged and is free again."""
        if self.disk_budget_bytes is not None:
            self.disk_budget_bytes += size_bytes

    def rename(self, device_name: str) -> None:
        """Gives the phone another name and keeps it for the next run."""
        self.device_name = device_name
        (self.home / "settings.json").write_text(json.dumps({"device_name": device_name}), encoding="utf-8")
