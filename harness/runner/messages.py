"""The messages of the wire language (version 1), as typed values.

What a phone sends is untrusted: every field is validated and bounded here, unknown fields are dropped, and an
unknown `ev` becomes `UnknownEvent` so that a newer runner still works. `docs/runner-protocol.md` is the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.core.errors import DeviceError

VERSION = 1
DEFAULT_PORT = 18017

# 2**63 - 1: every integer of the language fits a signed 64-bit column.
_INT64 = 0x7FFF_FFFF_FFFF_FFFF
# Half of it for readings, so that the sum of two of them still fits.
_READING_LIMIT = _INT64 // 2
_Count = Annotated[int, Field(ge=0, le=_INT64)]
_Text = Annotated[str, Field(max_length=16 * 1024)]
_Name = Annotated[str, Field(max_length=128)]
_Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MessageError(DeviceError):
    """A line is not a message of the wire language; the text names what is wrong with it."""


class _Event(BaseModel):
    # lax numbers would turn "12" or true into 12: what is not the stated type is refused
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    v: Literal[1]
    seq: Annotated[int, Field(ge=1, le=_INT64)]
    t: _Count
    """Nanoseconds on the process's monotonic clock."""


class HelloEvent(_Event):
    ev: Literal["hello"]
    app_version: _Name
    build: _Name
    commit: _Name | None = None
    engines: dict[_Name, _Name]
    hw_machine: _Name
    os_build: _Name
    ram_bytes: _Count
    pid: Annotated[int, Field(ge=1, le=2**31 - 1)]
    entitlements: dict[str, Any] = Field(default_factory=dict, max_length=64)
    page_size: Annotated[int, Field(ge=512, le=1 << 20)]
    sample_columns: Annotated[list[_Name], Field(min_length=1, max_length=64)]
    platform: _Name | None = None
    thermal: _Name | None = None
    """`nominal`, `fair`, `serious` or `critical` at this moment."""
    low_power: bool | None = None
    footprint_bytes: _Count | None = None
    """At this moment."""
    available_bytes: _Count | None = None
    """Left below the limit on the footprint."""
    largest_mapping_bytes: _Count | None = None
    """Of private memory, found by trying; None once a trial was asked for."""
    state: Literal["idle", "running", "finished"] = "idle"
    """`idle`: no `run` has reached this process yet."""


class PhaseEvent(_Event):
    ev: Literal["phase"]
    name: _Name
    edge: Literal["begin", "end"]
    kernel_peak_resident: _Count | None = None
    kernel_peak_virtual: _Count | None = None


class SampleEvent(_Event):
    ev: Literal["sample"]
    d: Annotated[list[Annotated[int, Field(ge=-_READING_LIMIT, le=_READING_LIMIT)] | None], Field(max_length=64)]


class TokenEvent(_Event):
    ev: Literal["token"]
    count: _Count


class BackendEvent(_Event):
    ev: Literal["backend"]
    requested: _Name
    effective: _Name | None = None
    how: _Text


class NoticeEvent(_Event):
    ev: Literal["notice"]
    kind: _Name
    text: _Text | None = None


class LogEvent(_Event):
    ev: Literal["log"]
    line: _Text


class HeartbeatEvent(_Event):
    ev: Literal["heartbeat"]


class PongEvent(_Event):
    ev: Literal["pong"]
    host_t: Annotated[int, Field(ge=-_INT64, le=_INT64)]


class ErrorEvent(_Event):
    ev: Literal["error"]
    kind: _Name
    message: _Text
    phase: _Name | None = None
    trial: _Name | None = None
    """The trial that gets no result because of this; None when it ends none."""


class ResultEvent(_Event):
    ev: Literal["result"]
    cancelled: bool = False
    durations_ns: dict[_Name, _Count] = Field(default_factory=dict, max_length=64)
    load_ns: _Count | None = None
    ttft_ns: _Count | None = None
    prefill_tokens: _Count | None = None
    prefill_tps: _Rate | None = None
    decode_tokens: _Count | None = None
    decode_tps: _Rate | None = None
    kernel_peak_resident: _Count | None = None
    kernel_peak_virtual: _Count | None = None
    peak_footprint: _Count | None = None
    leftover_footprint: _Count | None = None
    output_sha256: _Name | None = None


class UnknownEvent(_Event):
    """An event of a kind that this host does not know; kept in the journal."""

    ev: _Name


KnownEvent = Annotated[
    HelloEvent
    | PhaseEvent
    | SampleEvent
    | TokenEvent
    | BackendEvent
    | NoticeEvent
    | LogEvent
    | HeartbeatEvent
    | PongEvent
    | ErrorEvent
    | ResultEvent,
    Field(discriminator="ev"),
]
Event = (
    HelloEvent
    | PhaseEvent
    | SampleEvent
    | TokenEvent
    | BackendEvent
    | NoticeEvent
    | LogEvent
    | HeartbeatEvent
    | PongEvent
    | ErrorEvent
    | ResultEvent
    | UnknownEvent
)

_KNOWN: TypeAdapter[KnownEvent] = TypeAdapter(KnownEvent)
_UNKNOWN: TypeAdapter[UnknownEvent] = TypeAdapter(UnknownEvent)


def parse_event(line: bytes) -> Event:
    """One event from one line (without its newline). Raises MessageError."""
    try:
        return _KNOWN.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "union_tag_invalid":
            return _parse_unknown(line)
        where = ".".join(str(part) for part in first["loc"]) or "line"
        raise MessageError(f"bad event from the runner: {where}: {first['msg']}: {line[:120]!r}") from error
    except RecursionError as error:
        raise MessageError(f"bad event from the runner: nested too deeply: {line[:120]!r}") from error


def _parse_unknown(line: bytes) -> UnknownEvent:
    try:
        return _UNKNOWN.validate_json(line)
    except ValidationError as error:
        raise MessageError(f"bad event from the runner: {line[:120]!r}") from error


def encode_command(cmd: str, **fields: int | str | Mapping[str, object]) -> bytes:
    """One command as a line with its newline."""
    return json.dumps({"cmd": cmd, **fields}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
