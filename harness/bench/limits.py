"""Whether a trial's figures keep the limits that its suite sets. Pure: a record in, words out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.bench.suite_rules import Limit
from harness.core.outcome import Family, Outcome
from harness.core.record import TrialRecord
from harness.core.units import format_bytes

NS_PER_S = 1_000_000_000
SEPARATOR = "; "


@dataclass(frozen=True)
class _Figure:
    """What a limit of the suite file is on."""

    measured: Callable[[TrialRecord], float | None]
    """In bytes, seconds or tokens a second; None: the trial has no such figure."""
    words: Callable[[float], str]
    at_most: bool
    """The limit is the largest value that keeps it, else the smallest."""


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / NS_PER_S


def _head_room(record: TrialRecord) -> float | None:
    if record.footprint_limit_bytes is None or record.peak_footprint_bytes is None:
        return None
    return record.footprint_limit_bytes - record.peak_footprint_bytes


def _bytes(value: float) -> str:
    return format_bytes(int(value))


def _time(value: float) -> str:
    return f"{value:.4g} s"


def _rate(value: float) -> str:
    return f"{value:.4g} tokens/s"


FIGURES: Mapping[str, _Figure] = {
    "max_peak_footprint": _Figure(lambda record: record.peak_footprint_bytes, _bytes, at_most=True),
    "min_head_room": _Figure(_head_room, _bytes, at_most=False),
    "max_leftover_footprint": _Figure(lambda record: record.leftover_footprint_bytes, _bytes, at_most=True),
    "max_load_s": _Figure(lambda record: _seconds(record.load_ns), _time, at_most=True),
    "max_ttft_s": _Figure(lambda record: _seconds(record.ttft_ns), _time, at_most=True),
    "min_prefill_tokens_per_s": _Figure(lambda record: record.prefill_tokens_per_s, _rate, at_most=False),
    "min_decode_tokens_per_s": _Figure(lambda record: record.decode_tokens_per_s, _rate, at_most=False),
}
"""Key of `[[limit]]` → the figure."""


def broken(record: TrialRecord, limits: Sequence[Limit]) -> str:
    """The limits that the figures break, in plain words: `max_load_s 2 s: measured 2.31 s`; empty: all are kept.

    A figure that is missing breaks its limit: nothing shows that it was kept.
    """
    told = []
    for limit in limits:
        for name, value in limit.figures.items():
            figure = FIGURES[name]
            measured = figure.measured(record)
            if measured is None:
                told.append(f"{name} {figure.words(value)}: not measured")
            elif (measured > value) if figure.at_most else (measured < value):
                told.append(f"{name} {figure.words(value)}: measured {_apart(figure.words, measured, value)}")
    # two rules may set the same limit
    return SEPARATOR.join(dict.fromkeys(told))


def checked(record: TrialRecord, limits: Sequence[Limit]) -> str | None:
    """What the record keeps as `broken_limits`: None where nothing is to be checked.

    That is a case without limits, a warm-up (it does not count), and a trial that did not load: there its outcome is
    the news. One that fell back is checked where that was expected, else its figures are another backend's.
    """
    measured = record.outcome == Outcome.LOADED or (
        record.outcome == record.expected_outcome and record.outcome_family == Family.MEASURED
    )
    if not limits or record.ordinal < 1 or not measured:
        return None
    return broken(record, limits)


def words(limit: Limit) -> tuple[str, ...]:
    """Each figure with its value: `max_peak_footprint 100 MiB`."""
    return tuple(f"{name} {FIGURES[name].words(value)}" for name, value in limit.figures.items())


def _apart(in_words: Callable[[float], str], measured: float, limit: float) -> str:
    """The measured value; exactly, where rounding would make it look like the limit."""
    told = in_words(measured)
    return f"{told} ({measured!r})" if _bare(told) == _bare(in_words(limit)) else told


def _bare(told: str) -> list[str]:
    """Number and unit; `100.00 MiB` is `100 MiB`."""
    number, unit = told.split()
    return [number.rstrip("0").rstrip(".") if "." in number else number, unit]
