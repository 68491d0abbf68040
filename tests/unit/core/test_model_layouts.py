"""Layouts of several converters: where weights, caches and tokens are told apart, and where nothing tells."""

from __future__ import annotations

import pytest

from harness.core.model_file import BytesSource, ModelFile, ModelFileError, read_model_file
from harness.core.model_file.tflite import Op
from tests.model_files import Graph, Step, Tensor, task, tflite

FLOAT16, INT32, BOOL, INT8 = 1, 2, 6, 9
CONTEXT, HEADS, WIDTH = 32, 2, 4
CACHE_BYTES = 2 * HEADS * WIDTH * 4
METADATA = b"\x28\x20"  # a context of 32


def read(data: bytes, metadata: bytes | None = None) -> ModelFile:
    if metadata is not None:
        data = task({"TF_LITE_PREFILL_DECODE": data, "METADATA": metadata})
    return read_model_file(BytesSource("a.file", data))


def with_caches(key: tuple[int, ...], value: tuple[int, ...], *rest: Tensor, **named: int) -> bytes:
    tensors = [Tensor((1, 4), INT32), Tensor(key), Tensor(value), *rest]
    inputs = {"tokens": 0, "kv_cache_k_0": 1, "kv_cache_v_0": 2, **named}
    return tflite(Graph(tensors), signatures={"prefill_4": (0, inputs)})


SEQUENCE_FIRST = (1, CONTEXT, HEADS, WIDTH)
TRANSPOSED = (1, HEADS, CONTEXT, WIDTH), (1, HEADS, WIDTH, CONTEXT)


def test_a_mask_tells_the_context_whatever_the_caches_layout() -> None:
    for key, value in ((SEQUENCE_FIRST, SEQUENCE_FIRST), TRANSPOSED):
        model = read(with_caches(key, value, Tensor((1, 1, 4, CONTEXT)), mask=3))
        assert (model.context, model.kv_bytes_per_token, model.mask_bytes_per_token) == (CONTEXT, CACHE_BYTES, 16)


def test_a_mask_of_truth_values_is_smaller() -> None:
    mask = Tensor((1, 1, 4, CONTEXT), BOOL)
    assert read(with_caches(SEQUENCE_FIRST, SEQUENCE_FIRST, mask, attn_mask=3)).mask_bytes_per_token == 4


def test_metadata_tells_it_where_the_shapes_agree() -> None:
    model = read(with_caches(*TRANSPOSED), METADATA)
    assert (model.context, model.kv_bytes_per_token, model.mask_bytes_per_token) == (CONTEXT, CACHE_BYTES, None)
    other = (1, 48, HEADS, WIDTH)
    model = read(with_caches(other, other), METADATA)
    assert (model.context, model.kv_bytes_per_token) == (CONTEXT, None)


def test_what_a_step_writes_tells_the_axis() -> None:
    """Older exports have no mask; their caches are written a few tokens at a time."""
    tensors = [
        Tensor((1, 4), INT32),
        *(Tensor(SEQUENCE_FIRST),) * 2,
        Tensor((1, 4, HEADS, WIDTH)),
        Tensor((4,), INT32),
        Tensor(SEQUENCE_FIRST),
    ]
    steps = [Step(Op.DYNAMIC_UPDATE_SLICE, (cache, 3, 4), (5,)) for cache in (1, 2)]
    inputs = {"tokens": 0, "k_cache_0": 1, "v_cache_0": 2}
    model = read(tflite(Graph(tensors, steps), signatures={"prefill_4": (0, inputs)}))
    assert (model.context, model.kv_bytes_per_token) == (CONTEXT, CACHE_BYTES)


def test_nothing_tells_nothing() -> None:
    model = read(with_caches(SEQUENCE_FIRST, SEQUENCE_FIRST))
    assert (model.context, model.kv_bytes_per_token, model.mask_bytes_per_token) == (None, None, None)


def test_a_mask_of_another_length_than_the_caches_is_no_witness() -> None:
    model = read(with_caches(SEQUENCE_FIRST, SEQUENCE_FIRST, Tensor((1, 1, 4, 36)), mask=3))
    assert model.context is None


def test_axes_that_are_not_fixed_tell_nothing() -> None:
    tensors = [
        Tensor((1, 1), INT32, dynamic=(1, -1)),
        *(Tensor(SEQUENCE_FIRST, dynamic=(1, -1, HEADS, WIDTH)),) * 2,
        Tensor((1, 1, 1, 1), dynamic=(1, 1, -1, -1)),
    ]
    inputs = {"tokens": 0, "kv_cache_k_0": 1, "kv_cache_v_0": 2, "mask": 3}
    model = read(tflite(Graph(tensors), signatures={"prefill": (0, inputs)}))
    assert model.signatures[0].tokens is None
    assert (model.context, model.kv_bytes_per_token) == (None, None)


@pytest.mark.parametrize(
    ("inputs", "tokens"),
    [({"tokens": 0}, 4), ({"token_ids": 0}, 4), ({"embeddings": 1}, 6), ({"input_pos": 2}, 7), ({"x": 0}, None)],
)
def test_tokens_at_once_are_told_by_the_inputs(inputs: dict[str, int], tokens: int | None) -> None:
    graph = Graph([Tensor((1, 4), INT32), Tensor((1, 6, 64)), Tensor((7,), INT32)])
    assert read(tflite(graph, signatures={"run": (0, inputs)})).signatures[0].tokens == tokens


# --- weights and tables


def test_a_gather_by_tokens_is_an_embedding_and_another_is_not() -> None:
    tensors = [
        Tensor((1, 4), INT32),
        Tensor((4,), INT32),
        Tensor((10, 8), INT8, 1),  # 80 bytes
        Tensor((4, 8)),
        Tensor((32, 2), 0, 2),  # rotations, looked up by position
        Tensor((4,), INT32),
        Tensor((4, 2)),
    ]
    steps = [
        Step(Op.RESHAPE, (0,), (1,)),
        Step(Op.GATHER, (2, 1), (3,)),
        Step(Op.GATHER, (4, 5), (6,)),
        Step(Op.GATHER, (4, 3), (6,)),  # by what an embedding gave
    ]
    signatures = {"prefill_4": (0, {"tokens": 0, "input_pos": 5})}
    model = read(tflite(Graph(tensors, steps), signatures=signatures, buffers=[b"", bytes(80), bytes(256)]))
    assert (model.embedding_bytes, model.weight_bytes) == (80, 336)
    assert model.signatures[0].weight_bytes == 0


def test_weights_behind_a_conversion_are_weights() -> None:
    tensors = [Tensor((1, 8)), Tensor((16, 8), FLOAT16, 1), Tensor((16, 8)), Tensor((1, 16))]
    steps = [Step(Op.DEQUANTIZE, (1,), (2,)), Step(Op.FULLY_CONNECTED, (0, 2, -1), (3,))]
    model = read(tflite(Graph(tensors, steps), signatures={"decode": (0, {})}, buffers=[b"", bytes(256)]))
    assert model.signatures[0].weight_bytes == model.signatures[0].largest_weight_bytes == 256
    assert model.quantization == "float16"


def test_weights_used_twice_count_once_and_biases_not() -> None:
    tensors = [Tensor((1, 8)), Tensor((8, 8), INT8, 1), Tensor((8, 8), INT8, 2), Tensor((8,), 0, 3), Tensor((1, 8))]
    steps = [Step(Op.FULLY_CONNECTED, (0, weights, 3), (4,)) for weights in (1, 2, 1)]
    # two buffers, one place: what a converter shares
    end = 4096
    buffers: list[bytes | tuple[int, int]] = [b"", (end, 64), (end, 64), bytes(32)]
    data = tflite(Graph(tensors, steps), signatures={"decode": (0, {})}, buffers=buffers)
    model = read(data.ljust(end + 64, b"\0"))
    assert (model.signatures[0].weight_bytes, model.weight_bytes) == (64, 96)


def test_what_a_composite_multiplies_with_counts() -> None:
    outer = Graph([Tensor((1, 8)), Tensor((1, 8))], [Step(Op.STABLEHLO_COMPOSITE, (0,), (1,), decomposition=1)])
    inner = Graph(
        [Tensor((1, 8)), Tensor((8, 8), INT8, 1), Tensor((1, 8))], [Step(Op.FULLY_CONNECTED, (0, 1, -1), (2,))]
    )
    model = read(tflite(outer, inner, signatures={"decode": (0, {})}, buffers=[b"", bytes(64)]))
    assert model.signatures[0].weight_bytes == 64


def test_composites_within_themselves_come_to_an_end() -> None:
    graph = Graph([Tensor((1, 8))], [Step(Op.STABLEHLO_COMPOSITE, (0,), (0,), decomposition=0)] * 40)
    with pytest.raises(ModelFileError, match="more entries than a sound file"):
        read(tflite(graph, signatures={"decode": (0, {})}))


def test_weights_in_another_file_are_counted() -> None:
    tensors = [Tensor((1, 8)), Tensor((8, 8), INT8, external=5), Tensor((1, 8))]
    graph = Graph(tensors, [Step(Op.FULLY_CONNECTED, (0, 1, -1), (2,))])
    model = read(tflite(graph, signatures={"decode": (0, {})}, externals={5: 64}))
    assert (model.signatures[0].weight_bytes, model.weights_by_type) == (64, {"int8": 64})
    with pytest.raises(ModelFileError, match="external buffer"):
        read(tflite(graph, signatures={"decode": (0, {})}, externals={5: 1 << 60}))


def test_a_type_of_the_future_is_named_by_its_number() -> None:
    assert read(tflite(Graph([Tensor((4,), 99, 1)]), buffers=[b"", bytes(4)])).weights_by_type == {"type-99": 4}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (tflite(Graph([Tensor((1,))]), signatures={"decode": (3, {})}), "a signature of graph 3 of 1"),
        (tflite(Graph([Tensor((1,), INT8, 7)])), "there is no buffer 7"),
    ],
)
def test_numbers_of_things_that_are_not_there_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(ModelFileError, match=told):
        read(data)
