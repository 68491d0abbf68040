"""The graphs of a Llama-shaped language model, as the LiteRT engines expect them.

One signature ``prefill_<n>`` a prefill length and one ``decode``; inputs ``tokens``, ``input_pos``, ``mask`` and the
key and value caches of each layer, outputs the caches and, when decoding, ``logits``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harness.bench.synth.graph import (
    INT_TO_FLOAT_OPTIONS,
    MEAN_OPTIONS,
    PACK_4_OPTIONS,
    SOFTMAX_OPTIONS,
    Graph,
    Matrix,
    Model,
    Op,
    TensorType,
)

ROPE_BASE = 500_000.0
"""Llama 3's base of the rotary position embedding."""
NORM_EPSILON = 1e-5
TYPES = {"f32": TensorType.FLOAT32, "int8": TensorType.INT8, "int4": TensorType.INT4}


class Shape(Protocol):
    """What the graphs need of a recipe (synth.Recipe)."""

    @property
    def layers(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def ffn(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def vocab(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def prefill(self) -> tuple[int, ...]: ...
    @property
    def weights(self) -> str: ...
    @property
    def embedding(self) -> str: ...
    @property
    def head(self) -> str | None: ...
    @property
    def tied(self) -> bool: ...


@dataclass(frozen=True)
class Layer:
    """The matrices of one layer."""

    query: Matrix
    key: Matrix
    value: Matrix
    output: Matrix
    gate: Matrix
    up: Matrix
    down: Matrix


@dataclass(frozen=True)
class Parameters:
    """All matrices of the model; each graph uses the same ones."""

    embedding: Matrix
    layers: tuple[Layer, ...]
    head: Matrix


def build(shape: Shape) -> Model:
    """Build the model's graphs."""
    model = Model()
    parameters = _parameters(model, shape)
    for length in shape.prefill:
        _Signature(model.graph(f"prefill_{length}"), shape, parameters, length, decode=False).build()
    _Signature(model.graph("decode"), shape, parameters, 1, decode=True).build()
    return model


def _parameters(model: Model, shape: Shape) -> Parameters:
    kind = TYPES[shape.weights]
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    embedding = model.weights(shape.vocab, shape.dim, TYPES[shape.embedding])
    layers = tuple(
        Layer(
            query=model.weights(queries, shape.dim, kind),
            key=model.weights(keys, shape.dim, kind),
            value=model.weights(keys, shape.dim, kind),
            output=model.weights(shape.dim, queries, kind),
            gate=model.weights(shape.ffn, shape.dim, kind),
            up=model.weights(shape.ffn, shape.dim, kind),
            down=model.weights(shape.dim, shape.ffn, kind),
        )
        for _ in range(shape.layers)
    )
    head = embedding if shape.tied else model.weights(shape.vocab, shape.dim, TYPES[shape.head or shape.weights])
    return Parameters(embedding, layers, head)


class _Signature:
    """Builds one graph for ``length`` tokens at once."""

    def __init__(self, graph: Graph, shape: Shape, parameters: Parameters, length: int, *, decode: bool) -> None:
        self._graph = graph
        self._shape = shape
        self._parameters = parameters
        self._length = length
        self._decode = decode

    def build(self) -> None:
        g, s, length = self._graph, self._shape, self._length
        tokens = g.input("tokens", (1, length), TensorType.INT32)
        positions = g.input("input_pos", (length,), TensorType.INT32)
        self._mask = g.input("mask", (1, 1, length, s.context))
        cache_shape = (1, s.context, s.kv_heads, s.head_dim)
        keys = [g.input(f"kv_cache_k_{layer}", cache_shape) for layer in range(s.layers)]
        values = [g.input(f"kv_cache_v_{layer}", cache_shape) for layer in range(s.layers)]

        self._norm_weight = g.constant(np.ones(s.dim, np.float32))
        self._rotations(positions)
        x = self._embed(tokens)
        last = s.layers - 1
        for number, layer in enumerate(self._parameters.layers):
            normed = self._norm(x)
            keys[number], values[number] = self._remember(normed, layer, keys[number], values[number])
            if number == last and not self._decode:
                break  # a prefill is there to fill the caches: nobody asks for what comes after
            x = g.add(x, self._attend(normed, layer, keys[number], values[number]))
            x = g.add(x, self._feed_forward(self._norm(x), layer))
        if self._decode:
            logits = g.fully_connected(self._norm(x), self._parameters.head, name="logits")
            g.outputs.append(("logits", logits))
        g.outputs += [(f"kv_cache_k_{layer}", tensor) for layer, tensor in enumerate(keys)]
        g.outputs += [(f"kv_cache_v_{layer}", tensor) for layer, tensor in enumerate(values)]

    def _embed(self, tokens: int) -> int:
        g, dim = self._graph, self._shape.dim
        table = g.matrix(self._parameters.embedding)
        row_of = g.reshape(tokens, self._length)
        rows = g.apply(Op.EMBEDDING_LOOKUP, [row_of, table], (self._length, dim))
        return g.reshape(rows, 1, self._length, dim)

    def _rotations(self, positions: int) -> None:
        """Prepare cosine and sine of each position's angles, and where in the caches this call writes."""
        g, half, length = self._graph, self._shape.head_dim // 2, self._length
        steps = np.arange(0, self._shape.head_dim, 2) / self._shape.head_dim
        theta = (1.0 / ROPE_BASE**steps).astype(np.float32)[np.newaxis, :]
        as_float = g.apply(Op.CAST, [positions], (length,), options=INT_TO_FLOAT_OPTIONS)
        angles = g.multiply(g.reshape(as_float, length, 1), g.constant(theta))
        angles = g.reshape(angles, 1, length, 1, half)
        self._cos = g.apply(Op.COS, [angles], (1, length, 1, half))
        self._sin = g.apply(Op.SIN, [angles], (1, length, 1, half))
        zero = g.constant(np.array(0, np.int32))
        first = g.reshape(g.slice(positions, [0], [1]))
        self._start = g.apply(Op.PACK, [zero, first, zero, zero], (4,), kind=TensorType.INT32, options=PACK_4_OPTIONS)

    def _norm(self, x: int) -> int:
        """Root-mean-square normalization over the last axis."""
        g = self._graph
        shape = g.shape(x)
        squares = g.multiply(x, x)
        mean = g.apply(Op.MEAN, [squares, g.integers(len(shape) - 1)], (*shape[:-1], 1), options=MEAN_OPTIONS)
        factor = g.apply(Op.RSQRT, [g.add(mean, g.floats(NORM_EPSILON))], g.shape(mean))
        return g.multiply(g.multiply(x, factor), self._norm_weight)

    def _rotate(self, x: int) -> int:
        """Apply the rotary position embedding to heads in the shape (1, length, heads, head_dim)."""
        g = self._graph
        *front, width = g.shape(x)
        half = width // 2
        a = g.slice(x, [0, 0, 0, 0], [*front, half])
        b = g.slice(x, [0, 0, 0, half], [*front, half])
        turned_a = g.subtract(g.multiply(a, self._cos), g.multiply(b, self._sin))
        turned_b = g.add(g.multiply(b, self._cos), g.multiply(a, self._sin))
        return g.concatenate([turned_a, turned_b], 3)

    def _remember(self, x: int, layer: Layer, keys: int, values: int) -> tuple[int, int]:
        """Write this call's keys and values into the caches."""
        g, s = self._graph, self._shape
        heads = (1, self._length, s.kv_heads, s.head_dim)
        key = self._rotate(g.reshape(g.fully_connected(x, layer.key), *heads))
        value = g.reshape(g.fully_connected(x, layer.value), *heads)
        return (
            g.apply(Op.DYNAMIC_UPDATE_SLICE, [keys, key, self._start], g.shape(keys)),
            g.apply(Op.DYNAMIC_UPDATE_SLICE, [values, value, self._start], g.shape(values)),
        )

    def _attend(self, x: int, layer: Layer, keys: int, values: int) -> int:
        """Grouped-query attention over the whole context."""
        g, s, length = self._graph, self._shape, self._length
        group = s.heads // s.kv_heads
        query = self._rotate(g.reshape(g.fully_connected(x, layer.query), 1, length, s.heads, s.head_dim))
        query = g.multiply(query, g.floats(1 / math.sqrt(s.head_dim)))
        query = g.reshape(g.transpose(query, 0, 2, 1, 3), 1, s.kv_heads, group * length, s.head_dim)
        scores = g.batch_matmul(query, g.transpose(keys, 0, 2, 3, 1))
        scores = g.add(g.reshape(scores, 1, s.heads, length, s.context), self._mask)
        scores = g.apply(Op.SOFTMAX, [scores], g.shape(scores), options=SOFTMAX_OPTIONS)
        scores = g.reshape(scores, 1, s.kv_heads, group * length, s.context)
        mixed = g.reshape(g.batch_matmul(scores, g.transpose(values, 0, 2, 1, 3)), 1, s.heads, length, s.head_dim)
        joined = g.reshape(g.transpose(mixed, 0, 2, 1, 3), 1, length, s.heads * s.head_dim)
        return g.fully_connected(joined, layer.output)

    def _feed_forward(self, x: int, layer: Layer) -> int:
        """SwiGLU."""
        g = self._graph
        gate = g.fully_connected(x, layer.gate)
        gate = g.multiply(gate, g.apply(Op.LOGISTIC, [gate], g.shape(gate)))
        return g.fully_connected(g.multiply(gate, g.fully_connected(x, layer.up)), layer.down)
