"""Turns one profile, the settings given with `--set` and a home directory into a phone's state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.virtual.catalogue import IosVersion, Profile, catalogue, profile_names
from harness.virtual.settings import SETTINGS, UDID, BadProfile, parse_settings, read_settings
from harness.virtual.state import Battery, Connection, PhoneState, Trust

__all__ = [
    "SETTINGS",
    "UDID",
    "BadProfile",
    "check_profile",
    "make_state",
    "parse_settings",
    "profile_names",
]

# the top bits of a real exclusive chip id are zero
_ECID_BITS = 53


def check_profile(profile: str) -> None:
    """Raises BadProfile unless `profile` exists."""
    if profile not in catalogue():
        raise BadProfile(f"there is no profile {profile!r}; there are: {', '.join(profile_names())}")


def make_state(profile: str, settings: Mapping[str, str], home: Path, identity: str) -> PhoneState:
    """The state of a phone of `profile` that lives in `home`; `identity` decides its UDID unless a setting does."""
    check_profile(profile)
    phone, asked = catalogue()[profile], read_settings(settings)
    version = _version(phone, asked.get("ios", phone.default_ios))
    udid, ecid = _identity(phone.chip_id, asked, identity)
    digest = hashlib.sha256(udid.encode()).hexdigest().upper()
    footprint = asked.get("footprint_limit")
    allocation = asked.get("allocation_limit")
    return PhoneState(
        profile=profile,
        udid=udid,
        ecid=ecid,
        home=home,
        product_type=phone.product_type,
        hardware_model=phone.hardware_model,
        marketing_name=phone.marketing_name,
        cpu_architecture=phone.cpu_architecture,
        chip_id=phone.chip_id,
        board_id=phone.board_id,
        os_version=version.version,
        os_build=version.build,
        kernel=version.kernel(phone.chip_id),
        ram_bytes=phone.ram_bytes,
        # a limit that is set holds for every app, unless the other one is set too
        footprint_limit_bytes=footprint or phone.footprint_limit_bytes,
        footprint_limit_increased_bytes=asked.get("footprint_limit_increased")
        or footprint
        or phone.footprint_limit_increased_bytes,
        allocation_limit_bytes=allocation or phone.allocation_limit_bytes,
        allocation_limit_extended_bytes=asked.get("allocation_limit_extended")
        or allocation
        or phone.allocation_limit_extended_bytes,
        page_size_bytes=phone.page_size_bytes,
        disk_bytes=phone.disk_bytes,
        screen=phone.screen,
        serial_number=f"V{digest[:9]}",
        device_name=_device_name(home, phone.marketing_name),
        # a locally administered address, so that it is nobody's
        wifi_address=":".join(["02", *(digest[i : i + 2].lower() for i in range(10, 20, 2))]),
        connection=asked.get("connection", Connection.USB),
        trust=asked.get("trust", Trust.TRUSTED),
        developer_mode=asked.get("developer_mode", True),
        developer_image_mounted=asked.get("developer_image", True),
        battery=_battery(phone, asked),
        low_power=asked.get("low_power", False),
        thermal_held=asked.get("thermal"),
        disk_budget_bytes=asked.get("disk_free"),
        gpu_emulated=asked.get("gpu", False),
        plain_services=asked.get("plain_services", False),
        drop_large_packets=asked.get("drop_large_packets", False),
        fault=asked.get("fault"),
        seed=asked.get("seed", "0"),
    )


def _version(phone: Profile, wanted: str) -> IosVersion:
    version = phone.find_version(wanted)
    if version is None:
        known = ", ".join(phone.versions)
        raise BadProfile(f"{phone.name} knows no ios={wanted[:20]}; it knows: {known}")
    return version


def _battery(phone: Profile, asked: Mapping[str, Any]) -> Battery:
    battery = Battery(design_capacity_mah=phone.battery_design_mah, full_capacity_mah=phone.battery_design_mah)
    battery.level_percent = asked.get("battery", battery.level_percent)
    battery.temperature_celsius = asked.get("battery_celsius", battery.temperature_celsius)
    battery.charging = asked.get("charging", battery.charging)
    return battery


def _identity(chip_id: int, asked: Mapping[str, Any], identity: str) -> tuple[str, int]:
    if (udid := asked.get("udid")) is not None:
        return udid, int(udid.partition("-")[2], 16)
    words = identity if "seed" not in asked else f"seed/{asked['seed']}"
    ecid = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> (64 - _ECID_BITS)
    return f"{chip_id:08X}-{ecid:016X}", ecid


def _device_name(home: Path, default: str) -> str:
    """The name its owner gave it, if ever."""
    file = home / "settings.json"
    if not file.exists():
        return f"Virtual {default}"
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["device_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadProfile(f"{file} is damaged ({error}): remove it") from error
    return str(name)
