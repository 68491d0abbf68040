"""Each rule on a made-up trial: it speaks where the evidence is, and is silent where one piece of it is missing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.advice import RULES, Advice, advise
from harness.core.job import Backend
from harness.core.model_file import ModelFile, ModelFormat
from harness.core.outcome import Evidence, EvidenceKind, Outcome
from harness.core.record import TrialRecord, TrialState
from harness.core.telemetry import Cut, Notice, Phase

MIB = 1024 * 1024
S = 1_000_000_000
INCREASED = {"com.apple.developer.kernel.increased-memory-limit": True}
EXTENDED = {"com.apple.developer.kernel.extended-virtual-addressing": True}
PAGE = Path(__file__).parents[3] / "docs" / "advice.md"
BAD_ALLOC = "terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc"
KILLED = f"killed by the phone: per-process-limit at {95 * MIB} bytes"


def a_trial(outcome: str | None = "loaded", number: int = 1, **changes: Any) -> TrialRecord:
    """Test data: nothing is known but what must be, and what is given."""
    values: dict[str, Any] = {
        "trial_id": f"TESTDATA-{number:04}",
        "run_id": "run",
        "suite": "made-up",
        "case": "made-up",
        "ordinal": 1,
        "state": TrialState.DONE,
        "started_at": "2026-11-22T15:04:05.000Z",
        "host_pid": 1,
        "harness_version": "0",
        "device_kind": "physical",
        "device_udid": "00008140-0000000000000000",
        "device_product_type": "iPhone17,1",
        "device_os_version": "18.5",
        "device_os_build": "22F76",
        "device_settings": "",
        "engine": "litert_lm",
        "model_name": "made-up",
        "model_file": "made-up.task",
        "model_sha256": "0" * 64,
        "model_bytes": 100 * MIB,
        "backend_requested": "cpu",
        "cache_state": "cold",
        "max_tokens": 128,
        "decode_tokens": 8,
        "sample_hz": 1000,
        "seed": 1,
        "expected_outcome": "loaded",
        "outcome": outcome,
        "outcome_family": None if outcome is None else Outcome(outcome).family,
    }
    return TrialRecord(**{**values, **changes})


@dataclass(frozen=True)
class Case:
    """A trial with the evidence for a rule, and changes each of which takes one piece of it away."""

    trial: TrialRecord
    without: tuple[dict[str, Any], ...]
    others: tuple[TrialRecord, ...] = ()
    """Part of the evidence unless empty."""
    model: ModelFile | None = None
    """Part of the evidence unless None."""
    shows: tuple[str, ...] = field(default=())
    """What the evidence must name."""


def proof(kind: EvidenceKind, text: str) -> dict[str, Any]:
    return {"evidence": (Evidence(kind, text, decisive=True),)}


def ended(name: str) -> Phase:
    return Phase(name, S, 2 * S)


CASES: dict[str, Case] = {
    "developer-mode-off": Case(
        a_trial("not_ready", developer_mode=False), ({"developer_mode": None}, {"outcome": "loaded"})
    ),
    "developer-image-missing": Case(
        a_trial("not_ready", developer_image=False), ({"developer_image": None}, {"developer_image": True})
    ),
    "phone-locked": Case(
        a_trial("launch_failed", phone_locked=True), ({"phone_locked": None}, {"outcome": "push_failed"})
    ),
    "too-hot-to-begin": Case(
        a_trial(
            "not_ready",
            reason="readiness: max_battery_celsius: the battery has 41.5 °C, the suite allows 35.0 °C. Let it cool",
            battery_charging=True,
        ),
        ({"reason": "readiness: min_free: 1 GiB are free, the suite needs 2 GiB"}, {"outcome": "loaded"}),
        shows=("41.5 °C", "charges"),
    ),
    "storage-full": Case(
        a_trial("push_failed", free_bytes=99 * MIB),
        ({"free_bytes": None}, {"free_bytes": 101 * MIB}, {"outcome": "loaded"}),
        shows=("99 MiB", "100 MiB"),
    ),
    "phone-lost-by-restart": Case(
        a_trial("lost", cuts=(Cut(S, 2 * S),), **proof(EvidenceKind.PROCESS_LIST, "process 5 is gone")),
        ({"cuts": (Cut(S),)}, {"evidence": ()}),
    ),
    "extended-addressing-would-do": Case(
        a_trial(
            "bad_alloc",
            device_kind="virtual",
            reason=BAD_ALLOC,
            app_entitlements={},
            allocation_limit_bytes=150 * MIB,
            predicted_address_bytes=200 * MIB,
        ),
        (
            {"app_entitlements": None},
            {"app_entitlements": EXTENDED},
            {"app_entitlements": INCREASED},
            {"allocation_limit_bytes": None},
            {"predicted_address_bytes": 100 * MIB},
            {"outcome": "jetsam"},
        ),
        shows=("200 MiB", "150 MiB"),
    ),
    "mapping-failed": Case(
        a_trial("load_error", reason="Failed to map, error: Cannot allocate memory", app_entitlements={}),
        ({"app_entitlements": EXTENDED}, {"app_entitlements": None}, {"reason": "Unable to open zip archive"}),
        shows=("Cannot allocate memory",),
    ),
    "too-large-even-so": Case(
        a_trial("bad_alloc", reason=BAD_ALLOC, app_entitlements=EXTENDED, allocation_limit_bytes=99 * MIB),
        ({"app_entitlements": {}}, {"app_entitlements": None}, {"allocation_limit_bytes": 101 * MIB}),
        shows=("99 MiB", "100 MiB"),
    ),
    "increased-limit-would-do": Case(
        a_trial("jetsam", reason=KILLED, app_entitlements={}, footprint_limit_bytes=90 * MIB),
        (
            {"app_entitlements": None},
            {"app_entitlements": INCREASED},
            {"footprint_limit_bytes": 130 * MIB},
            {"predicted_peak_footprint_bytes": 121 * MIB},
            {"reason": KILLED.replace("per-process-limit", "vm-pageshortage")},
            {"device_product_type": "iPhone16,1"},
        ),
        others=(a_trial(number=2, app_entitlements=INCREASED, footprint_limit_bytes=120 * MIB, model_sha256="1" * 64),),
        shows=("95 MiB", "90 MiB", "120 MiB", "TESTDATA-0002"),
    ),
    "increased-limit-has-no-effect": Case(
        a_trial("jetsam", reason=KILLED, app_entitlements=INCREASED, footprint_limit_bytes=90 * MIB),
        ({"app_entitlements": {}}, {"footprint_limit_bytes": None}, {"footprint_limit_bytes": 91 * MIB}),
        others=(a_trial(number=2, app_entitlements={}, footprint_limit_bytes=90 * MIB),),
    ),
    "system-is-short-of-memory": Case(
        a_trial("jetsam", reason=KILLED.replace("per-process-limit", "vm-pageshortage")),
        ({"reason": KILLED}, {"reason": None}),
        shows=("vm-pageshortage", "95 MiB"),
    ),
    "guard-stopped-it": Case(
        a_trial("load_error", reason="memory guard: the footprint of …", guard_reserve_bytes=60 * MIB),
        ({"guard_reserve_bytes": None}, {"reason": "another"}),
        shows=("60 MiB",),
    ),
    "no-gpu-there": Case(
        a_trial("load_error", reason="INTERNAL: No adapters found", backend_requested="gpu"),
        ({"backend_requested": "cpu"}, {"reason": "another"}),
    ),
    "made-for-another-backend": Case(
        a_trial("load_error", reason="no such kernel", backend_requested="gpu"),
        ({"backend_requested": "cpu"}, {"outcome": "loaded"}, {"reason": "No adapters found"}),
        model=ModelFile(ModelFormat.LITERTLM, 100 * MIB, backends=(Backend.CPU,)),
        shows=("CPU",),
    ),
    "metal-buffer-too-large": Case(
        a_trial("aborted", reason="failed assertion: newBufferWith*:length 0x1f400000 must not exceed 256 MB."),
        ({"reason": "failed assertion"}, {"outcome": "loaded"}),
    ),
    "weights-count-on-the-gpu": Case(
        a_trial("jetsam", reason=KILLED, backend_requested="gpu"),
        ({"backend_requested": "cpu"}, {"reason": None}, {"model_sha256": "1" * 64}, {"max_tokens": 64}),
        others=(a_trial(number=2, peak_footprint_bytes=40 * MIB),),
        shows=("95 MiB", "40 MiB"),
    ),
    "other-format": Case(
        a_trial("load_error", reason="cannot read it", model_format="bin"),
        ({"model_format": "task"}, {"model_format": None}, {"outcome": "aborted"}),
        shows=(".bin",),
    ),
    "failed-after-the-load": Case(
        a_trial(
            "generate_error", reason="└ Failed to allocate tensors", phases=(ended("create_session"), ended("prefill"))
        ),
        ({"phases": (ended("create_engine"),)}, {"phases": ()}, {"reason": "Max number of tokens reached"}),
        shows=("prefill", "Failed to allocate tensors"),
    ),
    "cache-could-not-be-written": Case(
        a_trial("load_error", reason="write: No space left on device", pid=5, free_bytes=120 * MIB),
        ({"reason": "write: Input/output error"}, {"pid": None}),
        shows=("120 MiB",),
    ),
    "cache-was-gone": Case(
        a_trial("harness_error", **proof(EvidenceKind.RUNNER_ERROR, "cache_missing: there is no weight cache")),
        ({"evidence": ()}, proof(EvidenceKind.RUNNER_ERROR, "bad_job: cache")),
    ),
    "copies-for-each-signature": Case(
        a_trial(cache_state="none", model_signatures=3, model_weight_bytes=80 * MIB, peak_footprint_bytes=200 * MIB),
        (
            {"model_signatures": None},
            {"model_signatures": 1},
            {"model_weight_bytes": None},
            {"cache_state": "cold"},
            {"peak_footprint_bytes": 100 * MIB},
            {"engine": "mmap"},
        ),
        shows=("3 signatures", "240 MiB", "200 MiB"),
    ),
    "cache-was-built": Case(
        a_trial(peak_footprint_bytes=100 * MIB, load_ns=S),
        (
            {"cache_state": "none"},
            {"peak_footprint_bytes": 44 * MIB, "load_ns": S // 5},
            {"peak_footprint_bytes": None, "load_ns": None},
            {"backend_requested": "gpu"},
        ),
        others=(a_trial(number=2, cache_state="warm", peak_footprint_bytes=40 * MIB, load_ns=S // 5),),
        shows=("40 MiB instead of 100 MiB", "200 ms instead of 1000 ms"),
    ),
    "context-larger-than-needed": Case(
        a_trial(peak_footprint_bytes=100 * MIB, prefill_tokens=30, decoded_tokens=8),
        ({"peak_footprint_bytes": None}, {"peak_footprint_bytes": 161 * MIB}, {"prefill_tokens": 5000}),
        model=ModelFile(ModelFormat.TASK, 100 * MIB, context=8192, kv_bytes_per_token=10 * 1024),
        shows=("8192 tokens", "80 MiB", "38 tokens were used"),
    ),
    "memory-warning-came": Case(
        a_trial(
            "jetsam",
            reason=KILLED,
            notices=(Notice("memory_warning", 3 * S),),
            phases=(Phase("create_engine", 2 * S),),
            last_sample_ns=4 * S,
        ),
        ({"notices": ()}, {"notices": (Notice("thermal", 3 * S, "fair"),)}, {"outcome": "lost"}),
        shows=("during create_engine", "1.000 s before"),
    ),
    "little-head-room": Case(
        a_trial(peak_footprint_bytes=950 * MIB, footprint_limit_bytes=1000 * MIB),
        (
            {"peak_footprint_bytes": 890 * MIB},
            {"footprint_limit_bytes": None},
            {"notices": (Notice("memory_warning", S),)},
            {"outcome": "lost"},
        ),
        shows=("50 MiB",),
    ),
    "foreseen": Case(
        a_trial("jetsam", reason=KILLED, preflight="will_not_load", preflight_reason="beyond the limit"),
        ({"preflight": None}, {"preflight": "too_close"}, {"outcome": "lost"}),
        shows=("beyond the limit",),
    ),
    "memory-stays-after-unload": Case(
        a_trial(leftover_footprint_bytes=600 * MIB, peak_footprint_bytes=1000 * MIB),
        ({"leftover_footprint_bytes": None}, {"leftover_footprint_bytes": 400 * MIB}, {"peak_footprint_bytes": None}),
    ),
    "ran-on-another-backend": Case(
        a_trial(
            "fell_back", backend_requested="gpu", backend_effective="cpu", backend_how="Metal's memory did not grow"
        ),
        ({"outcome": "loaded"},),
        shows=("did not grow",),
    ),
    "throttled": Case(
        a_trial(thermal_state_start="fair", decode_tokens_per_s=10.0, battery_celsius=38.25),
        (
            {"thermal_state_start": None},
            {"thermal_state_start": "nominal"},
            {"decode_tokens_per_s": None},
            {"decode_tokens_per_s": 19.0},
            {"outcome": "lost"},
        ),
        others=(a_trial(number=2, thermal_state_start="nominal", decode_tokens_per_s=20.0),),
        shows=("10.0 tokens/s", "20.0", "38.2 °C"),
    ),
    "low-power-mode": Case(a_trial(low_power=True), ({"low_power": False}, {"low_power": None}, {"outcome": "lost"})),
    "peak-may-be-missed": Case(
        a_trial(kernel_peak_resident_bytes=200 * MIB, peak_resident_bytes=100 * MIB, sample_gap_max_ns=S),
        (
            {"kernel_peak_resident_bytes": None},
            {"kernel_peak_resident_bytes": 105 * MIB},
            {"peak_resident_bytes": None},
        ),
        shows=("200 MiB", "100 MiB", "1000 ms"),
    ),
}


def advice_of(rule: str, trial: TrialRecord, case: Case) -> Advice | None:
    return next((one for one in advise(trial, case.others, case.model) if one.rule == rule), None)


def test_every_rule_is_here() -> None:
    assert [rule.name for rule in RULES] == list(CASES)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_speaks_by_its_evidence(rule: str) -> None:
    case = CASES[rule]
    advice = advice_of(rule, case.trial, case)
    assert advice is not None
    for figure in case.shows:
        assert figure in advice.evidence
    assert "\n" not in advice.evidence + advice.remedy
    assert not advice.remedy.endswith(".")
    assert re.fullmatch(r"(https://\S+|docs/\S+\.md\S*)( and https://\S+)?", advice.source)


@pytest.mark.parametrize(
    ("rule", "change"), [(rule, change) for rule, case in CASES.items() for change in case.without], ids=repr
)
def test_a_rule_is_silent_without_a_piece_of_it(rule: str, change: dict[str, Any]) -> None:
    case = CASES[rule]
    assert advice_of(rule, replace(case.trial, **change), case) is None


@pytest.mark.parametrize("rule", [rule for rule, case in CASES.items() if case.others])
def test_other_trials_count_only_where_they_can(rule: str) -> None:
    case = CASES[rule]
    for change in (
        {"device_product_type": "iPhone12,1"},
        {"device_kind": "virtual"},
        {"device_settings": "footprint_limit=90MiB"},
        {"ordinal": 0},
        {"state": TrialState.RUNNING, "outcome": None},
        {"trial_id": case.trial.trial_id},
    ):
        others = tuple(replace(other, **change) for other in case.others)
        assert advice_of(rule, case.trial, replace(case, others=others)) is None, change


@pytest.mark.parametrize("rule", [rule for rule, case in CASES.items() if case.model])
def test_without_the_model_file_nothing_is_said_of_it(rule: str) -> None:
    case = CASES[rule]
    assert advice_of(rule, case.trial, replace(case, model=None)) is None


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_outcome_alone_is_no_evidence(outcome: Outcome) -> None:
    rules = [one.rule for one in advise(a_trial(outcome.value))]
    assert rules == (["ran-on-another-backend"] if outcome is Outcome.FELL_BACK else [])


def test_a_trial_that_still_runs_gets_none() -> None:
    case = CASES["low-power-mode"]
    assert advise(replace(case.trial, state=TrialState.RUNNING)) == []
    assert advise(replace(case.trial, outcome=None)) == []


def test_a_neighbour_that_loaded_is_evidence_as_good_as_figures() -> None:
    trial = a_trial("bad_alloc", reason=BAD_ALLOC, app_entitlements={})
    loaded = a_trial(number=2, app_entitlements=EXTENDED)
    rule = "extended-addressing-would-do"
    assert advice_of(rule, trial, Case(trial, (), others=(loaded,))) is not None
    in_vain = replace(loaded, outcome="bad_alloc", outcome_family="model")
    assert advice_of(rule, trial, Case(trial, (), others=(in_vain,))) is None
    with_figures = replace(CASES[rule].trial, device_kind="physical", model_bytes=300 * MIB)
    assert advice_of(rule, with_figures, Case(trial, (), others=(in_vain,))) is None, "tried without success"
    lost = replace(in_vain, outcome="lost", outcome_family="device")
    assert advice_of(rule, with_figures, Case(trial, (), others=(lost,))) is not None, "proves nothing"
    assert advice_of(rule, replace(trial, max_tokens=64), Case(trial, (), others=(loaded,))) is None


def test_on_a_phone_only_what_lies_in_one_piece_is_held_against_its_largest_hole() -> None:
    rule = "extended-addressing-would-do"
    physical = replace(CASES[rule].trial, device_kind="physical", model_bytes=100 * MIB)
    assert advice_of(rule, physical, CASES[rule]) is None, "the rest may lie in another hole"
    assert advice_of(rule, replace(physical, model_bytes=300 * MIB), CASES[rule]) is not None


def test_the_entitlement_is_not_advised_where_it_was_tried_in_vain() -> None:
    case = CASES["increased-limit-would-do"]
    tried = tuple(replace(other, model_sha256=case.trial.model_sha256, outcome="jetsam") for other in case.others)
    assert advice_of("increased-limit-would-do", case.trial, replace(case, others=tried)) is None


def test_the_increased_limit_widens_the_address_space_only_since_ios_16() -> None:
    case = CASES["extended-addressing-would-do"]
    old = replace(case.trial, app_entitlements=INCREASED, device_os_version="15.7")
    assert advice_of("extended-addressing-would-do", old, case) is not None


def test_a_hostile_text_is_shortened_to_one_line() -> None:
    trial = a_trial("aborted", reason="must not exceed 256 MB" + "x\t" * 10_000)
    (advice,) = advise(trial)
    assert len(advice.evidence) < 200
    assert "\t" not in advice.evidence
    (advice,) = advise(replace(trial, reason="x" * 10_000 + "must not exceed 256 MB"))
    assert len(advice.evidence) < 200
    assert advice.evidence.endswith('must not exceed 256 MB"'), "what matters is in it"


def test_the_page_lists_the_rules() -> None:
    """Written anew by `UPDATE_DOCS=1 pytest tests/unit/analysis/test_advice_rules.py`."""
    rows = [f"| `{rule.name}` | {rule.speaks_when} | {rule.source} |" for rule in RULES]
    table = "\n".join(["| rule | speaks when | source |", "|---|---|---|", *rows])
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- rules: begin -->\n", "<!-- rules: end -->"
    wanted = f"{text[: text.index(begin)]}{begin}{table}\n{text[text.index(end) :]}"
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(wanted, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == wanted


def test_sources_in_this_project_are_there() -> None:
    for rule in RULES:
        if rule.source.startswith("docs/"):
            page, _, anchor = rule.source.partition("#")
            path = PAGE.parents[1] / page
            assert path.is_file(), rule.source
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings], rule.source
