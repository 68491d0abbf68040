"""Will it load? What a load takes, from the model file's own figures, held against the phone's limits.

Pure; may know only `core`. The constants were measured with LiteRT-LM 0.18.1 on a virtual iPhone; how well they do is
measured by `tests/benchmarks/bench_preflight.py` and told in docs/preflight.md. Not yet compared with a real iPhone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.analysis.preflight_calibration import NOT_CALIBRATED, Calibration
from harness.core.job import Backend, CacheState, Engine
from harness.core.model_file import ModelFile, Signature, SignatureKind
from harness.core.units import format_bytes

MARGIN = 0.10
"""A prediction this close to a limit decides nothing. Beyond the largest error seen in docs/preflight.md."""

LIBRARY_BYTES = 5_680_000
"""What the engine's library and its first objects take, whatever the model."""
OPERATOR_BYTES = 3_092
"""Of the engine's own book-keeping, for each step of each signature's graph."""
TOKENIZER_FACTOR = 12.6
"""A SentencePiece model in memory, with the buffers for as many logits, against its file. Other kinds: assumed."""
PACKED_FACTOR = 1.019
"""Weights as XNNPACK packs them, against the file: sums and scales of each row come on top."""
BUILT_FACTOR = 1.038
"""The largest matrix while the cache is built, against the file; its memory stays until the unload."""
THREAD_STACKS_BYTES = 40 << 20
"""Address space of the engine's threads and of the allocator's reserves, beyond what is ever touched."""
DEFAULT_BASE_BYTES = 10 << 20
"""Footprint of an app that has loaded nothing, where no app was asked."""
PROMPT_BYTES_PER_TOKEN = 2.0
"""English text has about 4 bytes a token, text that the tokenizer knows little of 1: the middle, on the safe side."""


class Verdict(StrEnum):
    """The best first."""

    WILL_LOAD = "will_load"
    TOO_CLOSE = "too_close"
    """To a limit, to say."""
    WILL_NOT_LOAD = "will_not_load"


@dataclass(frozen=True)
class Load:
    """What is asked of the app, as far as memory depends on it."""

    engine: Engine
    backend: Backend
    cache: CacheState
    prompt_bytes: int | None = None
    """None: nothing is generated."""
    copies: int = 1
    gpu_emulated: bool = False
    """The phone is a virtual one that emulates a GPU: the weights are held twice."""


@dataclass(frozen=True)
class AppLimits:
    """What an app found before it loaded anything; None: not known."""

    footprint_bytes: int | None = None
    """The limit on the footprint."""
    base_bytes: int | None = None
    """The app's own footprint."""
    mapping_bytes: int | None = None
    """The largest private mapping that it could have had."""
    mapping_is_all: bool = False
    """That is all it could map, as under a virtual phone's RLIMIT_DATA; on a phone it is the largest of many holes."""


@dataclass(frozen=True)
class Part:
    """One thing that takes memory."""

    name: str
    footprint_bytes: int
    address_bytes: int
    """Private writable address space, beyond what the app has before the load."""


@dataclass(frozen=True)
class Prediction:
    parts: tuple[Part, ...]
    largest_mapping_bytes: int
    """Of one piece of address space that cannot be had in parts: the file's."""
    calibration: Calibration = NOT_CALIBRATED

    @property
    def peak_footprint_bytes(self) -> int:
        return round(self.calibration.factor * sum(part.footprint_bytes for part in self.parts))

    @property
    def address_bytes(self) -> int:
        """As predicted by the parts: no record tells what address space a load took."""
        return sum(part.address_bytes for part in self.parts)

    @property
    def words(self) -> str:
        """The three largest parts, as in `peak 115 MiB (packed weights 69.9 MiB, …)`."""
        largest = sorted(self.parts, key=lambda part: part.footprint_bytes, reverse=True)[:3]
        named = ", ".join(f"{part.name} {format_bytes(part.footprint_bytes)}" for part in largest)
        return f"peak {format_bytes(self.peak_footprint_bytes)} ({named}{self.calibration.words})"


@dataclass(frozen=True)
class Unpredictable:
    """No prediction, and why."""

    reason: str


@dataclass(frozen=True)
class Judgement:
    """`verdict` None: no limit is known."""

    verdict: Verdict | None
    reason: str


def predict(
    model: ModelFile, load: Load, base_bytes: int | None = None, calibration: Calibration = NOT_CALIBRATED
) -> Prediction | Unpredictable:
    """The peak of the load. `base_bytes`: see AppLimits."""
    base = Part("app", DEFAULT_BASE_BYTES if base_bytes is None else base_bytes, 0)
    parts: tuple[Part, ...] | Unpredictable
    match load.engine:
        case Engine.MMAP:
            # mapped read-only: neither footprint nor private writable memory
            parts = ()
        case Engine.READ:
            parts = (Part("file", model.size_bytes * load.copies, model.size_bytes * load.copies),)
        case Engine.LITERT_LM:
            parts = _litert_lm(model, load)
        case Engine.MEDIAPIPE:
            parts = Unpredictable("what MediaPipe takes has not been measured yet")
    if isinstance(parts, Unpredictable):
        return parts
    return Prediction((base, *parts), model.size_bytes if parts else 0, calibration)


def _litert_lm(model: ModelFile, load: Load) -> tuple[Part, ...] | Unpredictable:
    if load.backend is Backend.GPU and not load.gpu_emulated:
        return Unpredictable("what LiteRT-LM takes on a GPU has not been measured yet")
    prefills = [one for one in model.signatures if one.kind is SignatureKind.PREFILL and one.tokens is not None]
    decodes = [one for one in model.signatures if one.kind is SignatureKind.DECODE]
    if not prefills or not decodes:
        return Unpredictable(f"the {model.format} file states no prefill and decode signatures")
    if model.context is None or model.kv_bytes_per_token is None:
        return Unpredictable("the file does not say how large its key and value caches are")
    file, copies = model.size_bytes, load.copies
    sizes = {
        "key and value caches": copies * model.context * model.kv_bytes_per_token,
        "tokenizer": copies * round(TOKENIZER_FACTOR * model.tokenizer_bytes),
        "graphs": copies * OPERATOR_BYTES * sum(one.operators for one in model.signatures),
        **_weights(model, load),
    }
    if load.backend is Backend.GPU:
        sizes["weights on the emulated GPU"] = copies * file
    if load.prompt_bytes is not None:
        # the last copy generates
        prefill = _used(prefills, load.prompt_bytes)
        activations = _activations(prefill, decodes)
        if activations is None:
            return Unpredictable("the file does not fix the shapes of what is computed")
        sizes["activations"] = activations
        sizes["mask"] = round(model.context * (model.mask_bytes_per_token or 0) * _share(prefill, prefills))
    return (
        Part("engine", LIBRARY_BYTES, LIBRARY_BYTES + THREAD_STACKS_BYTES),
        # mapped privately and writably, and never written
        Part("model file", 0, copies * file),
        *(Part(name, size, size) for name, size in sizes.items()),
    )


def _weights(model: ModelFile, load: Load) -> dict[str, int]:
    """Without a cache each signature packs all that it multiplies with; while one is built, a matrix at a time, and
    what that took stays. Further copies find the cache that the first one has built.
    """
    if load.cache is CacheState.NONE:
        packed = round(PACKED_FACTOR * sum(one.weight_bytes for one in model.signatures))
        return {"packed weights": load.copies * packed}
    if load.cache is CacheState.COLD:
        return {"largest matrix": round(BUILT_FACTOR * max(one.largest_weight_bytes for one in model.signatures))}
    return {}


def _used(prefills: list[Signature], prompt_bytes: int) -> Signature:
    """The engine takes the longest that the prompt fills, else the shortest."""
    tokens = prompt_bytes / PROMPT_BYTES_PER_TOKEN
    ordered = sorted(prefills, key=lambda one: one.tokens or 0)
    return next((one for one in reversed(ordered) if (one.tokens or 0) <= tokens), ordered[0])


def _share(prefill: Signature, prefills: list[Signature]) -> float:
    """Of the longest signature's mask: the file states that one's size."""
    return (prefill.tokens or 0) / max(one.tokens or 1 for one in prefills)


def _activations(prefill: Signature, decodes: list[Signature]) -> int | None:
    """Prefill and decode share one workspace."""
    sizes = [one.activation_bytes for one in (prefill, *decodes)]
    known = [size for size in sizes if size is not None]
    return max(known) if len(known) == len(sizes) else None


def judge(prediction: Prediction, limits: AppLimits) -> Judgement:
    """Against both walls; the one that is worse decides."""
    verdicts: list[Verdict] = []
    words = [prediction.words]
    if limits.footprint_bytes is not None:
        verdict = _against(prediction.peak_footprint_bytes, limits.footprint_bytes)
        verdicts.append(verdict)
        words.append(f"{_SAYS[verdict]} the footprint's limit of {format_bytes(limits.footprint_bytes)}")
    if limits.mapping_bytes is not None:
        verdict = _against(prediction.address_bytes, limits.mapping_bytes)
        if verdict is Verdict.WILL_NOT_LOAD and not limits.mapping_is_all:
            # it need not lie in one hole, unless one mapping alone is too large for the largest
            alone = _against(prediction.largest_mapping_bytes, limits.mapping_bytes)
            verdict = max(Verdict.TOO_CLOSE, alone, key=_rank)
        verdicts.append(verdict)
        address = f"address space {format_bytes(prediction.address_bytes)}"
        words.append(f"{address}, {_SAYS[verdict]} the {format_bytes(limits.mapping_bytes)} that can be mapped")
    if not verdicts:
        return Judgement(None, "; ".join([*words, "the phone's limits are not known"]))
    return Judgement(max(verdicts, key=_rank), "; ".join(words))


def _rank(verdict: Verdict) -> int:
    return tuple(Verdict).index(verdict)


def worse(one: Judgement, other: Judgement) -> Judgement:
    """The one with the worse verdict; `one` where they are alike, or `other` has none."""
    if other.verdict is None or (one.verdict is not None and _rank(one.verdict) >= _rank(other.verdict)):
        return one
    return other


_SAYS = {Verdict.WILL_LOAD: "within", Verdict.TOO_CLOSE: "too close to", Verdict.WILL_NOT_LOAD: "beyond"}


def _against(need_bytes: int, limit_bytes: int) -> Verdict:
    if need_bytes > limit_bytes * (1 + MARGIN):
        return Verdict.WILL_NOT_LOAD
    return Verdict.WILL_LOAD if need_bytes < limit_bytes * (1 - MARGIN) else Verdict.TOO_CLOSE
