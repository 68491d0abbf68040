"""Whatever a file holds: it is read as a model or refused with the typed error, and little of it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.model_file import BytesSource, ModelFileError, read_model_file
from tests.model_files import small_files, synthetic, task

EXTRA_BYTES = 256 * 1024
"""Pages that several parts of a file have in common."""
INTERESTING = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1])
SOUND = {**small_files(), "synthetic": synthetic()}


class CountingSource(BytesSource):
    """Counts what is read."""

    def read(self, offset: int, size_bytes: int) -> bytes:
        READ_BYTES[0] += size_bytes
        return super().read(offset, size_bytes)


READ_BYTES = [0]


def check(data: bytes) -> None:
    """Reads the file; anything but a model or the typed error fails."""
    READ_BYTES[0] = 0
    try:
        model = read_model_file(CountingSource("a.file", data))
    except ModelFileError as error:
        names_the_file = str(error).startswith("a.file: ")
        assert names_the_file
    else:
        assert model.size_bytes == len(data)
        for section in model.sections:
            assert 0 <= section.offset <= section.offset + section.size_bytes <= len(data)
        if model.weights_by_type is None:
            assert model.weight_bytes is None, "no part of the file says what it weighs"
        else:
            assert model.weight_bytes == sum(model.weights_by_type.values())
        for signature in model.signatures:
            assert 0 <= signature.largest_weight_bytes <= signature.weight_bytes
    assert READ_BYTES[0] <= 4 * len(data) + EXTRA_BYTES


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_read(name: str) -> None:
    model = read_model_file(BytesSource("a.file", SOUND[name]))
    assert model.format.value == name.replace("synthetic", "task")
    assert model.context == (1024 if name == "bin" else 16)


@pytest.mark.parametrize("name", SOUND)
@given(data=st.data())
def test_cut_files_are_read_or_refused(name: str, data: st.DataObject) -> None:
    whole = SOUND[name]
    check(whole[: data.draw(st.integers(0, len(whole)))])


def test_a_container_whose_model_is_named_otherwise_is_read_without_weights() -> None:
    """Found by the next test: one number of the table of sections decides what a section is."""
    damaged = bytearray(SOUND["litertlm"])
    damaged[166] = 0
    model = read_model_file(BytesSource("a.file", bytes(damaged)))
    assert (model.weight_bytes, model.weights_by_type) == (None, None)


@pytest.mark.parametrize("name", SOUND)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(name: str, data: st.DataObject) -> None:
    """Numbers replaced by small, large and lying ones, at places where a table is likely."""
    damaged = bytearray(SOUND[name])
    filled = [at for at, byte in enumerate(damaged) if byte]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(filled))
        size = data.draw(st.sampled_from([1, 2, 4, 8]))
        value = data.draw(INTERESTING | st.integers(0, 2 * len(damaged))) % (1 << 8 * size)
        damaged[at : at + size] = value.to_bytes(size, "little")
    check(bytes(damaged))


@given(
    begin=st.sampled_from([b"PK\x03\x04", b"LITERTLM\x01\0\0\0", b"\x10\0\0\0TFL3", b""]), rest=st.binary(max_size=300)
)
def test_garbage_is_refused(begin: bytes, rest: bytes) -> None:
    check(begin + rest)


@given(content=st.binary(max_size=200))
def test_any_metadata_is_read_or_refused(content: bytes) -> None:
    check(task({"TF_LITE_PREFILL_DECODE": SOUND["tflite"], "METADATA": content, "TOKENIZER_MODEL": content}))
