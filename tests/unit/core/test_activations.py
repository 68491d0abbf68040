"""The workspace of a model's graphs, by the numbers of the recipe that it was made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.bench.model_files import inspect_model
from harness.bench.synth import RECIPES, Recipe, make
from harness.core.model_file import Signature

F32 = 4


def signature(recipe: Recipe, folder: Path, name: str) -> Signature:
    model = inspect_model(make(recipe, folder / "model.task").path)
    return next(one for one in model.signatures if one.name == name)


def test_a_products_second_matrix_lies_there_twice_and_the_scores_once(tmp_path: Path) -> None:
    short = replace(RECIPES["tiny"], context=1024)
    long = replace(short, context=2048)
    for name, tokens in (("prefill_32", 32), ("decode", 1)):
        sizes = [signature(recipe, tmp_path, name).activation_bytes or 0 for recipe in (short, long)]
        turned_keys = long.kv_heads * long.head_dim * F32
        scores = long.heads * tokens * F32
        assert sizes[1] - sizes[0] == 1024 * (2 * turned_keys + scores)


def test_layers_come_one_after_another(tmp_path: Path) -> None:
    two = signature(RECIPES["tiny"], tmp_path, "decode")
    four = signature(replace(RECIPES["tiny"], layers=4), tmp_path, "decode")
    assert four.activation_bytes == two.activation_bytes
    assert four.operators > two.operators + 60
