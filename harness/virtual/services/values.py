"""What lockdownd's GetValue tells: a little to anyone, the rest to a paired host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from harness.virtual.state import Trust

if TYPE_CHECKING:
    from harness.virtual.phone import Phone


def all_values(phone: Phone, *, paired: bool) -> dict[str, Any]:
    """The values of no domain."""
    state = phone.state
    values: dict[str, Any] = {
        "ActivationState": "Activated",
        "BuildVersion": state.os_build,
        "CPUArchitecture": state.cpu_architecture,
        "DeviceClass": "iPhone",
        "DeviceName": state.device_name,
        "DevicePublicKey": phone.hosts.public_key_pem,
        "HardwareModel": state.hardware_model,
        "HasSiDP": True,
        "PasswordProtected": state.trust is Trust.LOCKED,
        "ProductName": "iPhone OS",
        "ProductType": state.product_type,
        "ProductVersion": state.os_version,
        "ProtocolVersion": "2",
        "UniqueDeviceID": state.udid,
        # no phone of Apple's has this key: whoever records figures can tell them from a phone's
        "VirtualDevice": True,
        "WiFiAddress": state.wifi_address,
    }
    if paired:
        values |= {
            "BoardId": state.board_id,
            "ChipID": state.chip_id,
            "HostAttached": True,
            "HumanReadableProductVersionString": state.os_version,
            "MarketingName": state.marketing_name,
            "ProductionSOC": True,
            "SerialNumber": state.serial_number,
            "SupportedDeviceFamilies": [1],
            "TelephonyCapability": True,
            "TimeIntervalSince1970": state.unix_time(),
            "TimeZone": "Etc/UTC",
            "TimeZoneOffsetFromUTC": 0.0,
            "TrustedHostAttached": True,
            "UniqueChipID": state.ecid,
            "Uses24HourClock": True,
        }
    return values


def domain_values(phone: Phone, domain: str) -> dict[str, Any]:
    """The values of one domain; empty for a domain this phone knows nothing about."""
    state = phone.state
    battery = state.battery
    width, height, scale = state.screen
    if domain in ("com.apple.disk_usage", "com.apple.disk_usage.factory"):
        return _disk(phone)
    domains: dict[str, dict[str, Any]] = {
        "com.apple.international": {"Keyboard": "en-US", "Language": "en", "Locale": "en_US"},
        "com.apple.mobile.battery": {
            "BatteryCurrentCapacity": battery.percent,
            "BatteryIsCharging": battery.charging,
            "ExternalChargeCapable": True,
            "ExternalConnected": True,
            "FullyCharged": battery.percent == 100,
            "GasGaugeCapability": True,
            "HasBattery": True,
        },
        "com.apple.mobile.iTunes": {"ScreenHeight": height, "ScreenScaleFactor": scale, "ScreenWidth": width},
        "com.apple.mobile.wireless_lockdown": {"EnableWifiConnections": False},
        "com.apple.security.mac.amfi": {"DeveloperModeStatus": state.developer_mode},
    }
    return domains.get(domain, {})


def _disk(phone: Phone) -> dict[str, Any]:
    state = phone.state
    system_bytes = state.disk_bytes // 10
    real = os.statvfs(state.home)
    free_bytes = min(real.f_bavail * real.f_frsize, state.disk_bytes - system_bytes)
    if state.disk_budget_bytes is not None:
        free_bytes = min(free_bytes, state.disk_budget_bytes)
    return {
        "AmountDataAvailable": free_bytes,
        "AmountDataReserved": 0,
        "TotalDataAvailable": free_bytes,
        "TotalDataCapacity": state.disk_bytes - system_bytes,
        "TotalDiskCapacity": state.disk_bytes,
        "TotalSystemAvailable": 0,
        "TotalSystemCapacity": system_bytes,
    }
