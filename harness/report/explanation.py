"""A trial's record put in plain words: what was asked, what happened when, how it ended and why the harness says so.

Pure: a record and the advice on it in, sections of text out; may know `core` and `analysis`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.advice import Advice
from harness.core.outcome import Evidence, Family, Outcome
from harness.core.phone import PhoneKind
from harness.core.record import TrialRecord, TrialState
from harness.core.units import format_bytes
from harness.report.advice_words import advice_lines
from harness.report.outcome_words import FAMILIES, LAST_STEP, NEXT, RULES, SOUGHT, STEPS, known_outcome
from harness.report.words import duration_text

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MAX_LINE_CHARS = 300
_STRANGE = "This program does not know that outcome: a newer harness wrote the record, and can explain it."


@dataclass(frozen=True)
class Section:
    """A heading and its lines."""

    title: str
    lines: tuple[str, ...]


def explain(record: TrialRecord, files: Sequence[str] = (), advice: Sequence[Advice] = ()) -> list[Section]:
    """The whole explanation, in the order in which a newcomer reads.

    `files` are those kept in the trial's folder, `advice` is what rules found in it; where none did, the outcome alone
    says what to try next.
    """
    sections = [
        Section("How it ended", tuple(_end(record))),
        Section("Why the harness says so", tuple(_why(record))),
        Section("What was asked", tuple(_asked(record))),
        Section("The phone", tuple(_phone(record))),
        Section("What happened when", tuple(_time_line(record))),
        Section("What each piece of evidence says", tuple(_evidence(record))),
        Section("Files", tuple(_files(record, files))),
        Section("What to try next", tuple(_next(record, advice))),
    ]
    return [section for section in sections if section.lines]


def _end(record: TrialRecord) -> Iterator[str]:
    if record.outcome is None:
        yield f"It has not ended: begun {record.started_at} by process {record.host_pid} of the host."
        return
    expected = "as expected" if record.outcome == record.expected_outcome else f"expected: {record.expected_outcome}"
    yield f"{record.outcome} ({expected}): {_short(record.reason or 'no reason was kept')}"
    if record.broken_limits:
        yield f"Over the limits of the suite: {_short(record.broken_limits)}"
    if record.cut_short:
        yield "It was cut short with its run; `harness run --resume` runs it again, and that attempt counts instead."
    outcome = _outcome(record)
    yield _STRANGE if outcome is None else FAMILIES[outcome.family]


def _why(record: TrialRecord) -> Iterator[str]:
    outcome = _outcome(record)
    if outcome is None:
        if record.outcome is None:
            yield "A trial that still runs, or whose process is gone, has no verdict; the next run closes the latter."
        return
    yield f"The rule: {RULES[outcome]}"
    decisive = [item for item in record.evidence if item.decisive]
    for item in decisive:
        yield f"What decided: {_short(item.text)}{_in_file(item)}"
    if not decisive:
        yield "Nothing decided: no rule's proof was found."
    found = {item.kind for item in record.evidence}
    missing = [words for kind, words in SOUGHT.items() if kind not in found]
    if outcome.family is not Family.MEASURED and record.pid is not None and missing:
        yield f"Looked for and not found: {', '.join(missing)}."


def _asked(record: TrialRecord) -> Iterator[str]:
    quantization = f", {record.model_quantization}" if record.model_quantization else ""
    size = format_bytes(record.model_bytes)
    yield f"Load {record.model_name}: {record.model_file}, {size}{quantization}."
    yield f"Engine {record.engine} on the {record.backend_requested.upper()}, weight cache {record.cache_state}."
    tokens = f"generate {record.decode_tokens} tokens" if record.decode_tokens else "generate nothing"
    yield f"Context of {record.max_tokens} tokens, {tokens}, {record.sample_hz} samples a second."
    which = f"Warm-up {record.ordinal}" if record.ordinal < 1 else f"Trial {record.ordinal}"
    attempt = f" (attempt {record.attempt})" if record.attempt > 1 else ""
    yield f"{which}{attempt} of case {record.case}, suite {record.suite}, begun {record.started_at}."


def _phone(record: TrialRecord) -> Iterator[str]:
    kind = "A VIRTUAL iPhone (its figures are none of a phone's)" if _virtual(record) else "iPhone"
    settings = f", settings {record.device_settings}" if record.device_settings else ""
    yield (
        f"{kind}: {record.device_product_type}, iOS {record.device_os_version} ({record.device_os_build}), "
        f"udid {record.device_udid}{settings}"
    )
    told = list(_readings(record))
    yield f"Before the trial: {', '.join(told)}." if told else "Before the trial it told nothing of itself."
    if record.cooled_ns:
        yield f"The trial waited {duration_text(record.cooled_ns)} for the phone to be ready."


def _readings(record: TrialRecord) -> Iterator[str]:
    if record.battery_celsius is not None:
        yield f"battery {record.battery_celsius:.1f} °C"
    if record.battery_percent is not None:
        yield f"{record.battery_percent} %"
    if record.battery_charging is not None:
        yield "charging" if record.battery_charging else "not charging"
    if record.thermal_state_start is not None:
        yield f"thermal state {record.thermal_state_start}"
    if record.low_power is not None:
        yield f"Low Power Mode {'on' if record.low_power else 'off'}"
    if record.free_bytes is not None:
        yield f"{format_bytes(record.free_bytes)} free"
    if record.ram_bytes is not None:
        yield f"{format_bytes(record.ram_bytes)} of memory"
    if record.phone_locked is not None:
        yield "says it is locked" if record.phone_locked else "not locked"
    if record.developer_mode is not None:
        yield f"Developer Mode {'on' if record.developer_mode else 'off'}"
    if record.developer_image is not None:
        yield f"developer image {'mounted' if record.developer_image else 'not mounted'}"


def _virtual(record: TrialRecord) -> bool:
    return record.device_kind == PhoneKind.VIRTUAL.value


# --- time line


@dataclass(frozen=True)
class _Moment:
    """On the host's clock."""

    at_ns: int
    text: str


def _time_line(record: TrialRecord) -> Iterator[str]:
    moments = sorted(_moments(record), key=lambda moment: moment.at_ns)
    if not moments:
        yield "No step was recorded."
        return
    start_ns = moments[0].at_ns
    if record.clock_offset_ns is None:
        yield "The app's clock was not measured: only what the host did is here."
    for moment in moments:
        yield f"{_clock(moment.at_ns - start_ns)}  {moment.text}"
    drift_ns = _drift(record)
    if drift_ns is not None:
        error_ns = max(record.clock_round_trip_ns or 0, record.clock_round_trip_end_ns or 0) // 2
        yield (
            f"Between the trial's begin and end the app's clock moved by {drift_ns / NS_PER_MS:+.2f} ms against the "
            f"host's (known to within {error_ns / NS_PER_MS:.2f} ms)."
        )


def _moments(record: TrialRecord) -> Iterator[_Moment]:
    for step in record.host_steps:
        took = "" if step.duration_ns is None else f" ({duration_text(step.duration_ns)})"
        if step.duration_ns is None and step.name != LAST_STEP:
            took = " (never ended)"
        yield _Moment(step.begin_ns, f"host   {step.name}: {STEPS.get(step.name, 'a step of the harness')}{took}")
    for cut in record.cuts:
        back = (
            "and did not come back" if cut.back_ns is None else f"back after {duration_text(cut.back_ns - cut.gone_ns)}"
        )
        yield _Moment(cut.gone_ns, f"CUT    the phone left its cable, {back}")
    offset_ns = record.clock_offset_ns
    if offset_ns is None:
        return
    for phase in record.phases:
        took = "NO END WAS HEARD OF"
        if phase.duration_ns is not None:
            took = duration_text(phase.duration_ns)
        yield _Moment(phase.begin_ns - offset_ns, f"app    {phase.name} ({took})")
    for notice in record.notices:
        told = notice.kind.replace("_", " ") + (f": {notice.text}" if notice.text else "")
        yield _Moment(notice.at_ns - offset_ns, f"phone  {told}")
    for gap in record.sample_gaps:
        yield _Moment(gap.begin_ns - offset_ns, f"GAP    no sample for {duration_text(gap.length_ns)}")
    if record.last_sample_ns is not None:
        yield _Moment(record.last_sample_ns - offset_ns, f"app    last of {record.sample_count} samples")


def _drift(record: TrialRecord) -> int | None:
    if record.clock_offset_ns is None or record.clock_offset_end_ns is None:
        return None
    return record.clock_offset_end_ns - record.clock_offset_ns


def _clock(ns: int) -> str:
    return f"{ns / NS_PER_S:9.3f} s"


# --- evidence, files, advice


def _evidence(record: TrialRecord) -> Iterator[str]:
    for item in record.evidence:
        mark = "decided  " if item.decisive else "         "
        yield f"{mark}{item.kind.value.replace('_', ' ')}: {_short(item.text)}{_in_file(item)}"
    if record.seq_missing:
        yield f"         {record.seq_missing} events of the app are in neither stream nor journal"
    if record.sample_gap_count:
        limit = (
            "" if record.sample_gap_limit_ns is None else f" of more than {duration_text(record.sample_gap_limit_ns)}"
        )
        yield f"         {record.sample_gap_count} gaps{limit} between samples"


def _in_file(item: Evidence) -> str:
    return "" if item.file is None else f"  [{item.file}]"


def _files(record: TrialRecord, files: Sequence[str]) -> Iterator[str]:
    yield from (f"{record.artifacts_dir}/{name}" for name in files)
    if record.telemetry_file is not None:
        yield f"{record.telemetry_file}  every reading ({record.sample_count} samples of the app)"


def _next(record: TrialRecord, advice: Sequence[Advice]) -> Iterator[str]:
    outcome = _outcome(record)
    if outcome is None and record.outcome is not None:
        return
    if outcome is None:
        yield "Wait for it, or run again: an abandoned trial is closed."
    elif advice:
        yield from advice_lines(advice)
    else:
        yield from NEXT[outcome]


def _outcome(record: TrialRecord) -> Outcome | None:
    if record.state != TrialState.DONE.value or record.outcome is None:
        return None
    return known_outcome(record.outcome)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LINE_CHARS else f"{line[: MAX_LINE_CHARS - 1]}…"
