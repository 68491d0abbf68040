"""Rules about the phone: heat, power, storage, the lock, Developer Mode, and how well it was watched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import median

from harness.analysis.advice.facts import Facts, Finding, quoted
from harness.core.outcome import EvidenceKind, Outcome
from harness.core.record import TrialRecord
from harness.core.units import format_bytes

NS_PER_MS = 1_000_000
_COOL = ("nominal",)
_HOT = ("serious", "critical")
# Decode rates of one case differ by so much from trial to trial; less proves no throttling.
SLOWER = 0.85
# A peak between two samples counts as missed when the kernel's mark is higher by this share, and by these bytes.
MISSED_SHARE = 1.10
MISSED_BYTES = 16 * 1024 * 1024

_FULL = re.compile(r"disk (is )?full|no space left|not enough (space|storage)|no ?space|that stay free", re.IGNORECASE)
_NEEDS_COOLING = re.compile(r"max_battery_celsius: the battery has|max_thermal: the thermal state is")


def too_hot_to_begin(facts: Facts) -> Finding | None:
    """The phone was warmer than the suite allows, and did not cool in time."""
    record = facts.record
    words = facts.said(_NEEDS_COOLING)
    if facts.outcome is not Outcome.NOT_READY or words is None:
        return None
    charging = ", and it charges, which warms it" if record.battery_charging else ""
    return Finding(
        f"{words}{charging}",
        "Let it cool out of its case, away from other phones and off the charger if it can be; for a longer wait raise "
        "`cool_timeout_s` in the suite's [needs]",
    )


def throttled(facts: Facts) -> Finding | None:
    """Measured while the phone was hot, or while it was warm and slower than when it was cool."""
    record = facts.record
    if not facts.measured:
        return None
    states = [state for state in _thermal_states(record) if state not in _COOL]
    if not states:
        return None
    cool = [
        other.decode_tokens_per_s
        for other in facts.same_load()
        if other.decode_tokens_per_s is not None and {*_thermal_states(other)} <= {*_COOL} and other.thermal_state_start
    ]
    own = record.decode_tokens_per_s
    slower = own is not None and bool(cool) and own < SLOWER * median(cool)
    if not slower and not {*states} & {*_HOT}:
        return None
    celsius = "" if record.battery_celsius is None else f", battery {record.battery_celsius:.1f} °C before the trial"
    rate = f"; it decoded {own:.1f} tokens/s, {median(cool):.1f} when nominal" if own is not None and slower else ""
    return Finding(
        f"thermal state {' → '.join(dict.fromkeys(_thermal_states(record)))}{celsius}{rate}",
        'Its times are those of a throttled phone: set `max_thermal = "nominal"` and `max_battery_celsius` in [needs] '
        "of the suite, and a `pause_s` between trials; its memory figures stand",
    )


def low_power_mode(facts: Facts) -> Finding | None:
    """Measured in Low Power Mode, or it came on in the middle."""
    record = facts.record
    came = any(notice.kind == "low_power" and notice.text == "on" for notice in record.notices)
    if not facts.measured or not (record.low_power or came):
        return None
    battery = "" if record.battery_percent is None else f", battery at {record.battery_percent} %"
    return Finding(
        f"Low Power Mode was on {'from the start' if record.low_power else 'from the middle of the trial on'}{battery}",
        "Its times are another phone's: switch it off (Settings → Battery) and charge; take `low_power = true` out of "
        "the suite's [needs] unless it is what you mean to measure. Its memory figures stand",
    )


def storage_full(facts: Facts) -> Finding | None:
    """The phone has no room for the model."""
    record = facts.record
    free, size = record.free_bytes, record.model_bytes
    if facts.outcome is not Outcome.PUSH_FAILED:
        return None
    said = facts.said(_FULL)
    short = free is not None and free < size
    if not short and said is None:
        return None
    figures = (
        f"{format_bytes(free)} free before the trial, the model has {format_bytes(size)}" if free is not None else ""
    )
    return Finding(
        "; ".join(text for text in (figures, said) if text),
        "Make room on the phone (Settings → General → iPhone Storage), or let older models give way (fewer `--keep`). "
        "An app needs twice the model's size: the weight cache is about as large",
    )


def cache_could_not_be_written(facts: Facts) -> Finding | None:
    """Storage ran out while the app worked: the weight cache takes about as much as the model."""
    record = facts.record
    said = facts.said(_FULL)
    if said is None or record.pid is None or facts.outcome is Outcome.PUSH_FAILED:
        return None
    free = "" if record.free_bytes is None else f"; {format_bytes(record.free_bytes)} were free before the trial"
    return Finding(
        f"{said}{free}, and the model has {format_bytes(record.model_bytes)}",
        f"Keep about {format_bytes(2 * record.model_bytes)} free (`min_free` in the suite's [needs]); in an app, look "
        "before the load, and delete a cache that was left half-built",
    )


def phone_locked(facts: Facts) -> Finding | None:
    """The phone said that it was locked, and would not start the app."""
    if facts.outcome not in (Outcome.NOT_READY, Outcome.LAUNCH_FAILED) or not facts.record.phone_locked:
        return None
    return Finding(
        "the phone said that it was locked",
        "Unlock it, and set Settings → Display & Brightness → Auto-Lock to Never on a phone that is used for measuring",
    )


def developer_mode_off(facts: Facts) -> Finding | None:
    """Developer Mode is off: no app of a developer starts."""
    if facts.measured or facts.record.developer_mode is not False:
        return None
    return Finding(
        "the phone said that Developer Mode is off",
        "Switch it on: Settings → Privacy & Security → Developer Mode, and restart the phone",
    )


def developer_image_missing(facts: Facts) -> Finding | None:
    """The developer image is not mounted, as after every restart of the phone."""
    record = facts.record
    if facts.measured or record.developer_image is not False or record.developer_mode is False:
        return None
    return Finding(
        "the phone said that the developer image is not mounted; every restart takes it away",
        "Mount it: `pymobiledevice3 mounter auto-mount`, with the phone unlocked",
    )


def peak_may_be_missed(facts: Facts) -> Finding | None:
    """The kernel saw a far higher peak than any sample: it lies between two of them."""
    record = facts.record
    if facts.kill is not None:
        mark, seen, whose = facts.kill.footprint_bytes, record.peak_footprint_bytes, "the kill found a footprint of"
    else:
        marks = (record.kernel_peak_resident_bytes, *(phase.kernel_peak_resident_bytes for phase in record.phases))
        mark = max((value for value in marks if value is not None), default=0)
        seen, whose = record.peak_resident_bytes, "the kernel's own mark of resident memory is"
    if seen is None or mark < MISSED_SHARE * seen or mark - seen < MISSED_BYTES:
        return None
    gap = record.sample_gap_max_ns
    between = "" if gap is None else f"; samples were up to {gap / NS_PER_MS:.0f} ms apart"
    return Finding(
        f"{whose} {format_bytes(mark)}, the highest sample {format_bytes(seen)}{between}",
        f"The sampled peak is too low: raise `sample_hz` (it was {record.sample_hz}; 1000 at most), and take the "
        "kernel's figure where there is one",
    )


def phone_lost_by_restart(facts: Facts) -> Finding | None:
    """The phone went away in mid-trial and came back without the app."""
    if facts.outcome is not Outcome.LOST:
        return None
    item = next((item for item in facts.record.evidence if item.kind is EvidenceKind.PROCESS_LIST), None)
    back = [cut for cut in facts.record.cuts if cut.back_ns is not None]
    if not back or item is None or "is gone" not in item.text:
        return None
    return Finding(
        f"the phone was away and back, and {quoted(item.text)}",
        "It has restarted, it seems: look under Settings → Privacy & Security → Analytics Data for a panic report of "
        "that time; heat and a worn-out battery are usual causes",
    )


def _thermal_states(record: TrialRecord) -> Iterator[str]:
    if record.thermal_state_start is not None:
        yield record.thermal_state_start
    yield from (notice.text for notice in record.notices if notice.kind == "thermal" and notice.text)
