"""Reads `profiles.toml` and turns one profile, the settings given with `--set` and a home directory into a state."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from harness.core.units import UnitError, parse_bytes
from harness.virtual.state import Battery, PhoneState

SETTINGS = ("allocation_limit", "footprint_limit", "ios", "seed", "udid")
UDID = re.compile(r"[0-9A-F]{8}-[0-9A-F]{16}", re.ASCII)
# the top bits of a real exclusive chip id are zero
_ECID_BITS = 53


class BadProfile(ValueError):
    """A profile or a setting that does not exist or has no such value; the message names the valid ones."""


def profile_names() -> list[str]:
    """The profiles there are."""
    return sorted(_load())


def parse_settings(words: list[str]) -> dict[str, str]:
    """`key=value` words as a dictionary; BadProfile for an unknown key or a word without '='."""
    settings: dict[str, str] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or key not in SETTINGS:
            raise BadProfile(f"{word!r} is no setting: write key=value with one of {', '.join(SETTINGS)}")
        if key in settings:
            raise BadProfile(f"{key} is set twice")
        settings[key] = value
    return settings


def check_profile(profile: str) -> None:
    """Raises BadProfile unless `profile` exists."""
    if profile not in _load():
        raise BadProfile(f"there is no profile {profile!r}; there are: {', '.join(profile_names())}")


def make_state(profile: str, settings: Mapping[str, str], home: Path, identity: str) -> PhoneState:
    """The state of a phone of `profile` that lives in `home`; `identity` decides its UDID unless a setting does."""
    check_profile(profile)
    values = {name: entry["value"] for name, entry in _load()[profile].items()}
    builds: dict[str, str] = values["ios_builds"]
    version = settings.get("ios", values["default_ios"])
    if version not in builds:
        raise BadProfile(f"{profile} knows no ios={version}; it knows: {', '.join(sorted(builds))}")
    udid, ecid = _identity(values["chip_id"], settings, identity)
    digest = hashlib.sha256(udid.encode()).hexdigest().upper()
    allocation = settings.get("allocation_limit")
    width, height, scale = values["screen"]
    return PhoneState(
        profile=profile,
        udid=udid,
        ecid=ecid,
        home=home,
        product_type=values["product_type"],
        hardware_model=values["hardware_model"],
        marketing_name=values["marketing_name"],
        cpu_architecture=values["cpu_architecture"],
        chip_id=values["chip_id"],
        board_id=values["board_id"],
        os_version=version,
        os_build=builds[version],
        kernel=values["kernel"],
        ram_bytes=parse_bytes(values["ram"]),
        footprint_limit_bytes=_size("footprint_limit", settings.get("footprint_limit", values["footprint_limit"])),
        allocation_limit_bytes=None if allocation is None else _size("allocation_limit", allocation),
        page_size_bytes=parse_bytes(values["page_size"]),
        disk_bytes=parse_bytes(values["disk"]),
        screen=(int(width), int(height), float(scale)),
        serial_number=f"V{digest[:9]}",
        device_name=_device_name(home, values["marketing_name"]),
        # a locally administered address, so that it is nobody's
        wifi_address=":".join(["02", *(digest[i : i + 2].lower() for i in range(10, 20, 2))]),
        battery=Battery(
            design_capacity_mah=values["battery_design_mah"], full_capacity_mah=values["battery_design_mah"]
        ),
    )


def _load() -> dict[str, dict[str, dict[str, Any]]]:
    return tomllib.loads(resources.files("harness.virtual").joinpath("profiles.toml").read_text(encoding="utf-8"))


def _identity(chip_id: int, settings: Mapping[str, str], identity: str) -> tuple[str, int]:
    if (udid := settings.get("udid")) is not None:
        if not UDID.fullmatch(udid):
            raise BadProfile(f"udid={udid[:40]} is no UDID: eight hex digits, a hyphen, sixteen, in capitals")
        return udid, int(udid.partition("-")[2], 16)
    words = identity if "seed" not in settings else f"seed/{settings['seed']}"
    ecid = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> (64 - _ECID_BITS)
    return f"{chip_id:08X}-{ecid:016X}", ecid


def _size(name: str, text: str) -> int:
    try:
        size = parse_bytes(text)
    except UnitError as error:
        raise BadProfile(f"{name}: {error}") from error
    if size == 0:
        raise BadProfile(f"{name}={text} leaves an app nothing: give more than 0 bytes")
    return size


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
