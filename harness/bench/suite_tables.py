"""The tables of a suite file that say what to run: models, matrix, options, needs, budget."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness.bench.run_options import PreflightMode
from harness.bench.synth import RECIPES, Recipe
from harness.core.job import Backend, CacheState, Engine, PrewarmMode, Variant
from harness.core.units import UnitError, parse_bytes
from harness.device.presence import GRACE_S
from harness.device.readiness import COOL_POLL_S, COOL_TIMEOUT_S, Needs, ThermalState

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
# What the runner takes; the wire language's lines have 64 KiB.
MAX_PROMPT_BYTES = 32 * 1024
MAX_URL_CHARS = 2048


def _fits_the_wire(prompt: str) -> str:
    if len(prompt.encode()) > MAX_PROMPT_BYTES:
        raise ValueError(f"a prompt has at most {MAX_PROMPT_BYTES} bytes of UTF-8")
    return prompt


def _size(text: object) -> object:
    if not isinstance(text, str):
        raise ValueError('write a size with its unit, as in "2 GiB"')
    try:
        return parse_bytes(text)
    except UnitError as error:
        raise ValueError(str(error)) from error


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("an https:// address is needed")
    return url


_SIZE_TEXT = r"^[0-9]{1,18}(\.[0-9]{1,9})? ?(B|KB|MB|GB|KiB|MiB|GiB)$"
# the second argument is what the JSON Schema says a suite file has there
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=Annotated[str, Field(pattern=_SIZE_TEXT)])]
Prompt = Annotated[str, Field(min_length=1), AfterValidator(_fits_the_wire)]
MaxTokens = Annotated[int, Field(ge=1, le=1 << 20)]
MAX_COPIES = 64
Copies = Annotated[int, Field(ge=1, le=MAX_COPIES)]
_IosVersion = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){0,2}$")]


class Table(BaseModel):
    """Unknown keys are refused: a misspelt limit that is silently ignored is worse than none."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Synth(Table):
    """`synth = { base = "wide", context = 1024 }`: a recipe with some of its numbers changed."""

    base: str
    layers: int | None = None
    dim: int | None = None
    ffn: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    vocab: int | None = None
    context: int | None = None
    prefill: tuple[int, ...] | None = None
    weights: str | None = None
    embedding: str | None = None
    head: str | None = None
    tied: bool | None = None
    seed: int | None = None

    @property
    def recipe(self) -> Recipe:
        """Raises ValueError for an unknown base, or numbers that do not fit together."""
        if self.base not in RECIPES:
            raise ValueError(f"unknown recipe {self.base!r}; there are: {', '.join(RECIPES)}")
        return replace(RECIPES[self.base], **self.model_dump(exclude={"base"}, exclude_none=True))

    @model_validator(mode="after")
    def _makes_a_model(self) -> Synth:
        _ = self.recipe
        return self


def _synth(value: object) -> object:
    return {"base": value} if isinstance(value, str) else value


class ModelEntry(Table):
    """`[[models]]`: a file on this machine, one to be fetched, or one that the model maker makes."""

    name: Name
    path: Path | None = None
    """Relative to the suite file."""
    url: Annotated[str, Field(max_length=MAX_URL_CHARS), AfterValidator(_https)] | None = None
    """Fetched by `harness models fetch`, never by a run; needs `sha256`."""
    synth: Annotated[Synth, BeforeValidator(_synth, json_schema_input_type=str | Synth)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the whole file; a file with another one is refused."""
    quantization: Annotated[str, Field(max_length=32)] | None = None
    source: Annotated[str, Field(max_length=MAX_URL_CHARS)] | None = None
    """Where a person gets the file, for one that cannot be fetched."""
    licence: Annotated[str, Field(max_length=256)] | None = None
    """The licence and what it asks for before the download."""

    @model_validator(mode="after")
    def _one_source(self) -> ModelEntry:
        if sum(source is not None for source in (self.path, self.url, self.synth)) != 1:
            raise ValueError("a model has one of `path`, `url`, `synth`")
        if self.url is not None and self.sha256 is None:
            raise ValueError("a model with a `url` needs its `sha256`: what is fetched must be what was meant")
        return self

    @property
    def recipe(self) -> Recipe | None:
        """Of a synthetic model."""
        return None if self.synth is None else self.synth.recipe


class Load(Table):
    """`[loads.NAME]`: a way to load, a value of the matrix' axis `loads`; what is not given is as in `[options]`."""

    prewarm: PrewarmMode | None = None
    prewarm_chunk_bytes: Annotated[int, Field(ge=4096, le=1 << 30)] | None = None
    warmup: bool | None = None
    guard_reserve_bytes: Annotated[int, Field(ge=0, le=1 << 40)] | None = None
    copies: Copies | None = None


class Matrix(Table):
    """`[matrix]`: each model is tried with each combination of these. An empty axis is the one value of `[options]`."""

    engines: Annotated[tuple[Engine, ...], Field(min_length=1)] = (Engine.LITERT_LM,)
    backends: Annotated[tuple[Backend, ...], Field(min_length=1)] = (Backend.CPU,)
    caches: Annotated[tuple[CacheState, ...], Field(min_length=1)] = (CacheState.COLD,)
    variants: tuple[Variant, ...] = ()
    """Build variants of the app: what its entitlements allow it. None: the plain one, or the only app given."""
    max_tokens: tuple[MaxTokens, ...] = ()
    loads: tuple[Name, ...] = ()
    """Names of `[loads.NAME]` tables."""
    prompts: tuple[Name, ...] = ()
    """Names in `[prompts]`."""

    @model_validator(mode="after")
    def _differ(self) -> Matrix:
        for axis, values in self:
            twice = {str(value) for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"{axis}: given twice: {', '.join(sorted(twice))}")
        return self


class Order(StrEnum):
    INTERLEAVED = "interleaved"
    """The first trial of every case, then the second …, so that a slow drift meets all cases alike."""
    SEQUENTIAL = "sequential"
    """All trials of a case, then those of the next."""
    SHUFFLED = "shuffled"
    """Interleaved, each round in an order of its own that follows from `seed`."""


class Options(Table):
    """`[options]`: how each trial is done."""

    trials: Annotated[int, Field(ge=1, le=1000)] = 3
    warmup_trials: Annotated[int, Field(ge=0, le=100)] = 0
    """So many trials of each case come first and are kept, but not counted: their ordinals are 0, -1, …"""
    order: Order = Order.INTERLEAVED
    pause_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Rest between two trials, whatever the phone's temperature."""
    max_tokens: MaxTokens = 512
    prompt: Prompt = "How much memory does the model use?"
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
    copies: Copies = 1
    """Engines of the same file in one process, loaded one after another, all kept; the last one generates."""
    preflight: PreflightMode = PreflightMode.RECORD
    """What becomes of a prediction, from the model's file and the phone's limits, that a model will not load."""
    progress_limit_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Without a new phase, token or result for so long (beside `hold_ms`), the trial is `hung`."""
    grace_s: Annotated[float, Field(ge=0, le=600)] = GRACE_S
    """A phone that is unplugged is waited for so long; back by then, the trial goes on."""

    def changed(self, changes: dict[str, Any]) -> Options:
        """The same with some values replaced; they must be checked ones."""
        return self.model_copy(update=changes)


class NeedsTable(Table):
    """`[needs]`: what the phone must be like before each trial; none is checked that is not given."""

    max_battery_celsius: Annotated[float, Field(ge=-20, le=80)] | None = None
    max_thermal: ThermalState | None = None
    min_battery_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    charging: bool | None = None
    low_power: bool | None = None
    """Absent: Low Power Mode must be off, where the app can tell."""
    min_free: Size | None = None
    min_ram: Size | None = None
    min_ios: _IosVersion | None = None
    max_ios: _IosVersion | None = None
    cool_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = COOL_TIMEOUT_S
    cool_poll_s: Annotated[float, Field(ge=0.05, le=3600)] = COOL_POLL_S

    @property
    def needs(self) -> Needs:
        """The same in the device layer's words."""
        values = self.model_dump()
        return Needs(min_free_bytes=values.pop("min_free"), min_ram_bytes=values.pop("min_ram"), **values)


class Budget(Table):
    """`[budget]`: no trial begins that would go beyond one of these; `harness run --resume` goes on with the rest."""

    max_s: Annotated[float, Field(gt=0, le=30 * 86_400)] | None = None
    max_push: Size | None = None


class Published(Table):
    """`[[published]]`: what others have reported of such a case: shown beside the results as theirs."""

    what: Annotated[str, Field(min_length=1, max_length=500)]
    figure: Annotated[str, Field(min_length=1, max_length=200)]
    """As they give it, in their words and units."""
    source: Annotated[str, Field(max_length=MAX_URL_CHARS), AfterValidator(_https)]


class CaseKeys(Table):
    """What names a case, or a part of it: in rules the cases meant, in steps what is changed."""

    model: Name | None = None
    engine: Engine | None = None
    backend: Backend | None = None
    cache: CacheState | None = None
    variant: Variant | None = None
    max_tokens: MaxTokens | None = None
    load: Name | None = None
    """The name of a `[loads.NAME]` table."""


class FallbackStep(CaseKeys):
    """`[[fallback]]`: a step of the ladder of `harness fallback`, told by what it changes of the suite's first case."""

    context: MaxTokens | None = None
    """Of a synthetic model: made anew with this context. On MediaPipe: the same as `max_tokens`."""

    @model_validator(mode="after")
    def _changes_something(self) -> FallbackStep:
        if not self.changes:
            raise ValueError('a [[fallback]] step changes something, as backend = "cpu"')
        if self.context is not None and self.max_tokens is not None:
            raise ValueError("give context or max_tokens, not both")
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """Only what is given."""
        return self.model_dump(exclude_none=True)
