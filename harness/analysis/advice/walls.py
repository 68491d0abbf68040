"""Rules about the two walls: the address space that an app has, and the footprint at which the phone kills it."""

from __future__ import annotations

from harness.analysis.advice.facts import (
    EXTENDED_ADDRESSING,
    INCREASED_LIMIT,
    PER_PROCESS_LIMIT,
    Facts,
    Finding,
    entitled,
    has_large_address_space,
)
from harness.core.outcome import Family, Outcome
from harness.core.record import TrialRecord
from harness.core.telemetry import Notice
from harness.core.units import MIB, format_bytes

NS_PER_S = 1_000_000_000
# The kernel warns an app this far below its limit, but never below this share of it.
WARNING_DISTANCE_BYTES = 100 * MIB
WARNING_SHARE = 0.8
_SMALLER = "a lower quantisation, a smaller model or a file made for a smaller context"


def extended_addressing_would_do(facts: Facts) -> Finding | None:
    """No room for an allocation, no entitlement for a large address space, and the load needs more than fits."""
    record = facts.record
    if facts.no_room_words is None or has_large_address_space(record) is not False:
        return None
    found = []
    if (over := facts.over_the_largest_mapping) is not None:
        needed, most, known = over
        found.append(
            f"the load needs {format_bytes(needed)} of address space {known}; the app found {format_bytes(most)} at "
            "most"
        )
    widened = _in_large_address_space(facts)
    if loaded := _loaded(widened):
        found.append(f"the same load in the app with the entitlement loaded (trial {loaded[0].trial_id})")
    if not found or (widened and not loaded):
        return None
    return Finding(
        f"{facts.outcome}, the app is without {EXTENDED_ADDRESSING}, and {'; '.join(found)}",
        f'Build the app with {EXTENDED_ADDRESSING} (`variants = ["extended-addressing"]` in the suite\'s [matrix]); on '
        f"iOS 16 and later increased-memory-limit does it, too. Or load with a warm weight cache, or take {_SMALLER}",
    )


def mapping_failed(facts: Facts) -> Finding | None:
    """The engine, libc++ or libc says that an allocation found no room, under another name than bad_alloc."""
    words = facts.no_room_words
    if words is None or facts.outcome is Outcome.BAD_ALLOC or has_large_address_space(facts.record) is not False:
        return None
    # said better there, or tried without success
    if extended_addressing_would_do(facts) is not None or _in_large_address_space(facts):
        return None
    return Finding(
        f"{words} is a want of address space, though the outcome is {facts.outcome}; the app is without "
        f"{EXTENDED_ADDRESSING}",
        'Try the app with both entitlements (`variants = ["both"]` in the suite\'s [matrix]) before anything else',
    )


def too_large_even_so(facts: Facts) -> Finding | None:
    """The address space does not suffice although the app has the entitlement for the large one."""
    over = facts.over_the_largest_mapping
    if facts.no_room_words is None or over is None or not has_large_address_space(facts.record):
        return None
    needed, most, known = over
    return Finding(
        f"the load needs {format_bytes(needed)} of address space {known}; the app, entitled to a large one, found "
        f"{format_bytes(most)} at most",
        f"No entitlement helps any more: take {_SMALLER}, or load with a warm weight cache",
    )


def increased_limit_would_do(facts: Facts) -> Finding | None:
    """Killed at the footprint limit without the entitlement that, on this class of phone, gives a higher one."""
    record, kill = facts.record, facts.kill
    if kill is None or not facts.hit_the_footprint_limit or entitled(record, INCREASED_LIMIT) is not False:
        return None
    limit_bytes = record.footprint_limit_bytes or kill.footprint_bytes
    higher = [
        other
        for other in facts.neighbours
        if entitled(other, INCREASED_LIMIT) and (other.footprint_limit_bytes or 0) > limit_bytes
    ]
    if not higher:
        return None
    tried = [other for other in facts.same_load() if other in higher]
    if tried:
        if not (done := _loaded(tried)):
            return None
        best, more = done[0], f", and loaded this model there with a peak of {_bytes(done[0].peak_footprint_bytes)}"
    else:
        best = max(higher, key=lambda other: other.footprint_limit_bytes or 0)
        needed = record.predicted_peak_footprint_bytes
        if needed is not None and needed > (best.footprint_limit_bytes or 0):
            return None
        more = "" if needed is None else f"; the load needs {format_bytes(needed)} by the model's own figures"
    return Finding(
        f"killed at {format_bytes(kill.footprint_bytes)} with a limit of {_bytes(record.footprint_limit_bytes)}; the "
        f"app with {INCREASED_LIMIT} had a limit of {_bytes(best.footprint_limit_bytes)} on this class of phone "
        f"(trial {best.trial_id}){more}",
        f'Build the app with {INCREASED_LIMIT} (`variants = ["increased-limit"]` in the suite\'s [matrix])',
    )


def increased_limit_has_no_effect(facts: Facts) -> Finding | None:
    """Killed at the footprint limit, and the entitlement for a higher one gives none on this class of phone."""
    record = facts.record
    limit_bytes = record.footprint_limit_bytes
    if not facts.hit_the_footprint_limit or not entitled(record, INCREASED_LIMIT) or limit_bytes is None:
        return None
    plain = [
        other
        for other in facts.neighbours
        if entitled(other, INCREASED_LIMIT) is False and (other.footprint_limit_bytes or 0) >= limit_bytes
    ]
    if not plain:
        return None
    return Finding(
        f"the limit is {format_bytes(limit_bytes)} with {INCREASED_LIMIT}, and was "
        f"{_bytes(plain[0].footprint_limit_bytes)} without it (trial {plain[0].trial_id})",
        f"This class of phone gives nothing for the entitlement: take {_SMALLER}, or a phone with more memory",
    )


def system_is_short_of_memory(facts: Facts) -> Finding | None:
    """Killed for the whole phone's want of memory, not at the app's own limit."""
    kill = facts.kill
    if kill is None or kill.reason == PER_PROCESS_LIMIT:
        return None
    limit = facts.record.footprint_limit_bytes
    return Finding(
        f"the phone killed for {kill.reason} at {format_bytes(kill.footprint_bytes)}; the app's own limit is "
        f"{_bytes(limit)}",
        "Not this app's limit was reached: close other apps or restart the phone, keep the app in front, and run again",
    )


def memory_warning_came(facts: Facts) -> Finding | None:
    """The phone warned the app before it killed it, or warned one that went on loading and got through."""
    record = facts.record
    warnings = [notice for notice in record.notices if notice.kind in ("memory_warning", "memory_pressure")]
    if not warnings or not (facts.kill is not None or facts.measured):
        return None
    told = (
        f"{len(warnings)} {'warning' if len(warnings) == 1 else 'warnings'} of low memory, {_when(facts, warnings[0])}"
    )
    limit = f"peak {_bytes(facts.peak_bytes)}, limit {_bytes(record.footprint_limit_bytes)}"
    if facts.kill is not None:
        end = f"then the phone killed it for {facts.kill.reason} ({limit})"
    else:
        end = f"yet it got through ({limit})"
    return Finding(
        f"{told}; {end}",
        "In an app, stop the load when the warning comes and say why; `guard_reserve_bytes` in the suite's [options] "
        "does so here. For more distance: a warm weight cache, a smaller context, a lower quantisation",
    )


def little_head_room(facts: Facts) -> Finding | None:
    """It loaded, but its peak is where the kernel would warn an app; nobody heard a warning."""
    peak, limit = facts.peak_bytes, facts.record.footprint_limit_bytes
    if not facts.measured or peak is None or limit is None or memory_warning_came(facts) is not None:
        return None
    if peak < max(limit - WARNING_DISTANCE_BYTES, WARNING_SHARE * limit):
        return None
    return Finding(
        f"peak {format_bytes(peak)} of a limit of {format_bytes(limit)}: {format_bytes(limit - peak)} are left",
        "An app that does anything beside the model may be killed: `harness fit` finds what loads with head-room to "
        "spare",
    )


def guard_stopped_it(facts: Facts) -> Finding | None:
    """The runner itself stopped the load before the kernel would."""
    record = facts.record
    if facts.outcome is not Outcome.LOAD_ERROR or record.guard_reserve_bytes is None:
        return None
    if "memory guard:" not in (record.reason or ""):
        return None
    limit, predicted = record.footprint_limit_bytes, record.predicted_peak_footprint_bytes
    known = (
        f"peak {_bytes(facts.peak_bytes)}, limit {_bytes(limit)}, reserve {format_bytes(record.guard_reserve_bytes)}"
    )
    if limit is not None and predicted is not None and predicted < limit:
        return Finding(
            f"stopped by the suite's own guard ({known}); the load needs {format_bytes(predicted)} by the model's own "
            "figures",
            f"It would fit: lower `guard_reserve_bytes` below {format_bytes(limit - predicted)}, or take it out",
        )
    return Finding(
        f"stopped by the suite's own guard ({known})",
        f"Lower `guard_reserve_bytes` to see how far it gets, or take {_SMALLER}",
    )


def foreseen(facts: Facts) -> Finding | None:
    """The preflight had said that it would not load, and it did not, for want of memory."""
    record = facts.record
    if record.preflight != "will_not_load" or not facts.out_of_memory:
        return None
    return Finding(
        f"foreseen before a byte was pushed: {record.preflight_reason or 'the figures exceed the limits'}",
        "`harness fallback SUITE` finds the first way in which it loads, `harness fit MODEL` the largest that does",
    )


def _in_large_address_space(facts: Facts) -> list[TrialRecord]:
    """The same load in an app that is entitled to it, where that said something about the model."""
    tried = [other for other in facts.same_load() if has_large_address_space(other)]
    return [other for other in tried if other.outcome_family in (Family.MEASURED, Family.MODEL)]


def _loaded(records: list[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.outcome == Outcome.LOADED]


def _when(facts: Facts, notice: Notice) -> str:
    phase = next(
        (
            phase.name
            for phase in facts.record.phases
            if phase.begin_ns <= notice.at_ns and (phase.end_ns is None or notice.at_ns <= phase.end_ns)
        ),
        None,
    )
    during = "" if phase is None else f" during {phase}"
    last_ns = facts.record.last_sample_ns
    if facts.measured or last_ns is None or last_ns < notice.at_ns:
        return f"the first{during}"
    return f"the first{during}, {(last_ns - notice.at_ns) / NS_PER_S:.3f} s before the last sample"


def _bytes(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else format_bytes(size_bytes)
