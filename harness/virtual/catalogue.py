"""Reads `profiles.toml`: the phones there are, what each is made of, and where each value comes from.

Validates strictly, because a mistyped limit would look like a finding. Knows no settings and no state.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from harness.core.units import parse_bytes

Source = Literal["observed", "irecv_devices", "assumed"]
_VERSION = r"^\d{2}(\.\d{1,2}){1,2}$"


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
    """Every profile by name, oldest phone first; ValueError when the file is not as it must be."""
    text = resources.files("harness.virtual").joinpath("profiles.toml").read_text(encoding="utf-8")
    return read_catalogue(text)


def read_catalogue(text: str) -> dict[str, Profile]:
    """The profiles in `text`; ValueError names what is wrong with it."""
    file = _File.model_validate(tomllib.loads(text))
    if set(file.columns) != set(_Row.model_fields):
        raise ValueError(f"columns must be exactly: {', '.join(_Row.model_fields)}")
    if strangers := set(file.reported) - set(file.phones):
        raise ValueError(f"something is reported of unknown phones: {', '.join(sorted(strangers))}")
    systems = {
        version: IosVersion(version, entry.build, entry.darwin, entry.xnu, entry.source)
        for version, entry in file.ios.items()
    }
    return {name: _profile(name, cells, file, systems) for name, cells in file.phones.items()}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Value(_Strict):
    value: str
    source: Source


class _Limits(_Strict):
    footprint_limit: _Value
    footprint_limit_increased: _Value
    allocation_limit: _Value
    allocation_limit_extended: _Value


class _Reported(_Strict):
    ram: _Value | None = None
    footprint_limit: _Value | None = None
    footprint_limit_increased: _Value | None = None


class _Common(_Strict):
    cpu_architecture: _Value
    page_size: _Value
    disk: _Value
    default_ios: _Value


class _System(_Strict):
    build: str = Field(pattern=r"^\d{2}[A-Z]\d{2,5}$")
    darwin: str
    xnu: str
    source: Source


class _Row(_Strict):
    marketing_name: str
    product_type: str = Field(pattern=r"^iPhone\d{2},\d$")
    hardware_model: str = Field(pattern=r"^[A-Z]\d+[a-zA-Z]*AP$")
    board_id: int = Field(ge=0, le=0xFF)
    chip_id: int = Field(ge=0x8000, le=0xFFFF)
    ram: str
    ios_min: str = Field(pattern=_VERSION)
    ios_max: str = Field(pattern=r"^\d{2}$")
    screen: Annotated[list[float], Field(min_length=3, max_length=3)]
    battery_design_mah: int = Field(gt=0, lt=20_000)


class _File(_Strict):
    columns: dict[str, Source]
    phones: dict[str, list[Any]]
    ram: dict[str, _Limits]
    reported: dict[str, _Reported]
    common: _Common
    ios: dict[Annotated[str, Field(pattern=_VERSION)], _System]


_ROW = TypeAdapter(_Row)


def _profile(name: str, cells: list[Any], file: _File, systems: Mapping[str, IosVersion]) -> Profile:
    if len(cells) != len(file.columns):
        raise ValueError(f"{name}: {len(cells)} cells under {len(file.columns)} columns")
    row = _ROW.validate_python(dict(zip(file.columns, cells, strict=True)))
    if row.ram not in file.ram:
        raise ValueError(f"{name}: there is no [ram.{row.ram}]")
    limits = dict(file.ram[row.ram])
    reported = {key: value for key, value in file.reported.get(name, _Reported()) if value is not None}
    if "ram" in reported and reported["ram"].value != row.ram:
        raise ValueError(f"{name}: ram is {row.ram} in one place and {reported['ram'].value} in another")
    limits.update({key: value for key, value in reported.items() if key != "ram"})
    common = dict(file.common)
    versions = _versions(name, row, systems)
    sources: dict[str, Source] = {**file.columns}
    sources |= {key: value.source for key, value in {**common, **limits, **reported}.items()}
    width, height, scale = row.screen
    return Profile(
        name=name,
        marketing_name=row.marketing_name,
        product_type=row.product_type,
        hardware_model=row.hardware_model,
        board_id=row.board_id,
        chip_id=row.chip_id,
        cpu_architecture=file.common.cpu_architecture.value,
        ram_bytes=parse_bytes(row.ram),
        **{f"{key}_bytes": parse_bytes(value.value) for key, value in limits.items()},
        page_size_bytes=parse_bytes(file.common.page_size.value),
        disk_bytes=parse_bytes(file.common.disk.value),
        screen=(int(width), int(height), scale),
        battery_design_mah=row.battery_design_mah,
        versions=versions,
        default_ios=_nearest(versions, file.common.default_ios.value),
        sources=sources,
    )


def _versions(name: str, row: _Row, systems: Mapping[str, IosVersion]) -> dict[str, IosVersion]:
    lowest = tuple(int(part) for part in row.ios_min.split("."))
    found = {
        version: system
        for version, system in systems.items()
        if system.numbers >= lowest and system.numbers[0] <= int(row.ios_max)
    }
    if row.ios_min not in found:
        raise ValueError(f"{name}: [ios] does not know its first system {row.ios_min}")
    return found


def _nearest(versions: Mapping[str, IosVersion], wanted: str) -> str:
    if wanted in versions:
        return wanted
    # the phone came with a later system: its first one
    return min(versions, key=lambda version: versions[version].numbers)
