"""Suite files: what to load, how, and what is expected. TOML in, a checked value out.

Unknown keys are refused with their place in the file: a misspelt limit that is silently ignored is worse than none.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from harness.bench.synth import RECIPES
from harness.core.errors import UsageError
from harness.core.job import Backend, CacheState, Engine, PrewarmMode
from harness.core.outcome import Family, Outcome
from harness.core.units import UnitError, parse_bytes
from harness.device.presence import GRACE_S
from harness.device.readiness import COOL_POLL_S, COOL_TIMEOUT_S, Needs, ThermalState

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Setting = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
MAX_SUITE_BYTES = 1 << 20


# What the runner takes; the wire language's lines have 64 KiB.
MAX_PROMPT_BYTES = 32 * 1024
# What a suite may expect: the model's own ends. Trouble with a phone is never as expected.
EXPECTABLE = tuple(outcome for outcome in Outcome if outcome.family in (Family.MEASURED, Family.MODEL))


def _fits_the_wire(prompt: str) -> str:
    if len(prompt.encode()) > MAX_PROMPT_BYTES:
        raise ValueError(f"a prompt has at most {MAX_PROMPT_BYTES} bytes of UTF-8")
    return prompt


def _expectable(outcome: Outcome) -> Outcome:
    if outcome not in EXPECTABLE:
        raise ValueError(f"{outcome} says nothing about a model; expect one of: {', '.join(EXPECTABLE)}")
    return outcome


def _size(text: object) -> object:
    if not isinstance(text, str):
        raise ValueError('write a size with its unit, as in "2 GiB"')
    try:
        return parse_bytes(text)
    except UnitError as error:
        raise ValueError(str(error)) from error


_Size = Annotated[int, BeforeValidator(_size)]
_IosVersion = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){0,2}$")]


class SuiteError(UsageError):
    """A suite file that cannot be used; the text names the file, the place and the remedy."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Table):
    """`[[models]]`: a file on this machine, or one that the model maker makes."""

    name: _Name
    path: Path | None = None
    """Relative to the suite file."""
    synth: str | None = None
    quantization: Annotated[str, Field(max_length=32)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ModelEntry:
        if (self.path is None) == (self.synth is None):
            raise ValueError("a model has either `path` or `synth`")
        if self.synth is not None and self.synth not in RECIPES:
            raise ValueError(f"unknown recipe {self.synth!r}; there are: {', '.join(RECIPES)}")
        return self


class Matrix(_Table):
    """`[matrix]`: each model is tried with each combination of these."""

    engines: Annotated[tuple[Engine, ...], Field(min_length=1)] = (Engine.LITERT_LM,)
    backends: Annotated[tuple[Backend, ...], Field(min_length=1)] = (Backend.CPU,)
    caches: Annotated[tuple[CacheState, ...], Field(min_length=1)] = (CacheState.COLD,)


class Options(_Table):
    """`[options]`: how each trial is done."""

    trials: Annotated[int, Field(ge=1, le=1000)] = 3
    max_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = 512
    prompt: Annotated[str, Field(min_length=1), AfterValidator(_fits_the_wire)] = "How much memory does the model use?"
    decode_tokens: Annotated[int, Field(ge=0, le=100_000)] = 8
    """0: only load, generate nothing."""
    sample_hz: Annotated[int, Field(ge=1, le=1000)] = 1000
    hold_ms: Annotated[int, Field(ge=0, le=600_000)] = 200
    """Stay loaded this long, so that a late burst is seen."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1
    prewarm: PrewarmMode | None = None
    """Bring the file into the page cache before the load, `prewarm_chunk_bytes` at a time."""
    prewarm_chunk_bytes: Annotated[int, Field(ge=4096, le=1 << 30)] = 1 << 20
    warmup: bool = False
    """One whole load and unload before the measured one, in the same process."""
    guard_reserve_bytes: Annotated[int, Field(ge=0, le=1 << 40)] | None = None
    """Stop the load when less than this is left below the footprint limit; the trial is then a load_error."""
    progress_limit_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Without a new phase, token or result for so long (beside `hold_ms`), the trial is `hung`."""
    grace_s: Annotated[float, Field(ge=0, le=600)] = GRACE_S
    """A phone that is unplugged is waited for so long; back by then, the trial goes on."""


class NeedsTable(_Table):
    """`[needs]`: what the phone must be like before each trial; none is checked that is not given."""

    max_battery_celsius: Annotated[float, Field(ge=-20, le=80)] | None = None
    max_thermal: ThermalState | None = None
    min_battery_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    charging: bool | None = None
    low_power: bool | None = None
    """Absent: Low Power Mode must be off, where the app can tell."""
    min_free: _Size | None = None
    min_ram: _Size | None = None
    min_ios: _IosVersion | None = None
    max_ios: _IosVersion | None = None
    cool_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = COOL_TIMEOUT_S
    cool_poll_s: Annotated[float, Field(ge=0.05, le=3600)] = COOL_POLL_S

    @property
    def needs(self) -> Needs:
        """The same in the device layer's words."""
        values = self.model_dump()
        return Needs(min_free_bytes=values.pop("min_free"), min_ram_bytes=values.pop("min_ram"), **values)


class Expectation(_Table):
    """`[[expect]]`: cases that match all given keys are expected to end so."""

    outcome: Annotated[Outcome, AfterValidator(_expectable)]
    model: _Name | None = None
    backend: Backend | None = None
    cache: CacheState | None = None


class Suite(_Table):
    """A whole suite file."""

    name: _Name
    version: Literal[1] = 1
    description: str = ""
    models: Annotated[tuple[ModelEntry, ...], Field(min_length=1)]
    matrix: Matrix = Matrix()
    options: Options = Options()
    needs: NeedsTable = NeedsTable()
    expect: tuple[Expectation, ...] = ()
    virtual: dict[_Setting, Annotated[str, Field(min_length=1, max_length=1024)]] = {}
    """`[virtual]`: settings of the virtual phone, as `fault = "unplug:seconds=2@load"`; none on a physical one."""

    @model_validator(mode="after")
    def _names(self) -> Suite:
        names = [model.name for model in self.models]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"model names must differ; given twice: {', '.join(sorted(twice))}")
        for rule in self.expect:
            if rule.model is not None and rule.model not in names:
                raise ValueError(f"[[expect]] names the model {rule.model!r}, which the suite does not have")
            if rule.backend not in (None, *self.matrix.backends) or rule.cache not in (None, *self.matrix.caches):
                raise ValueError(f"[[expect]] of {rule.outcome} matches no case of the matrix")
        return self


def load_suite(path: Path) -> Suite:
    """Reads a suite file. Raises SuiteError naming the file, the key and what is wrong with it."""
    try:
        if path.stat().st_size > MAX_SUITE_BYTES:
            raise SuiteError(f"{path}: more than {MAX_SUITE_BYTES} bytes; a suite is a small text file")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: not TOML: {error}") from error
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        places = [_place(item["loc"], item["msg"]) for item in error.errors(include_url=False, include_input=False)]
        raise SuiteError(f"{path}: " + "; ".join(places)) from error
    models = tuple(_resolve(model, path.parent) for model in suite.models)
    return suite.model_copy(update={"models": models})


def _place(location: tuple[int | str, ...], message: str) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return f"{where or 'suite'}: {message.removeprefix('Value error, ')}"


def _resolve(model: ModelEntry, folder: Path) -> ModelEntry:
    if model.path is None or model.path.is_absolute():
        return model
    return model.model_copy(update={"path": folder / model.path})
