"""What may stand in `profiles.toml`: strict, because a mistyped limit would look like a finding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from harness.virtual.catalogue import Source

_VERSION = r"^\d{2}(\.\d{1,2}){1,2}$"


def check(raw: Mapping[str, Any]) -> None:
    """ValueError names what is wrong with the file."""
    file = _File.model_validate(raw)
    if set(file.columns) != set(_Row.model_fields):
        raise ValueError(f"columns must be exactly: {', '.join(_Row.model_fields)}")
    if strangers := set(file.reported) - set(file.phones):
        raise ValueError(f"something is reported of unknown phones: {', '.join(sorted(strangers))}")
    for name, cells in file.phones.items():
        _check_phone(name, cells, file)


def _check_phone(name: str, cells: list[Any], file: _File) -> None:
    if len(cells) != len(file.columns):
        raise ValueError(f"{name}: {len(cells)} cells under {len(file.columns)} columns")
    row = _Row.model_validate(dict(zip(file.columns, cells, strict=True)))
    if row.ram not in file.ram:
        raise ValueError(f"{name}: there is no [ram.{row.ram}]")
    told = file.reported.get(name, _Reported()).ram
    if told is not None and told.value != row.ram:
        raise ValueError(f"{name}: ram is {row.ram} in one place and {told.value} in another")


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
