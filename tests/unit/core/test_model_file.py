"""Model files are read as their recipe or layout says; what is no model, or a part of one, is refused."""

from __future__ import annotations

import base64
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.bench.synth import Recipe, llama
from harness.bench.synth.graph import Graph as SynthGraph
from harness.bench.synth.graph import Op as SynthOp
from harness.bench.synth.graph import Weights
from harness.core.job import Backend
from harness.core.model_file import BytesSource, ModelFile, ModelFileError, ModelFormat, SignatureKind, read_model_file
from tests.model_files import SMALLEST, Graph, LitertlmSection, Tensor, bin_model, litertlm, synthetic, task, tflite

OFFICIAL_LITERTLM = (
    "c-rmVJ#W)M7{KvMnwB(;N~r)vs6#6;RHZ?V^U}0aK>`U8q^d-$#v~54@~Xr^u$Aw@z{CI>L&eCz&;h}M7?}7BOf1wq=Ukdpf|Z5;"
    "PkQ`zch5a%d%wz^>aG21<z7rFbxuw6;-mADxlgLJL_$JEu_*(7{0hT_T+c}Slqi_~X|<v<a+Q>f>Cy1Hwf82GIVa3*B@9EI;^lMm"
    ";BZod?xV}7nCq`6VQBKrugal+GMfLqM6Ea6eB2v4Za?q`ZbvQ4vqx^N>2>N(t=ky{eb?^<N?i#jIo9QHWO7`V2pUey4?L&W_Zohy"
    "<<z}ex9%yGlD4*7wVdEt&(rH$l@*>@-|VGbQ}piH`ZYc0_&ps<v`pKpsao{AyJ`CAwb_<k%I0!e+pgNVo#OV6Rk~i<F53C>HOtzu"
    "EImlCvDWw8!0&dPz;Anlz-{+*OG>Iss|A@Q6@8D<9Az`7p5v;7*T@%huH|KO^{wq}VXNR}%lSe%+bHKsrG{NE6w9UYI)+2PuJbNW"
    "<-IudE#wnN|Hqu^uOpCxl=-i241<Gif1m&W00000000000000000000000000DqR6P0gfY@#W|gTR)81@eSSz000000000000000"
    "000000000000030)~ZDHb|s&Q_O#DLd%7<vy=Qz<>0R72a$GU-&cp|adTg|xy(X7tFZji1-+5)mE}HhFX`h$q^}UAQYB_qpdp*8l"
    "YS8<|ABSNWSCjqY+wP#L$A6dSG4o7kZ$5EqZtcKxnvONfpN{sPPn!93KfMoq&~191!KB7fRf(uQcDl~A8J9S%e4Izu_fTTf<UEo("
    ")YKf~JmcDQzHfi&vozIDsZ{iy7UV89`4n;87C+Mu0000000000000000000000000008j6xM0ptU%Yv+aW}j1>Eq}7Z};sl`MuY("
    "s<<}0_Z!fPmT3"
)
"""A container of litert-lm-builder 0.18.1 (base 85 of zlib): metadata, a model, a Hugging Face tokenizer."""

RECIPES = {
    "int8": SMALLEST,
    "int4": replace(SMALLEST, weights="int4"),
    "f32": replace(SMALLEST, weights="f32", embedding="f32"),
    "f32 embedding, untied": replace(SMALLEST, embedding="f32", tied=False),
    "int4 head, untied": replace(SMALLEST, head="int4", tied=False, prefill=(2, 8), kv_heads=2),
}
LLM_METADATA = b"\x28\x80\x01"  # field 5, 128
LLM_PARAMETERS = b"\x0a\x03\x10\x80\x02\x2a\x04</s>\x32\x03<s>"  # a sequence of 256, a stop and a start token
EMPTY_MODEL = tflite(Graph([Tensor((1,))]))


def read(data: bytes) -> ModelFile:
    return read_model_file(BytesSource("a.file", data))


def refusal(data: bytes) -> str:
    with pytest.raises(ModelFileError) as caught:
        read(data)
    assert caught.value.file == "a.file"
    assert caught.value.remedy
    return str(caught.value)


# --- synthetic models: the maker's own graphs are the truth


def matrices_of(graph: SynthGraph, codes: Sequence[int]) -> dict[int, Weights]:
    """Buffer → matrix, of the multiplications of one graph."""
    found = {}
    for operator in graph.operators:
        if codes[operator.code] == SynthOp.FULLY_CONNECTED:
            buffer = graph.tensors[operator.inputs[1]].buffer
            content = graph._model.buffers[buffer]
            assert isinstance(content, Weights)
            found[buffer] = content
    return found


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_synthetic_models_are_as_their_recipe_says(recipe: Recipe) -> None:
    truth = llama.build(recipe)
    codes = [op for op, _ in truth.codes]
    model = read(synthetic(recipe))

    used = [matrices_of(graph, codes) for graph in truth.graphs]
    assert [signature.weight_bytes for signature in model.signatures] == [
        sum(matrix.bytes for matrix in one.values()) for one in used
    ]
    assert [signature.largest_weight_bytes for signature in model.signatures] == [
        max(matrix.bytes for matrix in one.values()) for one in used
    ]
    lengths = [(f"prefill_{length}", SignatureKind.PREFILL, length) for length in recipe.prefill]
    assert [(one.name, one.kind, one.tokens) for one in model.signatures] == [
        *lengths,
        ("decode", SignatureKind.DECODE, 1),
    ]

    buffers = [buffer.bytes if isinstance(buffer, Weights) else len(buffer or b"") for buffer in truth.buffers]
    assert model.weight_bytes == sum(buffers)
    assert model.weights_by_type is not None
    assert sum(model.weights_by_type.values()) == model.weight_bytes
    names = {"f32": "float32"}
    assert model.weights_by_type.keys() >= {names.get(recipe.weights, recipe.weights)}
    assert model.embedding_bytes == recipe.vocab * recipe.dim * (4 if recipe.embedding == "f32" else 1)

    assert model.context == recipe.context
    assert model.kv_bytes_per_token == recipe.layers * 2 * recipe.kv_heads * recipe.head_dim * 4
    assert model.mask_bytes_per_token == max(recipe.prefill) * 4
    assert (model.format, model.tokenizer) == (ModelFormat.TASK, "sentencepiece")
    assert (model.architecture, model.backends, model.sha256) == (None, (), None)


def test_most_bytes_name_the_quantization() -> None:
    model = read(synthetic(replace(SMALLEST, weights="int4", dim=64, ffn=256)))
    assert model.quantization == "int4"
    assert replace(model, weights_by_type=None).quantization is None


def test_the_model_alone_is_read_as_well() -> None:
    bundle = synthetic()
    with_bundle = read(bundle)
    section = next(one for one in with_bundle.sections if one.name == "TF_LITE_PREFILL_DECODE")
    alone = read(bundle[section.offset : section.offset + section.size_bytes])
    assert alone.format is ModelFormat.TFLITE
    assert (alone.signatures, alone.context) == (with_bundle.signatures, with_bundle.context)
    assert (alone.tokenizer, alone.sections) == (None, ())


# --- containers


def test_a_container_of_the_official_builder() -> None:
    model = read(zlib.decompress(base64.b85decode("".join(OFFICIAL_LITERTLM))))
    assert model.format is ModelFormat.LITERTLM
    assert [section.name for section in model.sections] == [
        "LLM_METADATA",
        "TF_LITE_PREFILL_DECODE",
        "HF_TOKENIZER_ZLIB",
    ]
    assert model.architecture == "qwen3"
    assert model.backends == (Backend.CPU, Backend.GPU)
    assert model.tokenizer == "huggingface"
    assert (model.context, model.kv_bytes_per_token, model.mask_bytes_per_token) == (16, 16, 16)


def test_other_models_of_a_container_add_weights_but_no_context() -> None:
    inner = synthetic()
    section = read(inner).sections[0]
    main = inner[section.offset : section.offset + section.size_bytes]
    table = tflite(Graph([Tensor((4, 2), 9, 1)]), signatures={"decode": (0, {})}, buffers=[b"", bytes(8)])
    model = read(
        litertlm(
            LitertlmSection(5, LLM_METADATA),
            LitertlmSection(3, table, {"model_type": "tf_lite_embedder", "backend_constraint": "gpu"}),
            LitertlmSection(3, main, {"model_type": "tf_lite_prefill_decode", "backend_constraint": "cpu, npu"}),
            LitertlmSection(4, b"", {"model_type": "tf_lite_prefill_decode"}),
            LitertlmSection(9, b"x"),
        )
    )
    alone = read(inner)
    assert alone.weight_bytes is not None
    assert model.weight_bytes == alone.weight_bytes + 8
    assert model.signatures[0].name == "TF_LITE_EMBEDDER:decode"
    assert model.signatures[0].kind is SignatureKind.OTHER
    assert model.signatures[1:] == alone.signatures
    assert model.context == alone.context
    assert (model.backends, model.tokenizer) == ((Backend.CPU,), "sentencepiece")
    assert [one.name for one in model.sections][-2:] == ["TF_LITE_PREFILL_DECODE:SP_TOKENIZER", "TYPE_9"]


def test_bin_files_state_their_type_and_backend() -> None:
    model = read(bin_model())
    assert model.format is ModelFormat.BIN
    assert (model.architecture, model.backends, model.tokenizer) == ("gemma_2b", (Backend.GPU,), "sentencepiece")
    assert model.context == 1024
    assert model.weights_by_type == {"int8": 32, "int4": 16}
    assert model.signatures == ()
    assert (model.embedding_bytes, model.kv_bytes_per_token) == (None, None)


@pytest.mark.parametrize(
    ("metadata", "context"), [(LLM_METADATA, 128), (LLM_PARAMETERS, 256), (b"", None), (b"\x28\x00", None)]
)
def test_either_metadata_message_is_understood(metadata: bytes, context: int | None) -> None:
    model = read(task({"TF_LITE_PREFILL_DECODE": EMPTY_MODEL, "METADATA": metadata}))
    assert (model.context, model.architecture) == (context, None)


@pytest.mark.parametrize(
    ("tokenizer", "kind"),
    [(b'{"model": {}}', "huggingface"), (b"\x0a\x05\x0a\x03<s>", "sentencepiece"), (b"\x0a\x05ab", None), (b"", None)],
)
def test_tokenizers_are_told_by_their_content(tokenizer: bytes, kind: str | None) -> None:
    assert read(task({"TF_LITE_PREFILL_DECODE": EMPTY_MODEL, "TOKENIZER_MODEL": tokenizer})).tokenizer == kind


# --- refusals


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b'{"error": "gated"}', "error message"),
        (bytes(4096), "prepared and not filled"),
        (b"hello, world", "no model known here"),
        (b"PK\x05\x06" + bytes(18), "empty zip"),
        (b"\x1c\0\0\0TFL", "no model known here"),
        (b"LITERTLM\x01", "4 bytes are expected here, but it ends at byte 9"),
    ],
)
def test_what_is_no_model_is_named_with_a_remedy(data: bytes, told: str) -> None:
    assert told in refusal(data)


def test_a_download_that_stopped_says_how_far_it_should_go() -> None:
    bundle = synthetic()
    section = read(bundle).sections[0]
    told = refusal(bundle[:20_000])
    assert "it ends at byte 20000" in told
    assert f"TF_LITE_PREFILL_DECODE alone goes to byte {section.offset + section.size_bytes}" in told
    assert "download" in told
    assert "directory is missing" in refusal(bundle[:-1])
    container = litertlm(LitertlmSection(3, EMPTY_MODEL))
    assert f"the file ends at {len(container) - 1}" in refusal(container[:-1])
    assert "weights of buffer 2 go to byte" in refusal(
        tflite(Graph([Tensor((4,), 9, 2)]), buffers=[b"", b"", (512, 4096)])
    )


def test_compressed_entries_are_refused() -> None:
    told = refusal(task({"TF_LITE_PREFILL_DECODE": EMPTY_MODEL}, method=zipfile.ZIP_DEFLATED))
    assert "the entry TF_LITE_PREFILL_DECODE is compressed" in told


def test_another_zip_is_no_bundle() -> None:
    assert "it holds word/document.xml" in refusal(task({"word/document.xml": b"<a/>"}))
    assert "no model bundle" in refusal(task({f"data/{number}": b"" for number in range(300)}))


def test_a_part_that_is_no_model_is_refused_where_it_matters() -> None:
    assert "TF_LITE_PREFILL_DECODE, byte" in refusal(task({"TF_LITE_PREFILL_DECODE": b"nothing of the kind"}))
    model = read(task({"TF_LITE_PREFILL_DECODE": EMPTY_MODEL, "TF_LITE_AUX": b"something else"}))
    assert len(model.sections) == 2


def test_metadata_that_is_none_is_refused() -> None:
    bundle = task({"TF_LITE_PREFILL_DECODE": EMPTY_MODEL, "METADATA": b"\x2a\xff"})
    assert "METADATA, byte" in refusal(bundle)


def test_a_newer_container_is_refused() -> None:
    assert "version 2.1" in refusal(litertlm(LitertlmSection(3, EMPTY_MODEL), major=2))


def test_directories_that_lie_are_refused() -> None:
    bundle = bytearray(task({"TF_LITE_PREFILL_DECODE": EMPTY_MODEL, "METADATA": b""}))
    central = bundle.index(b"PK\x01\x02")
    second = bundle.index(b"PK\x01\x02", central + 1)
    elsewhere = bytearray(bundle)
    struct.pack_into("<I", elsewhere, second + 42, 7)
    assert "the entry METADATA does not begin here" in refusal(bytes(elsewhere))
    longer = bytearray(bundle)
    struct.pack_into("<II", longer, central + 20, len(bundle), len(bundle))
    assert "goes to byte" in refusal(bytes(longer))
    both = bytearray(bundle)
    struct.pack_into("<I", both, second + 42, 0)
    struct.pack_into("<II", both, second + 20, 9, 9)
    assert "overlap" in refusal(bytes(both))
    unequal = bytearray(bundle)
    struct.pack_into("<I", unequal, central + 20, len(EMPTY_MODEL) - 1)
    assert "has two sizes" in refusal(bytes(unequal))
    encrypted = bytearray(bundle)
    struct.pack_into("<H", encrypted, central + 8, 1)
    assert "is encrypted" in refusal(bytes(encrypted))


def test_zip64_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = read(synthetic())
    monkeypatch.setattr("harness.bench.synth.stored_zip.ZIP64_ABOVE", 1000)
    bundle = synthetic()
    assert b"PK\x06\x06" in bundle
    large = read(bundle)
    assert replace(large, size_bytes=0, sections=()) == replace(ordinary, size_bytes=0, sections=())
    assert "alone goes to byte" in refusal(bundle[:20_000])


# --- what is read, and how much of it


class HugeSource:
    """A model of ten gigabytes that counts what is read of it."""

    name = "huge.tflite"

    def __init__(self, begin: bytes, size_bytes: int) -> None:
        self._begin = begin
        self.size_bytes = size_bytes
        self.read_bytes = 0

    def read(self, offset: int, size_bytes: int) -> bytes:
        self.read_bytes += size_bytes
        return self._begin[offset : offset + size_bytes].ljust(size_bytes, b"\0")


def test_weights_stay_on_the_disk() -> None:
    half = 5 * 1000**3
    begin = tflite(Graph([Tensor((1,), 9, 1), Tensor((1,), 17, 2)]), buffers=[b"", (4096, half), (4096 + half, half)])
    source = HugeSource(begin, 4096 + 2 * half)
    assert read_model_file(source).weights_by_type == {"int8": half, "int4": half}
    assert source.read_bytes <= 64 * 1024


def test_a_file_that_shrinks_meanwhile_is_told() -> None:
    class Shrinking(HugeSource):
        def read(self, offset: int, size_bytes: int) -> bytes:
            return super().read(offset, size_bytes)[: 16 if self.read_bytes > 16_384 else size_bytes]

    begin = tflite(Graph([Tensor((1,), 9, 1)]), buffers=[b"", bytes(40_000)])
    with pytest.raises(ModelFileError, match="became shorter"):
        read_model_file(Shrinking(begin, len(begin)))
