"""A case's preflight: what is asked of the prediction, and what becomes columns of the record."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.preflight import AppLimits
from harness.bench.model_files import inspect_model
from harness.bench.preflight import Preflight, foretold, gpu_is_emulated, limits_of, preflight_of, with_error
from harness.bench.single import single_trial
from harness.bench.synth import RECIPES, make
from harness.core.model_file import ModelFile, ModelFormat, Signature, SignatureKind
from harness.core.phone import PhoneFacts, PhoneKind
from harness.core.record import TrialRecord
from harness.device.readiness import AppReading
from tests.unit.bench.made_records import made_record

MIB = 1 << 20
PREFILL = Signature("prefill_8", SignatureKind.PREFILL, 8, MIB, MIB, 100, MIB)
DECODE = Signature("decode", SignatureKind.DECODE, 1, MIB, MIB, 100, MIB)
SMALL = ModelFile(ModelFormat.TASK, 10 * MIB, signatures=(PREFILL, DECODE), context=128, kv_bytes_per_token=1024)
ROOMY = AppLimits(footprint_bytes=1000 * MIB, base_bytes=9 * MIB, mapping_bytes=1000 * MIB, mapping_is_all=True)
PHONE = PhoneFacts("00008140-0123456789ABCDEF", PhoneKind.VIRTUAL, "iPhone17,1", "18.5", "22F76", "One", "gpu=emulated")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return inspect_model(make(RECIPES["tiny"], tmp_path_factory.mktemp("model") / "tiny.task").path)


def test_a_small_model_in_a_large_phone(tiny: ModelFile) -> None:
    case = single_trial("t", "tiny", cache="warm").case
    columns = preflight_of(case, tiny, ROOMY).columns
    assert columns["preflight"] == "will_load"
    assert 14 * MIB < columns["predicted_peak_footprint_bytes"] < 18 * MIB
    assert 40 * MIB < columns["predicted_address_bytes"] < 60 * MIB
    assert columns["prediction_calibration"] is None
    assert columns.keys() <= {field.name for field in fields(TrialRecord)}


def test_what_the_case_asks_for_counts(tiny: ModelFile) -> None:
    def peak(cache: str = "warm", **options: Any) -> int:
        case = single_trial("t", "tiny", cache=cache, **options).case
        found = preflight_of(case, tiny, ROOMY).prediction
        assert found is not None
        return found.peak_footprint_bytes

    assert peak(cache="none") > peak()
    assert peak(copies=3) > peak()
    assert peak(decode_tokens=0) < peak()


def test_a_warm_load_whose_cache_must_be_filled_takes_a_cold_one_first() -> None:
    head = replace(DECODE, weight_bytes=300 * MIB, largest_weight_bytes=200 * MIB)
    model = replace(SMALL, signatures=(PREFILL, head))
    case = single_trial("t", "tiny", cache="warm").case
    limits = AppLimits(footprint_bytes=100 * MIB, base_bytes=9 * MIB)
    assert preflight_of(case, model, limits).columns["preflight"] == "will_load"
    filled = preflight_of(case, model, limits, fill=True)
    assert filled.columns["preflight"] == "will_not_load"
    assert "filled for it" in filled.columns["preflight_reason"]
    assert filled.prediction == preflight_of(case, model, limits).prediction


def test_no_prediction_leaves_its_reason(tiny: ModelFile) -> None:
    case = single_trial("t", "tiny", engine="litert_lm", backend="gpu").case
    found = preflight_of(case, tiny, ROOMY)
    assert found.prediction is None
    assert found.columns["preflight"] is None
    assert "no prediction: " in found.columns["preflight_reason"]
    assert isinstance(preflight_of(case, tiny, ROOMY, gpu_emulated=True), Preflight)
    assert preflight_of(case, tiny, ROOMY, gpu_emulated=True).prediction is not None


def test_limits_are_what_the_app_said() -> None:
    reading = AppReading(footprint_bytes=9 * MIB, available_bytes=91 * MIB, largest_mapping_bytes=50 * MIB)
    assert limits_of(reading, PHONE) == AppLimits(100 * MIB, 9 * MIB, 50 * MIB, mapping_is_all=True)
    # the system says 0 without a limit as well as beyond one
    assert limits_of(replace(reading, available_bytes=0), PHONE).footprint_bytes is None
    assert limits_of(reading, replace(PHONE, kind=PhoneKind.PHYSICAL)).mapping_is_all is False
    assert limits_of(AppReading(), PHONE) == AppLimits(mapping_is_all=True)


def test_only_a_virtual_phone_emulates_a_gpu() -> None:
    assert gpu_is_emulated(PHONE)
    assert not gpu_is_emulated(replace(PHONE, settings="gpu=none"))
    assert not gpu_is_emulated(replace(PHONE, kind=PhoneKind.PHYSICAL))


def test_the_error_is_of_a_model_that_loaded() -> None:
    columns = {"predicted_peak_footprint_bytes": 110}
    assert with_error(columns, "loaded", 100)["prediction_error"] == pytest.approx(0.1)
    assert with_error(columns, "jetsam", 100)["prediction_error"] is None
    assert with_error(columns, "loaded", None)["prediction_error"] is None
    assert with_error({}, "loaded", 100)["prediction_error"] is None


def test_without_a_phone_the_newest_record_tells_the_limits(tiny: ModelFile, tmp_path: Path) -> None:
    path = make(RECIPES["tiny"], tmp_path / "tiny.task").path
    case = single_trial("t", "tiny", cache="warm").case
    same = {"app_variant": "plain", "device_settings": PHONE.settings}
    known = [
        made_record(**same, footprint_limit_bytes=100 * MIB),
        made_record(**same, footprint_limit_bytes=8 * MIB, allocation_limit_bytes=1000 * MIB),
        made_record(**same | {"device_settings": ""}, footprint_limit_bytes=100 * MIB),
        made_record(**same | {"app_variant": "both"}, footprint_limit_bytes=100 * MIB),
    ]
    assert foretold(case, path, known, PHONE).judgement.verdict == "will_not_load"
    assert foretold(case, path, known[:1], PHONE).judgement.verdict == "will_load"
    assert foretold(case, path, [], PHONE).judgement.verdict is None


def test_what_is_not_there_cannot_be_foretold(tmp_path: Path) -> None:
    case = single_trial("t", "tiny").case
    assert "not there yet" in foretold(case, None, [], PHONE).judgement.reason
    assert "phone is not known" in foretold(case, tmp_path, [], None).judgement.reason
    page = tmp_path / "page.task"
    page.write_text("<!DOCTYPE html>")
    assert "no prediction" in foretold(case, page, [], PHONE).judgement.reason
