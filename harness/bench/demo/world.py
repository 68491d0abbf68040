"""The phones, the cases and the levels of the demo. The values mean nothing: they are only of a likely size."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from harness.core.job import Backend, CacheState
from harness.core.units import GIB, MIB

SUITE = "demo-nightly"
ENGINE = "litert_lm"
HOST = "demo"
LAST_NIGHT = date(2026, 9, 30)
"""Of every demo, whenever it is made: the same seed gives the same records."""
DEFAULT_NIGHTS = 120
TRIALS = 5
"""Of a case on a night."""
_BASE_BYTES = 96 * MIB
"""What the app has without a model."""


@dataclass(frozen=True)
class Model:
    """A model file that is not there."""

    name: str
    size_bytes: int
    quantization: str


@dataclass(frozen=True)
class DemoCase:
    """A case of the suite, the same on every class of phones."""

    model: Model
    backend: Backend
    cache: CacheState

    @property
    def name(self) -> str:
        return f"{self.model.name}/{ENGINE}/{self.backend.value}/{self.cache.value}"


@dataclass(frozen=True)
class DemoPhone:
    """A phone of a class; it runs the cases at these places of CASES."""

    udid: str
    first_case: int
    last_case: int


@dataclass(frozen=True)
class DeviceClass:
    """Phones of one product type."""

    product_type: str
    ram_bytes: int
    limit_bytes: int
    slowness: float
    """Times are so many times those of the fastest class."""
    phones: tuple[DemoPhone, ...]


@dataclass(frozen=True)
class Levels:
    """What a case usually takes on a class; the names are the records' columns."""

    peak_footprint_bytes: float
    peak_resident_bytes: float
    leftover_footprint_bytes: float
    load_ns: float
    ttft_ns: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float


_SMALL = Model("demo-0.5b-q8", 560_000_000, "int8")
_INT4 = Model("demo-1b-int4", 780_000_000, "int4")
_Q8 = Model("demo-1b-q8", 1_350_000_000, "int8")
_LARGE = Model("demo-3b-int4", 2_050_000_000, "int4")

CASES: tuple[DemoCase, ...] = (
    DemoCase(_SMALL, Backend.CPU, CacheState.COLD),
    DemoCase(_SMALL, Backend.GPU, CacheState.WARM),
    DemoCase(_INT4, Backend.CPU, CacheState.COLD),
    DemoCase(_INT4, Backend.CPU, CacheState.WARM),
    DemoCase(_INT4, Backend.GPU, CacheState.WARM),
    DemoCase(_Q8, Backend.CPU, CacheState.COLD),
    DemoCase(_Q8, Backend.GPU, CacheState.WARM),
    DemoCase(_LARGE, Backend.GPU, CacheState.WARM),
)
(SMALL_CPU, SMALL_GPU, INT4_CPU_COLD, INT4_CPU_WARM, INT4_GPU, Q8_CPU, Q8_GPU, LARGE_GPU) = CASES

NEW, MIDDLE, OLD = CLASSES = (
    DeviceClass(
        "iPhone17,1",
        8 * GIB,
        3376 * MIB,
        1.0,
        (DemoPhone("00000000-DEMO000000000001", 0, 3), DemoPhone("00000000-DEMO000000000002", 4, 7)),
    ),
    DeviceClass("iPhone16,1", 8 * GIB, 3376 * MIB, 1.2, (DemoPhone("00000000-DEMO000000000003", 0, 7),)),
    DeviceClass("iPhone14,5", 4 * GIB, 2098 * MIB, 1.7, (DemoPhone("00000000-DEMO000000000004", 0, 7),)),
)
PROMPT_TOKENS = 64
DECODE_TOKENS = 48


def never_loads(device: DeviceClass, case: DemoCase) -> bool:
    """Whether the case takes more than the class grants: the suite expects that it is killed."""
    return levels_of(device, case).peak_footprint_bytes > device.limit_bytes


def levels_of(device: DeviceClass, case: DemoCase) -> Levels:
    """Memory by the file's size and the backend; times by the class, too."""
    size, gigabytes = case.model.size_bytes, case.model.size_bytes / 1e9
    gpu, cold = case.backend is Backend.GPU, case.cache is CacheState.COLD
    peak = _BASE_BYTES + size * (1.12 if gpu else 0.82 if cold else 0.34)
    prefill = (620 if gpu else 240) / gigabytes / device.slowness
    return Levels(
        peak_footprint_bytes=peak,
        peak_resident_bytes=_BASE_BYTES + size * (1.2 if gpu else 1.35 if cold else 1.02),
        leftover_footprint_bytes=_BASE_BYTES * (1.6 if gpu else 1.2),
        load_ns=1e9 * gigabytes * (0.9 if gpu else 2.1 if cold else 0.5) * device.slowness,
        ttft_ns=1e9 * (PROMPT_TOKENS / prefill + 0.04 * gigabytes * device.slowness),
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=(24 if gpu else 15) / gigabytes / device.slowness,
    )
