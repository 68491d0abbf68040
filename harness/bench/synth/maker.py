"""Makes language models with random weights, in seconds: what a load costs depends on shapes, not on values.

A made model is a ``.task`` bundle that LiteRT-LM loads and generates with. The same recipe gives the same bytes on
every machine. Whether MediaPipe on a physical iPhone loads it has not been tried yet.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from harness.bench.synth import flatbuffer, llama, stored_zip
from harness.bench.synth.graph import Model, Weights
from harness.bench.synth.tokenizer import SMALLEST_VOCABULARY, llm_metadata, tokenizer_model
from harness.bench.synth.weights import ALIGNMENT, WeightSource

MAKER_VERSION = 1
"""Raise it when the same recipe gives other bytes."""
PAGE_BYTES = 4096
LARGEST_MODEL_BYTES = 16 * 1024**3
"""More than any phone has memory for: a recipe beyond it is a slip of the pen."""
LARGEST_NUMBER = 1 << 24
KINDS = ("int8", "int4", "f32")
EMBEDDING_KINDS = ("int8", "f32")

Progress = Callable[[int, int], None]
"""Takes bytes done and bytes in all."""


class RecipeError(ValueError):
    """No model can be made from this recipe; the message names the field and what it must be."""


@dataclass(frozen=True)
class Recipe:
    """The shape of a model. Raises RecipeError when made with numbers that do not fit together."""

    layers: int
    dim: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    prefill: tuple[int, ...]
    """Lengths of the prefill signatures; without a weight cache each costs a copy of the weights."""
    weights: str = "int8"
    """``int8``, ``int4`` or ``f32``."""
    embedding: str = "int8"
    """``int8`` or ``f32``."""
    head: str | None = None
    """Kind of an untied output matrix; None: as ``weights``."""
    tied: bool = True
    """The output matrix is the embedding."""
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("layers", "dim", "ffn", "heads", "kv_heads", "head_dim", "vocab", "context"):
            _require(0 < getattr(self, name) <= LARGEST_NUMBER, name, f"from 1 to {LARGEST_NUMBER}")
        _require(self.heads % self.kv_heads == 0, "heads", "a multiple of kv_heads")
        _require(self.head_dim % 2 == 0, "head_dim", "even: rotary positions turn pairs")
        _require(self.vocab >= SMALLEST_VOCABULARY, "vocab", f"at least {SMALLEST_VOCABULARY}")
        _require(len(set(self.prefill)) == len(self.prefill) > 0, "prefill", "at least one length, none of them twice")
        _require(
            all(0 < length <= self.context for length in self.prefill), "prefill", "from 1 to the context's length"
        )
        _require(self.weights in KINDS, "weights", f"one of {', '.join(KINDS)}")
        _require(self.embedding in EMBEDDING_KINDS, "embedding", f"one of {', '.join(EMBEDDING_KINDS)}")
        _require(self.head is None or self.head in KINDS, "head", f"None or one of {', '.join(KINDS)}")
        _require(self.head is None or not self.tied, "head", "None when tied: the embedding is the head")
        _require(0 <= self.seed < 1 << 32, "seed", "from 0 to 4294967295")
        _require(self._weight_bytes() <= LARGEST_MODEL_BYTES, "the model", f"at most {LARGEST_MODEL_BYTES} bytes")

    def _weight_bytes(self) -> int:
        """Roughly, without building anything: what int8 weights would take."""
        attention = 2 * (self.heads + self.kv_heads) * self.head_dim * self.dim
        return self.layers * (attention + 3 * self.ffn * self.dim) + 2 * self.vocab * self.dim

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change with the recipe and with the maker."""
        content = json.dumps([MAKER_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


def _require(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise RecipeError(f"{name} must be {rule}")


def _llama_1b(weights: str, embedding: str = "int8", *, tied: bool = True) -> Recipe:
    """The shape of Llama 3.2 1B with a context of 1280."""
    return Recipe(
        layers=16,
        dim=2048,
        ffn=8192,
        heads=32,
        kv_heads=8,
        head_dim=64,
        vocab=128_256,
        context=1280,
        prefill=(8, 128),
        weights=weights,
        embedding=embedding,
        tied=tied,
    )


RECIPES: dict[str, Recipe] = {
    "tiny": Recipe(
        layers=2, dim=64, ffn=128, heads=4, kv_heads=2, head_dim=16, vocab=512, context=128, prefill=(8, 32)
    ),
    "wide": Recipe(
        layers=2, dim=512, ffn=1536, heads=8, kv_heads=4, head_dim=64, vocab=128_256, context=256, prefill=(16,)
    ),
    "llama-3.2-1b-int4": _llama_1b("int4"),
    "llama-3.2-1b-q8": _llama_1b("int8"),
    "llama-3.2-1b-q8-f32emb": _llama_1b("int8", "f32", tied=False),
}
"""The models of the suites: 0.2 MB, 76 MB, 0.75 GB, 1.24 GB and 2.29 GB."""


@dataclass(frozen=True)
class ModelInfo:
    """A made model."""

    path: Path
    bytes: int
    sha256: str


def make(recipe: Recipe, target: Path, progress: Progress | None = None) -> ModelInfo:
    """Write the recipe's ``.task`` to ``target`` by way of a file beside it; needs under 300 MB. Raises OSError."""
    entries = _entries(recipe)
    total = stored_zip.total_size(entries)
    # two processes may make one model at once: each writes aside, and the same recipe has the same bytes
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    done = 0
    try:
        with part.open("wb") as file:
            for chunk in stored_zip.write(entries):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return ModelInfo(target, done, digest.hexdigest())


@cache
def size_of(recipe: Recipe) -> int:
    """What ``make`` would write, in bytes; takes seconds for a large vocabulary."""
    return stored_zip.total_size(_entries(recipe))


def _entries(recipe: Recipe) -> list[stored_zip.Entry]:
    """The bundle's three files, in the order in which MediaPipe's bundler writes them."""
    tflite = _TfliteFile(recipe)
    return [
        stored_zip.Entry("TF_LITE_PREFILL_DECODE", tflite.bytes, tflite.chunks, PAGE_BYTES),
        _small("TOKENIZER_MODEL", tokenizer_model(recipe.vocab)),
        _small("METADATA", llm_metadata(recipe.context)),
    ]


def _small(name: str, data: bytes) -> stored_zip.Entry:
    return stored_zip.Entry(name, len(data), lambda: [data])


class _TfliteFile:
    """The model file: the flatbuffer, then the weights in the order of their buffers, each aligned."""

    def __init__(self, recipe: Recipe) -> None:
        model = llama.build(recipe)
        self._matrices = _matrices(model)
        self._source = WeightSource(recipe.seed, max(weights.bytes for _, weights in self._matrices))
        # The flatbuffer's size does not depend on the offsets in it: encode it once to know where the weights begin.
        probe = flatbuffer.encode(model, dict.fromkeys((number for number, _ in self._matrices), 0))
        position = self._base = _aligned(len(probe), PAGE_BYTES)
        offsets = {}
        for number, weights in self._matrices:
            offsets[number] = position
            position += _aligned(weights.bytes, ALIGNMENT)
        self.bytes = position
        self._flatbuffer = flatbuffer.encode(model, offsets)

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the file's bytes; may be called again."""
        yield self._flatbuffer
        yield bytes(self._base - len(self._flatbuffer))
        for _, weights in self._matrices:
            yield from self._source.chunks(weights)
            yield bytes(-weights.bytes % ALIGNMENT)


def _matrices(model: Model) -> list[tuple[int, Weights]]:
    return [(number, buffer) for number, buffer in enumerate(model.buffers) if isinstance(buffer, Weights)]


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
