"""What may stand beside `do` in a request of the control socket (`usecases.py`), each request's words strictly."""

from __future__ import annotations

import signal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.virtual.state import Trust

# ten years either way: beyond it dates of reports and certificates stop making sense
CLOCK_JUMP_LIMIT_S = 10 * 365 * 86400.0


class Words(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TrustWords(Words):
    state: Trust = Field(strict=False)


class BatteryWords(Words):
    percent: int | None = Field(default=None, ge=0, le=100)
    charging: bool | None = None
    temperature_celsius: float | None = Field(default=None, ge=-40, le=100)


class ThermalWords(Words):
    state: Literal["nominal", "fair", "serious", "critical"] | None


class SwitchWords(Words):
    on: bool


class DeveloperImageWords(Words):
    mounted: bool


class ClockJumpWords(Words):
    seconds: float = Field(ge=-CLOCK_JUMP_LIMIT_S, le=CLOCK_JUMP_LIMIT_S)


class RebootWords(Words):
    away_s: float = Field(default=1.0, ge=0, le=600)
    locked: bool = False


class JetsamOtherWords(Words):
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")


class DiskWords(Words):
    free_bytes: int | None = Field(ge=0)


class LaunchWords(Words):
    bundle_id: str
    arguments: list[str] = []
    environment: dict[str, str] = {}
    kill_existing: bool = True


class KillWords(Words):
    pid: int
    signal: int = Field(default=int(signal.SIGKILL), ge=1, le=64)


class FaultWords(BaseModel):
    """Everything beyond these are parameters of the fault."""

    model_config = ConfigDict(extra="allow", strict=True)
    name: str
    at: str = "now"
    seed: str | None = None


class FaultTextWords(Words):
    text: str
    seed: str | None = None


class PidWords(Words):
    pid: int
