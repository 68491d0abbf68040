"""Reads `profiles.toml`: the phones there are, what each is made of, and where each value comes from.

What may stand there is a matter of `catalogue_rules.py`. Knows no settings and no state.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from harness.core.units import parse_bytes

Source = Literal["observed", "irecv_devices", "assumed"]


@dataclass(frozen=True)
class IosVersion:
    """One system: version, build, and the kernel it says it runs."""

    version: str
    build: str
    darwin: str
    xnu: str
    source: Source

    @property
    def numbers(self) -> tuple[int, ...]:
        """For comparison: (18, 5)."""
        return tuple(int(part) for part in self.version.split("."))

    def kernel(self, chip_id: int) -> str:
        """The kernel's line of identity on a phone with this chip."""
        return f"Darwin Kernel Version {self.darwin}: root:xnu-{self.xnu}/RELEASE_ARM64_T{chip_id:04X}"


@dataclass(frozen=True)
class Profile:
    """One phone of the catalogue. `sources` names the source of each value, under the words of `profiles.toml`."""

    name: str
    marketing_name: str
    product_type: str
    hardware_model: str
    board_id: int
    chip_id: int
    cpu_architecture: str
    ram_bytes: int
    footprint_limit_bytes: int
    footprint_limit_increased_bytes: int
    allocation_limit_bytes: int
    allocation_limit_extended_bytes: int
    page_size_bytes: int
    disk_bytes: int
    screen: tuple[int, int, float]
    battery_design_mah: int
    versions: Mapping[str, IosVersion]
    default_ios: str
    sources: Mapping[str, Source]

    def find_version(self, wanted: str) -> IosVersion | None:
        """The version of that name; for a major version alone ("26") the newest of it; None if the phone has none."""
        if wanted in self.versions:
            return self.versions[wanted]
        matching = [version for version in self.versions.values() if version.version.split(".")[0] == wanted]
        return max(matching, key=lambda version: version.numbers, default=None)


def profile_names() -> list[str]:
    """The profiles there are, oldest phone first."""
    return list(catalogue())


@functools.cache
def catalogue() -> Mapping[str, Profile]:
    """Every profile by name, oldest phone first. The file is ours: that it is as it must be, tests have seen."""
    return _profiles(tomllib.loads(shipped()))


def shipped() -> str:
    """The catalogue's file."""
    return resources.files("harness.virtual").joinpath("profiles.toml").read_text(encoding="utf-8")


def read_catalogue(text: str) -> dict[str, Profile]:
    """The profiles in `text`; ValueError names what is wrong with it."""
    # here, not above: to import what checks takes as long as half of a phone's start
    from harness.virtual.catalogue_rules import check

    file = tomllib.loads(text)
    check(file)
    return _profiles(file)


def _profiles(file: Mapping[str, Any]) -> dict[str, Profile]:
    systems = {version: IosVersion(version, **entry) for version, entry in file["ios"].items()}
    return {name: _profile(name, cells, file, systems) for name, cells in file["phones"].items()}


def _profile(name: str, cells: list[Any], file: Mapping[str, Any], systems: Mapping[str, IosVersion]) -> Profile:
    row = dict(zip(file["columns"], cells, strict=True))
    common, reported = file["common"], file["reported"].get(name, {})
    limits = {**file["ram"][row["ram"]], **{key: value for key, value in reported.items() if key != "ram"}}
    versions = _versions(name, row["ios_min"], row["ios_max"], systems)
    sources: dict[str, Source] = {**file["columns"]}
    sources |= {key: value["source"] for key, value in {**common, **limits, **reported}.items()}
    width, height, scale = row["screen"]
    return Profile(
        name=name,
        marketing_name=row["marketing_name"],
        product_type=row["product_type"],
        hardware_model=row["hardware_model"],
        board_id=row["board_id"],
        chip_id=row["chip_id"],
        cpu_architecture=common["cpu_architecture"]["value"],
        ram_bytes=parse_bytes(row["ram"]),
        **{f"{key}_bytes": parse_bytes(value["value"]) for key, value in limits.items()},
        page_size_bytes=parse_bytes(common["page_size"]["value"]),
        disk_bytes=parse_bytes(common["disk"]["value"]),
        screen=(int(width), int(height), float(scale)),
        battery_design_mah=row["battery_design_mah"],
        versions=versions,
        default_ios=_nearest(versions, common["default_ios"]["value"]),
        sources=sources,
    )


def _versions(name: str, ios_min: str, ios_max: str, systems: Mapping[str, IosVersion]) -> dict[str, IosVersion]:
    lowest = tuple(int(part) for part in ios_min.split("."))
    found = {
        version: system
        for version, system in systems.items()
        if system.numbers >= lowest and system.numbers[0] <= int(ios_max)
    }
    if ios_min not in found:
        raise ValueError(f"{name}: [ios] does not know its first system {ios_min}")
    return found


def _nearest(versions: Mapping[str, IosVersion], wanted: str) -> str:
    if wanted in versions:
        return wanted
    # the phone came with a later system: its first one
    return min(versions, key=lambda version: versions[version].numbers)
