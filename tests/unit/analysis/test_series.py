"""Keys of series, and what draws a line. Histories are simulated."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.metrics import METRICS
from harness.analysis.nightly import COLUMNS, UnreadableRecords, histories
from harness.analysis.series import OUTCOME, CaseHistory, SeriesKey, identity_change, parse_night
from harness.core.errors import UsageError
from tests.simulated_nights import SimulatedHistory, SimulatedNight, frame_of, simulated_record

NIGHT = SimulatedNight()
KINDS = st.sampled_from(["physical", "virtual"])
NAMES = st.text(min_size=1, max_size=20)


@given(KINDS, NAMES, NAMES, NAMES, st.sampled_from([OUTCOME, *(metric.name for metric in METRICS)]))
def test_a_key_reads_back(kind: str, product_type: str, suite: str, case: str, metric: str) -> None:
    key = SeriesKey(kind, product_type, suite, case, metric)
    assert SeriesKey.parse(key.text) == key


def test_a_key_is_plain_for_plain_names() -> None:
    key = SeriesKey("virtual", "iPhone17,1", "smoke", "tiny/litert_lm/cpu/cold", "load_ns")
    assert key.text == "virtual/iPhone17,1/smoke/tiny/litert_lm/cpu/cold:load_ns"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no series"),
        ("virtual/iPhone17,1/smoke:load_ns", "is no series"),
        ("toy/iPhone17,1/smoke/tiny:load_ns", "'toy' is none of"),
        ("virtual/iPhone17,1/smoke/tiny:beauty", "'beauty' is none of"),
    ],
)
def test_what_is_no_key(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SeriesKey.parse(text)


def test_what_is_no_night() -> None:
    assert parse_night("2026-11-22") == date(2026, 11, 22)
    with pytest.raises(UsageError, match="as in 2026-11-22"):
        parse_night("yesterday")


def only(nights: list[SimulatedNight | None], **more: object) -> CaseHistory:
    (history,) = histories(frame_of(list(SimulatedHistory().records(nights))), **more)  # type: ignore[arg-type]  # passed on
    return history


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"engine_version": "0.19.0"}, "engine version 0.18.1 → 0.19.0"),
        ({"device_os_version": "26.0"}, "iOS 18 → 26"),
        ({"app_variant": "both"}, "app variant plain → both"),
        ({"model_sha256": "f" * 64}, "model file 00000000 → ffffffff"),
        ({"device_settings": "footprint_limit=90MiB"}, "settings of the virtual phone none → footprint_limit=90MiB"),
        ({"guard_reserve_bytes": 5}, "guard_reserve_bytes none → 5"),
    ],
)
def test_what_draws_a_line(columns: dict[str, object], words: str) -> None:
    plain = {"app_variant": "plain"}
    history = only([SimulatedNight(columns=plain), SimulatedNight(columns={**plain, **columns})])
    before, after = history.segments
    assert identity_change(before.identity, after.identity) == words
    assert history.current() == [after]
    assert history.before(after) is before


@pytest.mark.parametrize("columns", [{"device_os_version": "18.6"}, {"app_build": "b"}, {"device_udid": "other"}])
def test_what_draws_none(columns: dict[str, object]) -> None:
    assert len(only([NIGHT, SimulatedNight(columns=columns)]).segments) == 1


def test_a_trial_that_ended_before_its_app_answered_is_no_segment_of_its_own() -> None:
    lost = SimulatedNight(outcomes=("lost",), columns={"engine_version": None})
    (segment,) = only([lost, NIGHT, lost, NIGHT]).segments
    assert [night.ran for night in segment.nights] == [1, 5, 1, 5]


def test_two_phones_side_by_side_are_both_current_and_one_that_went_back_is_alone() -> None:
    new = SimulatedNight(columns={"device_os_version": "26.0"})
    frame_a = SimulatedHistory(case="a").records([NIGHT] * 4)
    frame_b = SimulatedHistory(case="a", seed=2).records([new] * 4)
    both = [*frame_a, *(replace(record, trial_id=f"b{record.trial_id}") for record in frame_b)]
    (history,) = histories(frame_of(both))
    assert len(history.current()) == 2
    later = SimulatedHistory(case="a", seed=2).records([None] * 4 + [new])
    (history,) = histories(frame_of([*both, *later]))
    assert len(history.current()) == 2, "the other one did not run, and has not ended"
    back = only([NIGHT, NIGHT, new, NIGHT])
    assert [len(segment.nights) for segment in back.segments] == [3, 1]
    assert back.current() == [back.segments[0]]


def test_a_night_begins_at_noon_and_is_that_of_the_first_trial_of_its_run() -> None:
    def at(moment: str, run: str) -> list[tuple[date, int]]:
        times = (moment, "2026-03-05T13:00:00+00:00")
        records = [
            simulated_record(trial_id=f"{run}{n}", run_id=run, started_at=one, ordinal=n + 1)
            for n, one in enumerate(times)
        ]
        (history,) = histories(frame_of(records), night_starts_utc=starts)
        return [(night.night, night.ran) for night in history.segments[0].nights]

    starts = time(12)
    assert at("2026-03-05T11:59:59+00:00", "r") == [(date(2026, 3, 4), 2)]
    assert at("2026-03-05T12:00:00+00:00", "r") == [(date(2026, 3, 5), 2)]
    starts = time(18, 30)
    assert at("2026-03-05T12:00:00+00:00", "r") == [(date(2026, 3, 4), 2)]


def test_only_what_counts_is_counted_and_medians_are_of_what_loaded() -> None:
    base = {"run_id": "r", "started_at": "2026-03-05T20:00:00+00:00", "suite": "s", "case": "c"}
    records = [
        simulated_record(trial_id="1", ordinal=0, load_ns=1, **base),
        simulated_record(trial_id="2", ordinal=1, load_ns=2, cut_short=True, attempt=1, **base),
        simulated_record(trial_id="3", ordinal=1, load_ns=10, attempt=2, **base),
        simulated_record(trial_id="4", ordinal=2, load_ns=30, **base),
        simulated_record(trial_id="5", ordinal=3, load_ns=7, arm="a", **base),
        simulated_record(trial_id="6", ordinal=4, load_ns=8, outcome="jetsam", **base),
        simulated_record(trial_id="7", ordinal=5, load_ns=9, state="running", **base),
    ]
    (history,) = histories(frame_of(records))
    (segment,) = history.segments
    assert segment.nights[0].outcomes == {"loaded": 2, "jetsam": 1}
    assert segment.values["load_ns"].tolist() == [20.0]
    assert segment.quartiles["load_ns"].tolist() == [[15.0, 25.0]]
    assert segment.counts["load_ns"].tolist() == [2]
    assert segment.values["ttft_ns"].tolist() != segment.values["ttft_ns"].tolist(), "NaN: no trial has it, never 0"


def test_physical_and_virtual_never_meet() -> None:
    physical = SimulatedHistory(columns={"device_kind": "physical"}).records([NIGHT])
    virtual = SimulatedHistory().records([NIGHT])
    records = [*physical, *(replace(record, trial_id=f"v{record.trial_id}") for record in virtual)]
    assert [history.key.device_kind for history in histories(frame_of(records))] == ["physical", "virtual"]


def test_what_comes_later_is_as_if_it_were_not_there() -> None:
    nights: list[SimulatedNight | None] = [NIGHT] * 4
    whole = only(nights, as_of=date(2026, 1, 2))
    assert whole == replace(whole, suite_nights=(date(2026, 1, 1), date(2026, 1, 2)))
    assert len(whole.segments[0].nights) == 2


def test_no_trials_no_histories() -> None:
    assert histories(frame_of([]).loc[:, list(COLUMNS)]) == []


def test_what_another_program_wrote() -> None:
    base = {"trial_id": "1", "run_id": "r", "ordinal": 1}
    with pytest.raises(UnreadableRecords, match="cannot be read"):
        histories(frame_of([simulated_record(started_at="last night", **base)]))
    with pytest.raises(UnreadableRecords, match="is empty"):
        histories(frame_of([simulated_record(started_at="", **base)]))
    odd = replace(simulated_record(started_at="2026-03-05T20:00:00+00:00", **base), outcome="exploded")
    with pytest.raises(UnreadableRecords, match="exploded"):
        histories(frame_of([odd]))
