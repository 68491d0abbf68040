"""A TFLite model: its graphs, constant tensors, signatures and metadata. Weights are located, never read.

Slots and numbers come from tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from harness.core.model_file.flatbuffer import Flatbuffer, Table
from harness.core.model_file.source import I32, Window

IDENTIFIER = b"TFL3"
IDENTIFIER_AT = 4
UNSET_OFFSET = 1
"""`Buffer.offset` of 0 or 1 says that the data lies inside the flatbuffer (schema.fbs)."""
MOST_SIGNATURES = 1024
MOST_AXES = 16
LARGEST_BYTES = 1 << 40
"""Of one tensor: beyond it a number is damage, not a size."""
METADATA_LIMIT_BYTES = 4 * 1024 * 1024

TYPE_NAMES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16",
    8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 13: "resource", 14: "variant",
    15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16", 19: "int2", 20: "uint4",
    21: "float8_e4m3fn", 22: "float8_e5m2",
}  # fmt: skip  # one a line would be a page of numbers
TYPE_BITS = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32, 16: 16, 17: 4,
    18: 16, 19: 2, 20: 4, 21: 8, 22: 8,
}  # fmt: skip


class Op(IntEnum):
    """BuiltinOperator, those that are looked at."""

    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEQUANTIZE = 6
    EMBEDDING_LOOKUP = 7
    FULLY_CONNECTED = 9
    RESHAPE = 22
    GATHER = 36
    TRANSPOSE = 39
    CAST = 53
    TRANSPOSE_CONV = 67
    GATHER_ND = 107
    BATCH_MATMUL = 126
    DYNAMIC_UPDATE_SLICE = 151
    STABLEHLO_COMPOSITE = 206


@dataclass(frozen=True)
class Constant:
    """Where a constant tensor's bytes lie. Two tensors with the same place share them."""

    offset: int
    """In the model; in another file or section where `external` is given."""
    size_bytes: int
    external: int | None = None
    """Number of the external buffer."""


class Tensor:
    """One tensor of a graph."""

    __slots__ = ("_shape", "_table", "buffer", "external", "type")

    def __init__(self, table: Table) -> None:
        self._table = table
        self._shape: tuple[int, ...] | None = None
        self.type = table.byte(1)
        self.buffer = table.u32(2)
        self.external = table.u32(10)

    @property
    def type_name(self) -> str:
        return TYPE_NAMES.get(self.type, f"type-{self.type}")

    @property
    def shape(self) -> tuple[int, ...] | None:
        """None where an axis is not fixed or the shape makes no sense."""
        if self._shape is None:
            self._shape = self._read_shape()
        return self._shape or None

    def _read_shape(self) -> tuple[int, ...]:
        """Empty for what is not fixed, a scalar included."""
        shape = self._table.integers(0)
        fixed = all(axis >= 0 for axis in self._table.integers(7))
        return shape if fixed and len(shape) <= MOST_AXES and all(axis > 0 for axis in shape) else ()

    @property
    def size_bytes(self) -> int | None:
        """None where shape or type do not tell, or tell of more than any memory holds."""
        shape, bits = self.shape, TYPE_BITS.get(self.type)
        if shape is None or bits is None:
            return None
        size = (bits * math.prod(shape) + 7) // 8
        return size if size <= LARGEST_BYTES else None


@dataclass(frozen=True)
class Operator:
    """One step of a graph; tensors by their number in it, -1 where an optional one is not given."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    decomposition: int | None
    """The graph that a composite stands for."""


class Graph:
    """One subgraph."""

    def __init__(self, table: Table, codes: list[int]) -> None:
        self._table = table
        self._codes = codes
        self.tensors = [Tensor(tensor) for tensor in table.tables(0)]

    def tensor(self, number: int) -> Tensor | None:
        """None for an optional one that is not given, and for a number that is none of this graph's."""
        return self.tensors[number] if 0 <= number < len(self.tensors) else None

    def operators(self) -> Iterator[Operator]:
        """In the order in which they run."""
        for table in self._table.tables(3):
            index = table.u32(0)
            code = self._codes[index] if index < len(self._codes) else -1
            options = table.table(12) if code == Op.STABLEHLO_COMPOSITE else None
            inner = options.number(1, I32) if options is not None else None
            yield Operator(code, table.integers(1), table.integers(2), inner)


@dataclass(frozen=True)
class SignatureDefinition:
    """One entry into the graphs: its inputs by name."""

    name: str
    graph: int
    inputs: dict[str, int]


def is_tflite(window: Window) -> bool:
    """Whether a TFLite model begins here."""
    end = IDENTIFIER_AT + len(IDENTIFIER)
    return window.size_bytes >= end and window.read(IDENTIFIER_AT, len(IDENTIFIER)) == IDENTIFIER


class TfliteModel:
    """A model in a part of a file. Raises ModelFileError, also from its properties."""

    def __init__(self, window: Window) -> None:
        self.window = window
        if not is_tflite(window):
            window.refuse(0, "no TFLite model is here (it would have TFL3 at its fifth byte)")
        self._root = Flatbuffer(window).root()
        self._buffers = list(self._root.tables(4))
        self._located: dict[int, Constant | None] = {}
        codes = [max(table.byte(0), table.number(3, I32)) for table in self._root.tables(1)]
        self.graphs = [Graph(table, codes) for table in self._root.tables(2)]

    @cached_property
    def signatures(self) -> list[SignatureDefinition]:
        """As the file lists them."""
        found: list[SignatureDefinition] = []
        for table in self._root.tables(7):
            graph = table.u32(4)
            if graph >= len(self.graphs) or len(found) >= MOST_SIGNATURES:
                self.window.refuse(table.at, f"a signature of graph {graph} of {len(self.graphs)}: damaged")
            inputs = {entry.text(0) or "": entry.u32(1) for entry in table.tables(0)}
            found.append(SignatureDefinition(table.text(2) or "", graph, inputs))
        return found

    @cached_property
    def metadata(self) -> dict[str, int]:
        """Name → number of the buffer."""
        return {table.text(0) or "": table.u32(1) for table in self._root.tables(6)}

    def metadata_constant(self, name: str) -> Constant | None:
        """Where a metadata entry's content lies; None when it is not there or empty."""
        return self.buffer(self.metadata[name]) if name in self.metadata else None

    def metadata_bytes(self, name: str) -> bytes | None:
        """Content of a metadata entry."""
        constant = self.metadata_constant(name)
        if constant is None:
            return None
        if constant.size_bytes > METADATA_LIMIT_BYTES:
            self.window.refuse(constant.offset, f"{name} has {constant.size_bytes} bytes: damaged")
        return self.window.read(constant.offset, constant.size_bytes)

    def constant(self, tensor: Tensor) -> Constant | None:
        """Where the tensor's bytes lie; None for one that is computed."""
        if tensor.external:
            size = self._external_sizes.get(tensor.external)
            return None if size is None else Constant(0, size, tensor.external)
        return self.buffer(tensor.buffer)

    def buffer(self, number: int) -> Constant | None:
        """Where a buffer's bytes lie; None for an empty one."""
        if number not in self._located:
            if number >= len(self._buffers):
                self.window.refuse(0, f"there is no buffer {number}, only {len(self._buffers)}: damaged")
            self._located[number] = self._locate(number)
        return self._located[number]

    def _locate(self, number: int) -> Constant | None:
        table = self._buffers[number]
        offset, size = table.u64(1), table.u64(2)
        if offset <= UNSET_OFFSET:
            inline = table.extent(0, 1)
            return None if inline is None or inline[1] == 0 else Constant(*inline)
        if offset + size > self.window.size_bytes:
            end, last = self.window.begin + offset + size, self.window.begin + self.window.size_bytes
            self.window.refuse(table.at, f"the weights of buffer {number} go to byte {end}, but it ends at byte {last}")
        return Constant(offset, size) if size else None

    @cached_property
    def _external_sizes(self) -> dict[int, int]:
        """Number of an external buffer → its bytes."""
        sizes = {table.u32(0): table.u64(3) for table in self._root.tables(9)}
        if max(sizes.values(), default=0) > LARGEST_BYTES:
            self.window.refuse(0, f"an external buffer of {max(sizes.values())} bytes: damaged")
        return sizes
