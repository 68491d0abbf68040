"""What is true of one virtual phone: identity, trust, battery, disk. Services read it, `usecases` change it.

Knows no protocol and starts nothing; it only keeps small files in the phone's home directory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Trust(StrEnum):
    """What a host that wants to pair or to open a session meets."""

    TRUSTED = "trusted"  # the owner taps Trust at once
    PENDING = "pending"  # the dialog is open and nobody has tapped yet
    DENIED = "denied"  # the owner taps Don't Trust
    LOCKED = "locked"  # the screen is locked: no pairing, no session, no launch


@dataclass
class Battery:
    """The readings a host may ask for; `temperature_celsius` is the best thermal gate an iPhone offers to a host."""

    percent: int = 87
    charging: bool = True
    temperature_celsius: float = 29.5
    voltage_millivolts: int = 4180
    current_milliamperes: int = 312
    cycle_count: int = 143
    design_capacity_mah: int = 3582
    full_capacity_mah: int = 3510


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
    footprint_limit_bytes: int
    allocation_limit_bytes: int | None
    page_size_bytes: int
    disk_bytes: int
    screen: tuple[int, int, float]
    serial_number: str
    device_name: str
    wifi_address: str
    trust: Trust = Trust.TRUSTED
    developer_mode: bool = True
    battery: Battery = field(default_factory=Battery)
    # None: as much as the real disk gives; a number: bytes services may still write before the disk is full
    disk_budget_bytes: int | None = None

    @property
    def media(self) -> Path:
        """What `com.apple.afc` serves."""
        return self.home / "Media"

    @property
    def crash_reports(self) -> Path:
        """Where the phone keeps its `.ips` reports."""
        return self.home / "CrashReports"

    @property
    def os_label(self) -> str:
        """The system's name as reports write it."""
        return f"iPhone OS {self.os_version} ({self.os_build})"

    def take_disk(self, size_bytes: int) -> bool:
        """Charges a write against the budget; False when it does not fit (the disk is full)."""
        if self.disk_budget_bytes is None:
            return True
        if size_bytes > self.disk_budget_bytes:
            return False
        self.disk_budget_bytes -= size_bytes
        return True

    def rename(self, device_name: str) -> None:
        """Gives the phone another name and keeps it for the next run."""
        self.device_name = device_name
        (self.home / "settings.json").write_text(json.dumps({"device_name": device_name}), encoding="utf-8")
