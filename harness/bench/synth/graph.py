"""A TensorFlow Lite graph in memory: tensors, operators, signatures. Knows TFLite's vocabulary, not its encoding.

Numbers come from tensorflow/compiler/mlir/lite/schema/schema.fbs: BuiltinOperator, BuiltinOptions, TensorType. Only the
operators of a decoder-only language model are here. Every method that computes returns the index of the new tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt


class TensorType(IntEnum):
    """schema.fbs, TensorType."""

    FLOAT32 = 0
    INT32 = 2
    INT8 = 9
    INT4 = 17


class Op(IntEnum):
    """schema.fbs, BuiltinOperator."""

    ADD = 0
    CONCATENATION = 2
    EMBEDDING_LOOKUP = 7
    FULLY_CONNECTED = 9
    LOGISTIC = 14
    MUL = 18
    RESHAPE = 22
    SOFTMAX = 25
    TRANSPOSE = 39
    MEAN = 40
    SUB = 41
    CAST = 53
    SLICE = 65
    SIN = 66
    RSQRT = 76
    PACK = 83
    COS = 108
    BATCH_MATMUL = 126
    DYNAMIC_UPDATE_SLICE = 151


@dataclass(frozen=True)
class Options:
    """An operator's options table: its number in the union BuiltinOptions, and (slot, kind, value) of its fields."""

    union_type: int
    fields: tuple[tuple[int, str, float], ...]


NO_ACTIVATION = (0, "int8", 0)
ADD_OPTIONS = Options(11, (NO_ACTIVATION,))
MUL_OPTIONS = Options(21, (NO_ACTIVATION,))
SUB_OPTIONS = Options(28, (NO_ACTIVATION,))
SOFTMAX_OPTIONS = Options(9, ((0, "float32", 1.0),))
MEAN_OPTIONS = Options(27, ((0, "bool", 1),))
BATCH_MATMUL_OPTIONS = Options(101, ((0, "bool", 0),))
FULLY_CONNECTED_OPTIONS = Options(8, (NO_ACTIVATION, (2, "bool", 1)))
INT_TO_FLOAT_OPTIONS = Options(37, ((0, "int8", TensorType.INT32), (1, "int8", TensorType.FLOAT32)))
PACK_4_OPTIONS = Options(59, ((0, "int32", 4), (1, "int32", 0)))
ABSENT = -1
"""An optional input that is not given."""

FULLY_CONNECTED_VERSIONS = {TensorType.FLOAT32: 1, TensorType.INT8: 5, TensorType.INT4: 12}
"""The operator's version that brought each kind of weights (register.cc)."""


@dataclass(frozen=True)
class Weights:
    """A matrix of random weights, ``rows`` × ``columns``; its values are made when it is written."""

    number: int
    """Position among the model's weights: it seeds the values."""
    rows: int
    columns: int
    type: TensorType

    @property
    def bytes(self) -> int:
        """Size on disk; two INT4 values share a byte."""
        values = self.rows * self.columns
        if self.type is TensorType.INT4:
            return (values + 1) // 2
        return values * (4 if self.type is TensorType.FLOAT32 else 1)

    @property
    def scale(self) -> float | None:
        """Quantization step, the same for each row: products keep about the size of what goes in. None for floats."""
        if self.type is TensorType.FLOAT32:
            return None
        # Standard deviations of the uniform values that the maker writes: -127..127 and -8..7.
        deviation = 73.6 if self.type is TensorType.INT8 else 4.6
        return 1.0 / (deviation * math.sqrt(self.columns))


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph; ``buffer`` 0 means that it is computed."""

    shape: tuple[int, ...]
    type: TensorType
    buffer: int
    name: str
    scale: float | None = None


@dataclass(frozen=True)
class Operator:
    """One step of a graph."""

    code: int
    inputs: tuple[int, ...]
    output: int
    options: Options | None


Named = tuple[str, int]


@dataclass
class Model:
    """A model: buffers shared by its graphs, operator codes, and one signature a graph."""

    buffers: list[bytes | Weights | None] = field(default_factory=lambda: [None])
    """Buffer 0 is empty by definition."""
    codes: dict[tuple[Op, int], int] = field(default_factory=dict)
    graphs: list[Graph] = field(default_factory=list)
    _constants: dict[bytes, int] = field(default_factory=dict)
    _weights: int = 0

    def weights(self, rows: int, columns: int, kind: TensorType) -> tuple[int, Weights]:
        """Add a matrix of weights; returns its buffer and itself."""
        self._weights += 1
        matrix = Weights(self._weights, rows, columns, kind)
        self.buffers.append(matrix)
        return len(self.buffers) - 1, matrix

    def constant(self, data: bytes) -> int:
        """Add a small constant unless it is there; returns its buffer."""
        if data not in self._constants:
            self.buffers.append(data)
            self._constants[data] = len(self.buffers) - 1
        return self._constants[data]

    def code(self, op: Op, version: int) -> int:
        """Return the index of an operator code."""
        return self.codes.setdefault((op, version), len(self.codes))

    def graph(self, name: str) -> Graph:
        """Add a graph; its name is that of its signature."""
        graph = Graph(self, name)
        self.graphs.append(graph)
        return graph


Matrix = tuple[int, Weights]


class Graph:
    """One signature's graph, built operator by operator."""

    def __init__(self, model: Model, name: str) -> None:
        self.name = name
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: list[Named] = []
        self.outputs: list[Named] = []
        self._model = model
        self._constants: dict[tuple[int, tuple[int, ...]], int] = {}

    def tensor(
        self,
        shape: Sequence[int],
        kind: TensorType = TensorType.FLOAT32,
        *,
        buffer: int = 0,
        name: str | None = None,
        scale: float | None = None,
    ) -> int:
        """Add a tensor."""
        self.tensors.append(Tensor(tuple(shape), kind, buffer, name or f"t{len(self.tensors)}", scale))
        return len(self.tensors) - 1

    def input(self, name: str, shape: Sequence[int], kind: TensorType = TensorType.FLOAT32) -> int:
        """Add an input of the signature."""
        index = self.tensor(shape, kind, name=f"{self.name}_{name}")
        self.inputs.append((name, index))
        return index

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.tensors[tensor].shape

    def constant(self, values: npt.NDArray[np.float32] | npt.NDArray[np.int32]) -> int:
        """Add a constant of 32-bit floats or integers."""
        kind = TensorType.FLOAT32 if values.dtype.kind == "f" else TensorType.INT32
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        key = (self._model.constant(data), values.shape)
        if key not in self._constants:
            self._constants[key] = self.tensor(values.shape, kind, buffer=key[0])
        return self._constants[key]

    def integers(self, *values: int) -> int:
        """Add a one-dimensional constant of integers."""
        return self.constant(np.array(values, np.int32))

    def floats(self, *values: float) -> int:
        """Add a one-dimensional constant of floats."""
        return self.constant(np.array(values, np.float32))

    def matrix(self, matrix: Matrix) -> int:
        """Add the tensor of a matrix of weights."""
        buffer, weights = matrix
        shape = (weights.rows, weights.columns)
        return self.tensor(shape, weights.type, buffer=buffer, scale=weights.scale)

    def apply(
        self,
        op: Op,
        inputs: Sequence[int],
        shape: Sequence[int],
        *,
        kind: TensorType = TensorType.FLOAT32,
        options: Options | None = None,
        version: int = 1,
        name: str | None = None,
    ) -> int:
        """Add an operator with one output."""
        output = self.tensor(shape, kind, name=name)
        self.operators.append(Operator(self._model.code(op, version), tuple(inputs), output, options))
        return output

    def reshape(self, x: int, *shape: int) -> int:
        """Give ``x`` another shape."""
        return self.apply(Op.RESHAPE, [x, self.integers(*shape)], shape, kind=self.tensors[x].type)

    def add(self, a: int, b: int) -> int:
        """Add with broadcasting."""
        return self.apply(Op.ADD, [a, b], self._broadcast(a, b), options=ADD_OPTIONS)

    def subtract(self, a: int, b: int) -> int:
        """Subtract with broadcasting."""
        return self.apply(Op.SUB, [a, b], self._broadcast(a, b), options=SUB_OPTIONS)

    def multiply(self, a: int, b: int) -> int:
        """Multiply with broadcasting."""
        return self.apply(Op.MUL, [a, b], self._broadcast(a, b), options=MUL_OPTIONS)

    def _broadcast(self, a: int, b: int) -> tuple[int, ...]:
        return np.broadcast_shapes(self.shape(a), self.shape(b))

    def transpose(self, x: int, *order: int) -> int:
        """Reorder the axes."""
        return self.apply(Op.TRANSPOSE, [x, self.integers(*order)], [self.shape(x)[axis] for axis in order])

    def slice(self, x: int, begin: Sequence[int], size: Sequence[int]) -> int:
        """Cut a box out of ``x``."""
        inputs = [x, self.integers(*begin), self.integers(*size)]
        return self.apply(Op.SLICE, inputs, size, kind=self.tensors[x].type)

    def concatenate(self, parts: Sequence[int], axis: int) -> int:
        """Join along an axis."""
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self.apply(Op.CONCATENATION, parts, shape, options=Options(10, ((0, "int32", axis), (1, "int8", 0))))

    def batch_matmul(self, a: int, b: int) -> int:
        """Multiply the matrices in the last two axes."""
        shape = (*self.shape(a)[:-1], self.shape(b)[-1])
        return self.apply(Op.BATCH_MATMUL, [a, b], shape, options=BATCH_MATMUL_OPTIONS)

    def fully_connected(self, x: int, matrix: Matrix, *, name: str | None = None) -> int:
        """Multiply the last axis with a matrix of weights."""
        weights = matrix[1]
        return self.apply(
            Op.FULLY_CONNECTED,
            [x, self.matrix(matrix), ABSENT],
            (*self.shape(x)[:-1], weights.rows),
            options=FULLY_CONNECTED_OPTIONS,
            version=FULLY_CONNECTED_VERSIONS[weights.type],
            name=name,
        )
