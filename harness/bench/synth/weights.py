"""The values of random weights, in chunks and without ever holding a model.

The generator is PCG64 with numpy's SeedSequence, used through ``random_raw``: numpy guarantees that stream across
versions and machines (NEP 19), which it does not for ``Generator.integers`` and the like. One block of values a kind is
made, and each matrix reads it from another place on, so that a gigabyte is written at the disk's speed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.bench.synth.graph import TensorType, Weights

BLOCK_BYTES = 32 * 1024 * 1024
ALIGNMENT = 64
"""Weights begin on a multiple of it in the file, and in the block."""
CHUNK_BYTES = 4 * 1024 * 1024
STEP = 40503 * ALIGNMENT
"""How far apart neighbouring matrices start in the block; an odd multiple, so that they differ."""
FLOAT_RANGE = 0.02 * 3**0.5
"""Uniform floats in ± this have the standard deviation 0.02, which is usual for untrained weights."""


class WeightSource:
    """Makes the bytes of a model's weights; the same seed gives the same bytes."""

    def __init__(self, seed: int, largest_bytes: int) -> None:
        """A model whose largest matrix has ``largest_bytes`` needs no longer block than that."""
        aligned = -(-largest_bytes // ALIGNMENT) * ALIGNMENT
        self._block_bytes = max(ALIGNMENT, min(BLOCK_BYTES, aligned))
        self._seed = seed
        self._blocks: dict[TensorType, bytes] = {}

    def chunks(self, weights: Weights) -> Iterator[memoryview]:
        """Yield the matrix's bytes in pieces of at most CHUNK_BYTES."""
        block = memoryview(self._block(weights.type))
        offset = weights.number * STEP % len(block)
        left = weights.bytes
        while left:
            count = min(left, len(block) - offset, CHUNK_BYTES)
            yield block[offset : offset + count]
            left -= count
            offset = (offset + count) % len(block)

    def _block(self, kind: TensorType) -> bytes:
        if kind not in self._blocks:
            # Every kind has a stream of its own, so that a model's int8 values do not depend on its other kinds.
            raw = np.random.PCG64([self._seed, int(kind)]).random_raw(self._block_bytes // 8)
            words = np.asarray(raw, np.uint64).astype("<u8", copy=False)
            self._blocks[kind] = _values(kind, words)
        return self._blocks[kind]


def _values(kind: TensorType, words: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> bytes:
    """Turn random words into values of a kind."""
    if kind is TensorType.INT8:
        # Symmetric quantization has no -128.
        return np.maximum(words.view(np.int8), np.int8(-127)).tobytes()
    if kind is TensorType.FLOAT32:
        # 24 bits fit a float exactly: no rounding that a machine could do in another way.
        fractions = (words.view("<u4") >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
        return (fractions * np.float32(FLOAT_RANGE)).astype("<f4").tobytes()
    return words.tobytes()
