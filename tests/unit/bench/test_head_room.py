"""What a trial says about head-room: loaded with enough of it, with too little, not at all, or nothing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import pytest

from harness.bench.head_room import Prober, head_room_bytes, judge, parse_share
from harness.bench.plan import PlannedTrial
from harness.bench.single import single_trial
from harness.core.errors import DeviceError, HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.core.record import TrialRecord

if TYPE_CHECKING:
    from harness.bench.conductor import Conductor

MIB = 1024 * 1024
LOADED = TrialRecord(
    trial_id="20261122-150405-000000-00000001",
    run_id="20261122-150405-000000-00000000",
    suite="s",
    case="tiny/litert_lm/cpu/cold",
    ordinal=1,
    state="done",
    started_at="2026-11-22T15:04:05+00:00",
    host_pid=1,
    harness_version="0",
    device_kind="virtual",
    device_udid="u",
    device_product_type="iPhone17,1",
    device_os_version="18.5",
    device_os_build="22F76",
    device_settings="",
    engine="litert_lm",
    model_name="tiny",
    model_file="tiny.task",
    model_sha256="0" * 64,
    model_bytes=1,
    backend_requested="cpu",
    cache_state="cold",
    max_tokens=128,
    decode_tokens=8,
    sample_hz=1000,
    seed=1,
    expected_outcome="loaded",
    outcome="loaded",
    peak_footprint_bytes=80 * MIB,
    footprint_limit_bytes=100 * MIB,
)


@pytest.mark.parametrize(("text", "share"), [("20%", Fraction(1, 5)), ("0 %", Fraction(0)), ("12.5%", Fraction(1, 8))])
def test_shares_are_read(text: str, share: Fraction) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "20", "100%", "-1%", "0.2", "20%%", "1e1%", "٢٠%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no share of the footprint limit"):
        parse_share(text)


def test_a_trial_holds_when_it_loaded_with_enough_room() -> None:
    assert head_room_bytes(LOADED) == 20 * MIB
    assert judge(LOADED, Fraction(1, 5)).holds, "exactly enough is enough"
    probe = judge(LOADED, Fraction(21, 100))
    assert not probe.holds
    assert probe.why == "loaded, head-room 20 MiB (20 % of the limit)"


@pytest.mark.parametrize("outcome", ["jetsam", "bad_alloc", "load_error", "hung", "fell_back"])
def test_what_did_not_load_where_it_was_asked_to_does_not_hold(outcome: str) -> None:
    probe = judge(replace(LOADED, outcome=outcome), Fraction(0))
    assert (probe.holds, probe.why) == (False, outcome)


@pytest.mark.parametrize(
    ("missing", "named"), [("footprint_limit_bytes", "footprint limit"), ("peak_footprint_bytes", "reading")]
)
def test_head_room_that_nobody_knows_is_no_head_room(missing: str, named: str) -> None:
    record = replace(LOADED, **{missing: None})  # type: ignore[arg-type]  # both fields take None
    assert head_room_bytes(record) is None
    with pytest.raises(UsageError, match=f"told no {named}.*--headroom 0%"):
        judge(record, Fraction(1, 5))
    assert judge(record, Fraction(0)).holds, "whether it loads at all can be told"
    assert not judge(replace(record, outcome="jetsam"), Fraction(1, 5)).holds


class Played:
    """Stands in for a conductor: gives prepared ends, one a trial."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.names: list[str] = []

    async def run_trial(self, planned: PlannedTrial, number: int, total: int) -> TrialRecord:
        self.names.append(planned.name)
        outcome = self.outcomes.pop(0)
        return replace(LOADED, outcome=outcome, outcome_family=outcome.family, reason="as played")


def prober(played: Played) -> Prober:
    return Prober(cast("Conductor", played), Fraction(1, 5), 3)


@pytest.mark.anyio
async def test_a_trial_that_a_phone_was_in_the_way_of_is_done_again() -> None:
    played = Played(Outcome.LOST, Outcome.NOT_READY, Outcome.LOADED, Outcome.JETSAM)
    asked = prober(played)
    case = single_trial("s", "tiny").case
    assert (await asked.probe(case)).holds
    assert not (await asked.probe(case)).holds
    assert played.names == [f"{case.name}#{ordinal}" for ordinal in (1, 2, 3, 4)]
    assert [record.outcome for record in asked.records] == ["lost", "not_ready", "loaded", "jetsam"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("outcome", "error"),
    [(Outcome.LOST, DeviceError), (Outcome.PUSH_FAILED, HarnessError), (Outcome.UNKNOWN, HarnessError)],
)
async def test_what_is_in_the_way_again_and_again_ends_the_search(outcome: Outcome, error: type[HarnessError]) -> None:
    asked = prober(Played(*[outcome] * 3))
    with pytest.raises(
        HarnessError, match=f"3 trials in a row say nothing of the model; the last: {outcome}"
    ) as caught:
        await asked.probe(single_trial("s", "tiny").case)
    assert type(caught.value) is error
    assert len(asked.records) == 3
