"""What a load is predicted to take, and what follows from a phone's limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.analysis import preflight
from harness.analysis.preflight import AppLimits, Load, Prediction, Unpredictable, Verdict, judge, predict
from harness.analysis.preflight_calibration import (
    FEWEST_RECORDS,
    HIGHEST_FACTOR,
    LOWEST_FACTOR,
    NOT_CALIBRATED,
    SAME_COLUMNS,
    USED_COLUMNS,
    Calibration,
    calibration,
)
from harness.core.job import Backend, CacheState, Engine
from harness.core.model_file import ModelFile, ModelFormat, Section, Signature, SignatureKind
from harness.core.record import record_columns

MIB = 1 << 20
PREFILL_8 = Signature("prefill_8", SignatureKind.PREFILL, 8, 100 * MIB, 10 * MIB, 1000, 3 * MIB)
PREFILL_64 = Signature("prefill_64", SignatureKind.PREFILL, 64, 100 * MIB, 10 * MIB, 1000, 30 * MIB)
DECODE = Signature("decode", SignatureKind.DECODE, 1, 300 * MIB, 200 * MIB, 1000, 5 * MIB)
MODEL = ModelFile(
    format=ModelFormat.TASK,
    size_bytes=400 * MIB,
    sections=(Section("TF_LITE_PREFILL_DECODE", 0, 390 * MIB), Section("TOKENIZER_MODEL", 390 * MIB, 2 * MIB)),
    signatures=(PREFILL_8, PREFILL_64, DECODE),
    context=1024,
    kv_bytes_per_token=64 * 1024,
    mask_bytes_per_token=256,
)
LOAD = Load(Engine.LITERT_LM, Backend.CPU, CacheState.WARM, prompt_bytes=30)


def taken(model: ModelFile = MODEL, load: Load = LOAD, base_bytes: int | None = 0) -> Prediction:
    found = predict(model, load, base_bytes)
    assert isinstance(found, Prediction), found
    return found


def part(prediction: Prediction, name: str) -> int:
    return next((part.footprint_bytes for part in prediction.parts if part.name == name), 0)


def test_without_a_cache_every_signature_packs_its_weights() -> None:
    packed = part(taken(load=replace(LOAD, cache=CacheState.NONE)), "packed weights")
    assert packed == pytest.approx(preflight.PACKED_FACTOR * 500 * MIB)


def test_a_cache_being_built_costs_the_largest_matrix_and_one_that_is_there_nothing() -> None:
    cold = taken(load=replace(LOAD, cache=CacheState.COLD))
    more = cold.peak_footprint_bytes - taken().peak_footprint_bytes
    assert more == pytest.approx(preflight.BUILT_FACTOR * 200 * MIB)
    assert part(taken(), "key and value caches") == 64 * MIB


def test_the_file_takes_address_space_and_no_footprint() -> None:
    larger = replace(MODEL, size_bytes=500 * MIB)
    assert taken(larger).peak_footprint_bytes == taken().peak_footprint_bytes
    assert taken(larger).address_bytes - taken().address_bytes == 100 * MIB
    assert taken().largest_mapping_bytes == 400 * MIB


@pytest.mark.parametrize(
    ("prompt_bytes", "activations"),
    [(None, 0), (1, 5 * MIB), (127, 5 * MIB), (128, 30 * MIB), (5000, 30 * MIB)],
    ids=["nothing is generated", "shorter than any", "fills the short one", "fills the long one", "several of it"],
)
def test_the_longest_signature_that_the_prompt_fills_does_the_work(prompt_bytes: int | None, activations: int) -> None:
    assert part(taken(load=replace(LOAD, prompt_bytes=prompt_bytes)), "activations") == activations


def test_copies_share_the_app_the_library_and_the_cache_that_the_first_has_built() -> None:
    one, two = (taken(load=replace(LOAD, cache=CacheState.COLD, copies=number)) for number in (1, 2))
    each = sum(part(one, name) for name in ("key and value caches", "tokenizer", "graphs"))
    assert two.peak_footprint_bytes - one.peak_footprint_bytes == each
    assert two.address_bytes - one.address_bytes == each + 400 * MIB


def test_the_floors() -> None:
    mapped = taken(load=Load(Engine.MMAP, Backend.CPU, CacheState.NONE), base_bytes=7 * MIB)
    read = taken(load=Load(Engine.READ, Backend.CPU, CacheState.NONE), base_bytes=7 * MIB)
    assert (mapped.peak_footprint_bytes, mapped.address_bytes) == (7 * MIB, 0)
    assert (read.peak_footprint_bytes, read.address_bytes) == (407 * MIB, 400 * MIB)


def test_an_emulated_gpu_holds_the_weights_again() -> None:
    gpu = replace(LOAD, backend=Backend.GPU, gpu_emulated=True)
    assert taken(load=gpu).peak_footprint_bytes - taken().peak_footprint_bytes == 400 * MIB


@pytest.mark.parametrize(
    ("model", "load", "reason"),
    [
        (MODEL, replace(LOAD, engine=Engine.MEDIAPIPE), "MediaPipe"),
        (MODEL, replace(LOAD, backend=Backend.GPU), "GPU"),
        (replace(MODEL, signatures=()), LOAD, "no prefill and decode"),
        (replace(MODEL, kv_bytes_per_token=None), LOAD, "caches"),
        (replace(MODEL, signatures=(PREFILL_8, replace(DECODE, activation_bytes=None))), LOAD, "shapes"),
    ],
)
def test_no_prediction_says_why(model: ModelFile, load: Load, reason: str) -> None:
    found = predict(model, load)
    assert isinstance(found, Unpredictable)
    assert reason in found.reason


def prediction(footprint_mib: int, address_mib: int, mapping_mib: int = 0) -> Prediction:
    return Prediction((preflight.Part("all", footprint_mib * MIB, address_mib * MIB),), mapping_mib * MIB)


@pytest.mark.parametrize(
    ("footprint_mib", "verdict"),
    [(111, "will_not_load"), (110, "too_close"), (100, "too_close"), (90, "too_close"), (89, "will_load")],
)
def test_a_margin_around_the_limit(footprint_mib: int, verdict: str) -> None:
    limits = AppLimits(footprint_bytes=100 * MIB)
    assert judge(prediction(footprint_mib, 1), limits).verdict == verdict


def test_the_worse_of_two_walls_decides() -> None:
    limits = AppLimits(footprint_bytes=1000 * MIB, mapping_bytes=100 * MIB, mapping_is_all=True)
    told = judge(prediction(500, 200), limits)
    assert told.verdict is Verdict.WILL_NOT_LOAD
    assert "within the footprint's limit of 1000 MiB" in told.reason
    assert "beyond the 100 MiB that can be mapped" in told.reason


def test_what_need_not_lie_in_one_hole_may_still_load() -> None:
    holes = AppLimits(mapping_bytes=100 * MIB, mapping_is_all=False)
    assert judge(prediction(1, 500, mapping_mib=50), holes).verdict is Verdict.TOO_CLOSE
    assert judge(prediction(1, 500, mapping_mib=400), holes).verdict is Verdict.WILL_NOT_LOAD


def test_without_a_limit_there_is_no_verdict() -> None:
    told = judge(prediction(1, 1), AppLimits())
    assert told.verdict is None
    assert "not known" in told.reason


def records(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    blank = {"outcome": "loaded", "model_sha256": "a", "prediction_calibration": None}
    return [{**blank, **row} for row in rows]


def row(measured: int, predicted: int | None = 100, **more: Any) -> dict[str, Any]:
    return {"peak_footprint_bytes": measured, "predicted_peak_footprint_bytes": predicted, **more}


def test_earlier_records_correct_by_the_median_of_the_models() -> None:
    many_of_one = [row(200, model_sha256="b")] * 9
    found = calibration(records(*many_of_one, row(110), row(90, model_sha256="c")))
    assert found.factor == pytest.approx(1.1)
    assert found.records == 11
    corrected = replace(prediction(100, 100), calibration=found)
    assert corrected.peak_footprint_bytes == pytest.approx(110 * MIB)
    assert corrected.address_bytes == 100 * MIB
    assert "11 records" in corrected.words


def test_corrections_do_not_pile_up() -> None:
    corrected = [row(110, predicted=110, prediction_calibration=1.1)] * 3
    assert calibration(records(*corrected)).factor == pytest.approx(1.1)


def test_a_correction_is_bounded_and_needs_records() -> None:
    assert calibration(records(*[row(1000)] * 3)).factor == HIGHEST_FACTOR
    assert calibration(records(*[row(1)] * 3)).factor == LOWEST_FACTOR
    assert calibration(records(*[row(200)] * (FEWEST_RECORDS - 1))) == NOT_CALIBRATED
    useless = [row(200, outcome="jetsam"), row(200, predicted=None)] * 3
    assert calibration(records(*useless)) == NOT_CALIBRATED
    assert Calibration().words == ""


def test_the_columns_are_those_of_a_record() -> None:
    assert {*SAME_COLUMNS, *USED_COLUMNS} <= {column.name for column in record_columns()}
