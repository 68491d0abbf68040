"""What a model file says of itself. Pure values; `read` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.core.job import Backend


class ModelFormat(StrEnum):
    TASK = "task"
    """MediaPipe's bundle: a stored zip."""
    LITERTLM = "litertlm"
    """LiteRT-LM's container of sections."""
    TFLITE = "tflite"
    BIN = "bin"
    """MediaPipe's older single flatbuffer, made for one backend."""


class SignatureKind(StrEnum):
    PREFILL = "prefill"
    DECODE = "decode"
    OTHER = "other"


@dataclass(frozen=True)
class Signature:
    """One entry into the graphs."""

    name: str
    kind: SignatureKind
    tokens: int | None
    """How many at once; None where the file does not say."""
    weight_bytes: int
    """Constant tensors that its matrix multiplications use, each counted once: what an engine without a weight cache
    packs anew for this signature. The embedding's table counts only where it is multiplied with (a tied head).
    """
    largest_weight_bytes: int
    """The largest of them; 0 without any."""
    operators: int = 0
    """Steps of its graph."""
    activation_bytes: int | None = None
    """Computed tensors that live at the same time, at most, caches not counted; None: a size is not fixed."""


@dataclass(frozen=True)
class Section:
    """A part of a container, as it lies in the file."""

    name: str
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class ModelFile:
    """None: the file does not say. Sizes in bytes."""

    format: ModelFormat
    size_bytes: int
    sections: tuple[Section, ...] = ()
    architecture: str | None = None
    """Where stated, as `llama` or `gemma3`; never guessed from the shape or the file's name."""
    weights_by_type: Mapping[str, int] | None = None
    """Type of constant tensors (`int8`, `int4`, `float32` …) → their bytes."""
    weight_bytes: int | None = None
    """All constant tensors, embedding included."""
    embedding_bytes: int | None = None
    signatures: tuple[Signature, ...] = ()
    context: int | None = None
    """Tokens."""
    kv_bytes_per_token: int | None = None
    """Key and value caches of all layers in the caches' own type."""
    mask_bytes_per_token: int | None = None
    """Of the largest signature's attention mask: bytes a token of context."""
    backends: tuple[Backend, ...] = ()
    """Stated in the file; empty: not stated."""
    tokenizer: str | None = None
    """`sentencepiece` or `huggingface`."""
    sha256: str | None = None
    """Of the whole file, where it was asked for."""

    @property
    def tokenizer_bytes(self) -> int:
        """Of the sections that hold one; 0: the file has none, or keeps it elsewhere."""
        return sum(section.size_bytes for section in self.sections if "tokenizer" in section.name.lower())

    @property
    def quantization(self) -> str | None:
        """The type that most of the weights' bytes have; None where nothing is known of them."""
        sizes = self.weights_by_type
        return max(sizes, key=sizes.__getitem__) if sizes else None
