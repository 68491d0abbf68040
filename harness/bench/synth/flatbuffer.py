"""Encodes a graph (synth_graph) as a TFLite flatbuffer. Weights stay outside: ``Buffer.offset``/``size`` point there.

Slots are field positions in tensorflow/compiler/mlir/lite/schema/schema.fbs. Scalars are written even where they equal
the schema's default, so that the size does not depend on the values and a second pass can fill in the offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import flatbuffers  # type: ignore[import-untyped]  # it ships neither annotations nor stubs
import numpy as np
import numpy.typing as npt

from harness.bench.synth.graph import Graph, Model, Named, Tensor, Weights

SCHEMA_VERSION = 3
FILE_IDENTIFIER = b"TFL3"
DESCRIPTION = "synthetic Llama-shaped model with seeded random weights"
CONSTANT_ALIGNMENT = 16
LAST_OLD_CODE = 127
"""Operator codes beyond it do not fit the deprecated one-byte field, which then holds this."""
FIRST_BYTES = 1 << 20

Offset = int
Field = tuple[str, float]


def encode(model: Model, offsets: Mapping[int, int]) -> bytes:
    """Return the flatbuffer; ``offsets``: each weight buffer's position, counted from the file's beginning."""
    return _Encoder(model, offsets).encode()


class _Encoder:
    def __init__(self, model: Model, offsets: Mapping[int, int]) -> None:
        self._model = model
        self._offsets = offsets
        self._builder = flatbuffers.Builder(FIRST_BYTES)
        self._quantizations: dict[tuple[float, int], Offset] = {}

    def encode(self) -> bytes:
        buffers = self._vector([self._buffer(number) for number in range(len(self._model.buffers))])
        graphs = self._vector([self._graph(graph) for graph in self._model.graphs])
        codes = self._vector(
            [
                self._table(4, {0: ("int8", min(op, LAST_OLD_CODE)), 2: ("int32", version), 3: ("int32", op)})
                for op, version in self._model.codes
            ]
        )
        signatures = self._vector([self._signature(n, graph) for n, graph in enumerate(self._model.graphs)])
        description = self._builder.CreateString(DESCRIPTION)
        fields = {0: ("uint32", SCHEMA_VERSION), 1: ("offset", codes), 2: ("offset", graphs)}
        fields |= {3: ("offset", description), 4: ("offset", buffers), 7: ("offset", signatures)}
        self._builder.Finish(self._table(8, fields), FILE_IDENTIFIER)
        return bytes(self._builder.Output())

    def _buffer(self, number: int) -> Offset:
        content = self._model.buffers[number]
        if content is None:
            return self._table(3, {})
        if isinstance(content, Weights):
            return self._table(3, {1: ("uint64", self._offsets[number]), 2: ("uint64", content.bytes)})
        # CreateByteVector aligns to 4 bytes; XNNPACK wants constants on 16.
        self._builder.StartVector(1, len(content), CONSTANT_ALIGNMENT)
        for byte in reversed(content):
            self._builder.PrependByte(byte)
        return self._table(3, {0: ("offset", self._builder.EndVector())})

    def _graph(self, graph: Graph) -> Offset:
        tensors = self._vector([self._tensor(tensor) for tensor in graph.tensors])
        operators = []
        for operator in graph.operators:
            fields: dict[int, Field] = {
                0: ("uint32", operator.code),
                1: ("offset", self._numbers(operator.inputs, np.int32)),
                2: ("offset", self._numbers([operator.output], np.int32)),
            }
            if operator.options is not None:
                options = {slot: (kind, value) for slot, kind, value in operator.options.fields}
                fields[3] = ("uint8", operator.options.union_type)
                fields[4] = ("offset", self._table(6, options))
            operators.append(self._table(9, fields))
        fields = {
            0: ("offset", tensors),
            1: ("offset", self._numbers([index for _, index in graph.inputs], np.int32)),
            2: ("offset", self._numbers([index for _, index in graph.outputs], np.int32)),
            3: ("offset", self._vector(operators)),
            4: ("offset", self._builder.CreateString(graph.name)),
        }
        return self._table(5, fields)

    def _tensor(self, tensor: Tensor) -> Offset:
        fields: dict[int, Field] = {
            0: ("offset", self._numbers(tensor.shape, np.int32)),
            1: ("int8", tensor.type),
            2: ("uint32", tensor.buffer),
            3: ("offset", self._builder.CreateString(tensor.name)),
        }
        if tensor.scale is not None:
            fields[4] = ("offset", self._quantization(tensor.scale, tensor.shape[0]))
        if not tensor.shape:
            fields[8] = ("bool", 1)  # has_rank: a scalar, not "shape unknown"
        return self._table(10, fields)

    def _quantization(self, scale: float, rows: int) -> Offset:
        """Symmetric, one scale a row (quantized_dimension 0 is the default); equal ones are written once."""
        key = (scale, rows)
        if key not in self._quantizations:
            scales = self._numbers(np.full(rows, scale), np.float32)
            zero_points = self._numbers(np.zeros(rows), np.int64)
            self._quantizations[key] = self._table(7, {2: ("offset", scales), 3: ("offset", zero_points)})
        return self._quantizations[key]

    def _signature(self, number: int, graph: Graph) -> Offset:
        inputs = self._names(graph.inputs)
        outputs = self._names(graph.outputs)
        key = self._builder.CreateString(graph.name)
        return self._table(
            5, {0: ("offset", inputs), 1: ("offset", outputs), 2: ("offset", key), 4: ("uint32", number)}
        )

    def _names(self, named: Iterable[Named]) -> Offset:
        texts = [(self._builder.CreateString(name), index) for name, index in named]
        return self._vector([self._table(2, {0: ("offset", text), 1: ("uint32", index)}) for text, index in texts])

    def _numbers(self, values: Sequence[int] | npt.NDArray[np.float64], kind: type[np.generic]) -> Offset:
        return int(self._builder.CreateNumpyVector(np.asarray(values, kind)))

    def _vector(self, offsets: Sequence[Offset]) -> Offset:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())

    def _table(self, slots: int, fields: Mapping[int, Field]) -> Offset:
        builder = self._builder
        prepend = {
            "offset": builder.PrependUOffsetTRelativeSlot,
            "bool": builder.PrependBoolSlot,
            "int8": builder.PrependInt8Slot,
            "uint8": builder.PrependUint8Slot,
            "int32": builder.PrependInt32Slot,
            "uint32": builder.PrependUint32Slot,
            "uint64": builder.PrependUint64Slot,
            "float32": builder.PrependFloat32Slot,
        }
        builder.StartObject(slots)
        for slot, (kind, value) in fields.items():
            # What equals the third argument is left out; a scalar 0 is therefore compared with 1.
            never = 0 if kind == "offset" or value else 1
            prepend[kind](slot, value, never)
        return int(builder.EndObject())
