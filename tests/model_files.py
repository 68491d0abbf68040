"""Small model files for tests, put together from raw flatbuffer tables: any layout can be written, a wrong one, too."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Union

import flatbuffers  # type: ignore[import-untyped]  # it ships neither annotations nor stubs

from harness.bench.synth import Recipe, make
from harness.core.model_file.tflite import Op

SMALLEST = Recipe(layers=2, dim=8, ffn=8, heads=2, kv_heads=1, head_dim=4, vocab=287, context=16, prefill=(4,))
BLOCK_BYTES = 16 * 1024


@dataclass(frozen=True)
class Number:
    """A scalar of one of flatbuffers' kinds, such as ``Uint32``."""

    kind: str
    value: int


Value = Union[Number, str, bytes, Sequence[int], Sequence["RawTable"], "RawTable"]
RawTable = Mapping[int, Value]
"""Slot → value."""


def flatbuffer(root: RawTable, identifier: bytes | None = None) -> bytes:
    """Encode tables as they are given."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, root), identifier)
    return bytes(builder.Output())


def _table(builder: flatbuffers.Builder, table: RawTable) -> int:
    offsets = {slot: _offset(builder, value) for slot, value in table.items() if not isinstance(value, Number)}
    builder.StartObject(max(table, default=-1) + 1)
    for slot, value in table.items():
        if isinstance(value, Number):
            # None as the default: nothing is left out
            getattr(builder, f"Prepend{value.kind}Slot")(slot, value.value, None)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
    return int(builder.EndObject())


def _offset(builder: flatbuffers.Builder, value: object) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, bytes):
        return int(builder.CreateByteVector(value))
    if isinstance(value, Mapping):
        return _table(builder, value)
    assert isinstance(value, Sequence)
    tables = [_table(builder, one) for one in value if isinstance(one, Mapping)]
    builder.StartVector(4, len(value), 4)
    for one in reversed(tables):
        builder.PrependUOffsetTRelative(one)
    for number in reversed([one for one in value if isinstance(one, int)]):
        builder.PrependInt32(number)
    return int(builder.EndVector())


# --- TFLite


@dataclass(frozen=True)
class Tensor:
    shape: tuple[int, ...]
    type: int = 0
    buffer: int = 0
    dynamic: tuple[int, ...] = ()
    external: int = 0

    def table(self) -> RawTable:
        table: dict[int, Value] = {0: self.shape, 1: Number("Int8", self.type), 2: Number("Uint32", self.buffer)}
        if self.dynamic:
            table[7] = self.dynamic
        if self.external:
            table[10] = Number("Uint32", self.external)
        return table


@dataclass(frozen=True)
class Step:
    op: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    decomposition: int | None = None


@dataclass(frozen=True)
class Graph:
    tensors: Sequence[Tensor]
    steps: Sequence[Step] = ()


def tflite(
    *graphs: Graph,
    signatures: Mapping[str, tuple[int, Mapping[str, int]]] | None = None,
    buffers: Sequence[bytes | tuple[int, int]] = (b"",),
    metadata: Mapping[str, int] | None = None,
    externals: Mapping[int, int] | None = None,
) -> bytes:
    """A model. `signatures`: name → (graph, inputs); a buffer: its bytes or (offset, size); `externals`: id → size."""
    ops = sorted({step.op for graph in graphs for step in graph.steps})
    root: dict[int, Value] = {
        0: Number("Uint32", 3),
        1: [{0: Number("Int8", min(op, 127)), 3: Number("Int32", op)} for op in ops],
        2: [_graph(graph, ops) for graph in graphs],
        4: [_buffer(buffer) for buffer in buffers],
        6: [{0: name, 1: Number("Uint32", buffer)} for name, buffer in (metadata or {}).items()],
        7: [_signature(name, *signature) for name, signature in (signatures or {}).items()],
        9: [{0: Number("Uint32", one), 3: Number("Uint64", size)} for one, size in (externals or {}).items()],
    }
    return flatbuffer(root, b"TFL3")


def _graph(graph: Graph, ops: Sequence[int]) -> RawTable:
    steps: list[RawTable] = []
    for step in graph.steps:
        table: dict[int, Value] = {0: Number("Uint32", ops.index(step.op)), 1: step.inputs, 2: step.outputs}
        if step.decomposition is not None:
            table[12] = {0: "a.composite", 1: Number("Int32", step.decomposition)}
        steps.append(table)
    return {0: [tensor.table() for tensor in graph.tensors], 3: steps}


def _buffer(content: bytes | tuple[int, int]) -> RawTable:
    if isinstance(content, bytes):
        return {0: content} if content else {}
    return {1: Number("Uint64", content[0]), 2: Number("Uint64", content[1])}


def _signature(name: str, graph: int, inputs: Mapping[str, int]) -> RawTable:
    named: list[RawTable] = [{0: key, 1: Number("Uint32", tensor)} for key, tensor in inputs.items()]
    return {0: named, 2: name, 4: Number("Uint32", graph)}


# --- containers


@dataclass(frozen=True)
class LitertlmSection:
    type: int
    content: bytes
    items: Mapping[str, str] | None = None


def litertlm(*sections: LitertlmSection, major: int = 1) -> bytes:
    """A `.litertlm`: the header, then each section on a block of 16 KiB."""
    positions, position = [], BLOCK_BYTES
    for section in sections:
        positions.append((position, position + len(section.content)))
        position = -(-positions[-1][1] // BLOCK_BYTES) * BLOCK_BYTES
    objects: list[RawTable] = [
        {
            0: [{0: key, 1: Number("Uint8", 9), 2: {0: value}} for key, value in (section.items or {}).items()],
            1: Number("Uint64", begin),
            2: Number("Uint64", end),
            3: Number("Uint8", section.type),
        }
        for section, (begin, end) in zip(sections, positions, strict=True)
    ]
    header = flatbuffer({1: {0: objects}})
    out = bytearray(b"LITERTLM" + struct.pack("<IIIIQ", major, 1, 0, 0, 32 + len(header)) + header)
    for section, (begin, _) in zip(sections, positions, strict=True):
        out += bytes(begin - len(out)) + section.content
    return bytes(out)


def task(entries: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip as Python writes it."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", method) as bundle:
        for name, content in entries.items():
            bundle.writestr(name, content)
    return out.getvalue()


def synthetic(recipe: Recipe = SMALLEST) -> bytes:
    """What the model maker writes."""
    with TemporaryDirectory() as folder:
        return make(recipe, Path(folder) / "model.task").path.read_bytes()


def bin_model() -> bytes:
    """A `.bin` as MediaPipe's converter lays it out: weights, and metadata whose contents follow the flatbuffer."""
    contents = [b"\x0a\x05\x10\x80\x08\x38\x10\x10\xac\x02", b"gpu", b"\x0a\x05\x0a\x03<s>"]

    def whole(offsets: Sequence[int]) -> bytes:
        names = ("odml.infra.proto.LlmParameters", "backend", "spm_vocab_model")
        return tflite(
            Graph([Tensor((4, 8), 9, 1), Tensor((4, 8), 17, 2)]),
            buffers=[b"", bytes(32), bytes(16), *zip(offsets, map(len, contents), strict=True)],
            # the number of the last one is no buffer but the type: Gemma 2B
            metadata={**{name: 3 + at for at, name in enumerate(names)}, "odml.infra.LlmModelType": 6},
        )

    size = len(whole([2, 2, 2]))
    ends = [size + sum(map(len, contents[:at])) for at in range(len(contents))]
    return whole(ends) + b"".join(contents)


def small_model() -> bytes:
    """A TFLite model with a step of each kind that is looked at."""
    tensors = [
        Tensor((1, 4), 2),  # tokens
        *(Tensor((1, 16, 1, 4)),) * 2,  # caches
        Tensor((1, 1, 4, 16)),  # mask
        Tensor((8, 4), 9, 1),  # embedding and head
        Tensor((4, 4), 1, 2),  # half-precision weights
        *(Tensor((1, 4, 4)),) * 3,
        Tensor((1, 4, 1, 4)),
        Tensor((1, 4, 8)),
    ]
    steps = [
        Step(Op.EMBEDDING_LOOKUP, (0, 4), (6,)),
        Step(Op.DEQUANTIZE, (5,), (7,)),
        Step(Op.FULLY_CONNECTED, (6, 7, -1), (8,)),
        Step(Op.RESHAPE, (8,), (9,)),
        Step(Op.DYNAMIC_UPDATE_SLICE, (1, 9, 0), (2,)),
        Step(Op.STABLEHLO_COMPOSITE, (8,), (7,), decomposition=1),
        Step(Op.FULLY_CONNECTED, (8, 4, -1), (10,)),
    ]
    inner = Graph([Tensor((1, 4, 4)), Tensor((1, 4, 4))], [Step(Op.BATCH_MATMUL, (0, 0), (1,))])
    inputs = {"tokens": 0, "kv_cache_k_0": 1, "kv_cache_v_0": 2, "mask": 3}
    return tflite(
        Graph(tensors, steps), inner, signatures={"prefill_4": (0, inputs)}, buffers=[b"", bytes(32), bytes(32)]
    )


def small_files() -> dict[str, bytes]:
    """A sound file of each format."""
    model = small_model()
    items = {"model_type": "tf_lite_prefill_decode", "backend_constraint": "cpu"}
    metadata, tokenizer = b"\x0a\x00\x28\x10\x32\x02\x22\x00", b"\x0a\x05\x0a\x03<s>"
    return {
        "task": task({"TF_LITE_PREFILL_DECODE": model, "TOKENIZER_MODEL": tokenizer, "METADATA": metadata}),
        "litertlm": litertlm(
            LitertlmSection(3, model, items), LitertlmSection(5, metadata), LitertlmSection(4, tokenizer)
        ),
        "bin": bin_model(),
        "tflite": model,
    }
