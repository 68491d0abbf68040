"""Is a report about our process: every sign must agree, and a jumped clock is judged by whichever offset fits."""

from __future__ import annotations

import pytest

from harness.core.matching import CLOCK_SLACK_S, NS_PER_S, OurProcess, TrialWindow, match_report, parse_stamp

PID = 4711
NOON = 1_795_348_800  # 2026-11-22 12:00:00 UTC
HOUR_NS = 3600 * NS_PER_S


def window(*offsets_ns: int) -> TrialWindow:
    """A trial from noon to ten seconds past."""
    return TrialWindow(NOON * NS_PER_S, (NOON + 10) * NS_PER_S, offsets_ns)


def ours(*offsets_ns: int) -> OurProcess:
    return OurProcess(PID, "Runner", window(*offsets_ns))


def test_pid_name_and_clock_agree() -> None:
    match = match_report(PID, "Runner", "2026-11-22 12:00:05.12 +0000", ours(0, 0))
    assert match.ours
    assert match.words == "our pid, name and time"


@pytest.mark.parametrize(
    ("pid", "name", "captured_at", "words"),
    [
        (PID + 1, "Runner", "2026-11-22 12:00:05.00 +0000", "our pid is 4711"),
        (PID, "MobileMail", "2026-11-22 12:00:05.00 +0000", "our process is named Runner"),
        (PID, "Runner", "2026-11-22 11:00:00.00 +0000", "3600 s before our trial began"),
        (PID, "Runner", "2026-11-22 13:00:10.00 +0000", "3600 s after our trial ended"),
    ],
)
def test_one_sign_that_disagrees_is_enough(pid: int, name: str, captured_at: str, words: str) -> None:
    match = match_report(pid, name, captured_at, ours(0, 0))
    assert not match.ours
    assert match.words.startswith("not ours")
    assert words in match.words


def test_the_phones_clock_counts_not_the_hosts() -> None:
    told = "2026-11-22 14:00:05.00 +0100"
    assert match_report(PID, "Runner", told, ours(HOUR_NS, HOUR_NS)).ours
    assert not match_report(PID, "Runner", told, ours(0, 0)).ours


@pytest.mark.parametrize("hour", [12, 13])
def test_a_clock_that_jumped_is_judged_by_the_offset_that_fits_and_the_jump_is_told(hour: int) -> None:
    match = match_report(PID, "Runner", f"2026-11-22 {hour}:00:05.00 +0000", ours(0, HOUR_NS))
    assert match.ours
    assert "jumped by +3600 s" in match.words


def test_a_small_difference_is_no_jump() -> None:
    assert window(0, round(CLOCK_SLACK_S * NS_PER_S)).jump_ns is None
    assert window(0, round((CLOCK_SLACK_S + 1) * NS_PER_S)).jump_ns is not None
    assert window(HOUR_NS).jump_ns is None


def test_the_slack_is_kept_at_both_ends() -> None:
    for second, fits in ((58, True), (57, False)):
        assert match_report(PID, "Runner", f"2026-11-22 11:59:{second}.00 +0000", ours(0)).ours is fits
    for second, fits in ((12, True), (13, False)):
        assert match_report(PID, "Runner", f"2026-11-22 12:00:{second}.00 +0000", ours(0)).ours is fits


def test_what_is_not_known_excludes_nothing_but_a_pid_must_be_known() -> None:
    assert match_report(PID, "Runner", None, ours(0)).ours
    assert match_report(PID, "Runner", "yesterday", ours(0)).ours
    assert match_report(PID, "Runner", "2026-11-22 11:00:00.00 +0000", ours()).ours
    assert match_report(PID, "Anything", None, OurProcess(PID)).ours
    assert not match_report(PID, "Runner", None, OurProcess(None, "Runner")).ours


def test_a_name_that_the_kernel_cut_off_is_the_same_name() -> None:
    process = OurProcess(PID, "A runner with a very long name of its own")
    assert match_report(PID, process.name[:16] if process.name else "", None, process).ours
    assert not match_report(PID, "A runner", None, process).ours


@pytest.mark.parametrize(
    "text", ["", "2026-11-22", "2026-13-22 12:00:05.00 +0000", "0000-01-01 00:00:00 +0000", "x" * 99]
)
def test_a_time_that_is_none(text: str) -> None:
    assert parse_stamp(text) is None


def test_a_time_as_reports_write_it() -> None:
    assert parse_stamp("2026-11-22 12:00:05.12 +0000") == pytest.approx(NOON + 5.12)
    assert parse_stamp("2026-11-22 13:00:05 +0100") == NOON + 5
