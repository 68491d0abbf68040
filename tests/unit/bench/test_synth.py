"""The model maker: the same bytes everywhere, a well-formed bundle, and clear refusals."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.synth import RECIPES, RecipeError, make, stored_zip
from harness.bench.synth.graph import TensorType, Weights
from harness.bench.synth.tokenizer import SMALLEST_VOCABULARY, tokenizer_model
from harness.bench.synth.weights import CHUNK_BYTES, WeightSource

TINY_SHA256 = "da6921f561ae9e7c2e413aaeaafd21b3ece8b052532de4a0a3129c92eba9c812"
TINY = RECIPES["tiny"]


def test_tiny_is_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    made = make(TINY, tmp_path / "tiny.task")
    assert made.sha256 == TINY_SHA256
    assert made.bytes == made.path.stat().st_size


def test_another_seed_gives_other_weights_of_the_same_size(tmp_path: Path) -> None:
    one = make(TINY, tmp_path / "one.task")
    other = make(replace(TINY, seed=2), tmp_path / "other.task")
    assert one.bytes == other.bytes
    assert one.sha256 != other.sha256


def test_bundle_is_a_stored_zip_with_the_model_on_a_page(tmp_path: Path) -> None:
    path = make(TINY, tmp_path / "tiny.task").path
    with zipfile.ZipFile(path) as bundle:
        assert bundle.testzip() is None
        assert bundle.namelist() == ["TF_LITE_PREFILL_DECODE", "TOKENIZER_MODEL", "METADATA"]
        assert {entry.compress_type for entry in bundle.infolist()} == {zipfile.ZIP_STORED}
        model = bundle.read("TF_LITE_PREFILL_DECODE")
    assert model[4:8] == b"TFL3"
    assert path.read_bytes().index(model) % 4096 == 0


def test_progress_ends_at_the_total_and_no_part_stays(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = make(TINY, tmp_path / "tiny.task", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (made.bytes, made.bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {made.bytes}
    assert list(tmp_path.iterdir()) == [made.path]


def test_interrupted_make_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(TINY, tmp_path / "tiny.task", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_changes_with_the_recipe() -> None:
    fingerprints = {recipe.fingerprint for recipe in RECIPES.values()}
    assert len(fingerprints) == len(RECIPES)
    assert TINY.fingerprint == replace(TINY).fingerprint


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"layers": 0}, "layers"),
        ({"dim": -1}, "dim"),
        ({"heads": 3}, "heads"),
        ({"head_dim": 15}, "head_dim"),
        ({"vocab": SMALLEST_VOCABULARY - 1}, "vocab"),
        ({"prefill": ()}, "prefill"),
        ({"prefill": (8, 8)}, "prefill"),
        ({"prefill": (256,)}, "prefill"),
        ({"weights": "int2"}, "weights"),
        ({"embedding": "int4"}, "embedding"),
        ({"head": "int8"}, "head"),
        ({"head": "f16", "tied": False}, "head"),
        ({"seed": -1}, "seed"),
        ({"layers": 1 << 20}, "the model"),
    ],
)
def test_wrong_recipes_are_refused_by_name(change: dict[str, object], field: str) -> None:
    with pytest.raises(RecipeError, match=f"^{field} must be"):
        replace(TINY, **change)  # type: ignore[arg-type]  # wrong values are the point


@pytest.mark.parametrize("vocabulary", [SMALLEST_VOCABULARY, 512, 5000])
def test_tokenizer_is_one_to_its_own_library(vocabulary: int) -> None:
    sentencepiece = pytest.importorskip("sentencepiece", reason="the foreign oracle is not installed")
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer_model(vocabulary))
    assert processor.GetPieceSize() == vocabulary
    assert (processor.pad_id(), processor.eos_id(), processor.bos_id(), processor.unk_id()) == (0, 1, 2, 3)
    text = "hello memory Zürich 東京 🙂"
    assert processor.decode(processor.encode(text)) == text
    assert processor.unk_id() not in processor.encode(text)


@pytest.mark.parametrize("kind", [TensorType.INT8, TensorType.INT4, TensorType.FLOAT32])
def test_weights_have_their_size_and_differ_from_matrix_to_matrix(kind: TensorType) -> None:
    source = WeightSource(seed=1, largest_bytes=9 * 1024 * 1024)
    contents = []
    for number in (1, 2):
        weights = Weights(number, 2300, 1000, kind)
        chunks = [bytes(chunk) for chunk in source.chunks(weights)]
        assert max(map(len, chunks)) <= CHUNK_BYTES
        contents.append(b"".join(chunks))
        assert len(contents[-1]) == weights.bytes
    assert contents[0] != contents[1]


def test_symmetric_weights_have_no_minus_128() -> None:
    source = WeightSource(seed=1, largest_bytes=1 << 20)
    data = b"".join(source.chunks(Weights(1, 1024, 1024, TensorType.INT8)))
    assert 0x80 not in data
    assert len(set(data)) == 255


def test_zip64_fields_are_understood_by_another_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_zip, "ZIP64_ABOVE", 1000)
    contents = {"LARGE": b"x" * 3000, "SMALL": b"y" * 10}
    entries = [
        stored_zip.Entry("LARGE", 3000, lambda: [b"x" * 1500, b"x" * 1500], alignment=4096),
        stored_zip.Entry("SMALL", 10, lambda: [b"y" * 10]),
    ]
    data = b"".join(stored_zip.write(entries))
    assert len(data) == stored_zip.total_size(entries)
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        assert {name: bundle.read(name) for name in bundle.namelist()} == contents
    assert data.index(b"xxx") == 4096


def test_an_entry_of_another_size_than_announced_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^E has 3 bytes, 4 were announced"):
        b"".join(stored_zip.write([stored_zip.Entry("E", 4, lambda: [b"abc"])]))
