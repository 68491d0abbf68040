"""Everything fuzzing has found worth keeping, replayed: see tests/fuzz/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.measure import held_bytes
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
SIZE_LIMIT_BYTES = 200 * 1024


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_input_breaks_a_promise(name: str) -> None:
    inputs = [*TARGETS[name].seeds(), *(file.read_bytes() for file in sorted((CORPUS / name).iterdir()))]
    for data in inputs:
        TARGETS[name].run(data)


def test_the_corpus_belongs_to_targets_and_is_small() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= set(TARGETS)
    assert sum(file.stat().st_size for file in CORPUS.rglob("*") if file.is_file()) <= SIZE_LIMIT_BYTES


def test_the_measure_of_what_is_held_sees_into_codecs() -> None:
    class Codec:
        def __init__(self) -> None:
            self.buffer = bytearray(10)
            self.parts = {1: [b"abc", "de"], 2: (bytearray(5),)}

    assert held_bytes(Codec()) == 20
