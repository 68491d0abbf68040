"""What a trial's record says when the phone goes wrong: the right outcome, and in every case a record."""

from __future__ import annotations

import pytest

from harness.core.record import TrialRecord
from harness.device import limits
from harness.store.database import ResultStore
from tests.functional.whole_way import Bench

HOLD_MS = 60_000
PUSH_OFFSET = 100_000


def record_of(bench: Bench, fault: str, **options: object) -> TrialRecord:
    """The trial's record on a phone with that fault, which must have struck, and be kept."""
    record = bench.only(settings={"fault": fault, "seed": "7"}, matrix={"caches": ["none"]}, **options)
    with ResultStore.open(bench.results) as store:
        assert [kept.trial_id for kept in store.trials()] == [record.trial_id]
    return record


def trust_is_told(record: TrialRecord) -> bool:
    """The tunnel and lockdownd each say it in their words."""
    return any("not paired" in item.text or "does not trust" in item.text for item in record.evidence)


def test_a_killed_app_is_unknown(bench: Bench) -> None:
    record = record_of(bench, "kill-app@phase:hold", hold_ms=HOLD_MS)
    assert record.outcome == "unknown", record.reason
    assert record.sample_count, "what came before is kept"


def test_an_app_that_goes_silent_is_told_by_its_journal(bench: Bench) -> None:
    record = record_of(bench, "app-silent@generate")
    assert record.outcome == "loaded", record.reason
    assert record.seq_missing == 0, "the journal has what did not come"


def test_nonsense_from_an_app_costs_a_connection_and_nothing_else(bench: Bench) -> None:
    record = record_of(bench, "app-garbage@generate")
    assert record.outcome == "loaded", record.reason
    assert record.seq_missing == 0
    assert any("nonsense" in item.text for item in record.evidence)


def test_a_service_that_hangs_fails_the_installation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SERVICE_LIMIT_S", 2.0)
    record = record_of(bench, "service-hangs:service=com.apple.mobile.installation_proxy@now")
    assert record.outcome == "install_failed", record.reason


def test_a_full_disk_fails_the_push(bench: Bench) -> None:
    record = record_of(bench, f"afc-error:status=18@push:{PUSH_OFFSET}")
    assert record.outcome == "push_failed", record.reason


@pytest.mark.parametrize("fault", ["file-truncated", "file-corrupted"])
def test_a_harmed_file_fails_the_push(bench: Bench, fault: str) -> None:
    record = record_of(bench, f"{fault}@push:{PUSH_OFFSET}")
    assert record.outcome == "push_failed", record.reason


def test_a_phone_that_trusts_no_more_proves_nothing_and_says_why(bench: Bench) -> None:
    record = record_of(bench, "revoke-trust@phase:hold+kill-app@phase:hold", hold_ms=HOLD_MS)
    # the phone is there and will not say how the trial ended: no verdict about the model
    assert record.outcome == "not_ready", record.reason
    assert trust_is_told(record)


def test_trust_that_is_lost_in_mid_trial_costs_no_result(bench: Bench) -> None:
    record = record_of(bench, "revoke-trust@phase:hold")
    # the way to the app's own port needs no trust
    assert record.outcome == "loaded", record.reason
    assert trust_is_told(record), "but what could not be fetched is told"


def test_a_reboot_loses_the_trial_and_not_its_record(bench: Bench) -> None:
    record = record_of(bench, "reboot@phase:hold", hold_ms=HOLD_MS)
    assert record.outcome in ("lost", "unknown"), record.reason
    assert record.sample_count, "what came before is kept"


def test_a_slow_link_only_takes_longer(bench: Bench) -> None:
    record = record_of(bench, "slow-link:bandwidth=20MB:latency_ms=5@now")
    assert record.outcome == "loaded", record.reason
    assert record.seq_missing == 0


def test_a_dropped_tunnel_in_mid_trial_costs_nothing(bench: Bench) -> None:
    record = record_of(bench, "tunnel-drop@load")
    assert record.outcome == "loaded", record.reason
    assert record.seq_missing == 0


def test_a_report_of_another_app_proves_nothing_about_ours(bench: Bench) -> None:
    record = record_of(bench, "jetsam-other@phase:hold+kill-app@phase:hold", hold_ms=HOLD_MS)
    assert record.outcome == "unknown", record.reason
    assert any("not ours" in item.text for item in record.evidence)
