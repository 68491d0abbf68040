"""Faults as text: what is written can be read, and what cannot be read is refused with the words that would be."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.faults import (
    KINDS,
    Fault,
    FaultError,
    Moment,
    Trigger,
    format_faults,
    make_fault,
    parse_faults,
    parse_trigger,
)

names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,40}", fullmatch=True)
finite = st.integers(0, 10**12).map(lambda millionths: millionths / 10**6)
triggers = st.one_of(
    st.sampled_from([m for m in Moment if m not in (Moment.PUSH, Moment.AFTER, Moment.PHASE)]).map(Trigger),
    st.integers(0, 10**15 - 1).map(lambda offset: Trigger(Moment.PUSH, offset_bytes=offset)),
    finite.map(lambda seconds: Trigger(Moment.AFTER, seconds=seconds)),
    names.map(lambda name: Trigger(Moment.PHASE, phase=name)),
)
# by the parameter's name, as its kind is not told from outside
VALUES: dict[str, st.SearchStrategy[str | int | float]] = {
    "seconds": finite | st.just(math.inf),
    "bandwidth": st.integers(1, 10**12),
    "latency_ms": st.integers(0, 60_000),
    "service": names,
    "error": names,
    "status": st.integers(1, 255),
    "signal": st.integers(1, 64),
    "bytes": st.integers(1, 1_000_000),
    "app": names,
    "least": finite,
    "most": finite,
    "offset": st.integers(-10_000_000, 10_000_000),
}


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    name = draw(st.sampled_from(sorted(KINDS)))
    parameters = {
        key: draw(VALUES[key]) if parameter.default is None or draw(st.booleans()) else parameter.default
        for key, parameter in KINDS[name].parameters.items()
    }
    return Fault(name, draw(triggers), parameters, seed="7")


@given(st.lists(faults(), min_size=1, max_size=4))
def test_what_is_written_is_what_is_read(several: list[Fault]) -> None:
    assert parse_faults(format_faults(several), seed="7") == several


@given(triggers)
def test_a_trigger_is_read_back(trigger: Trigger) -> None:
    assert parse_trigger(str(trigger)) == trigger


@given(st.text(alphabet="abunplgkill-@:=+0123.é ", max_size=60) | st.text(max_size=60))
def test_anything_else_is_refused_with_one_kind_of_error(text: str) -> None:
    with contextlib.suppress(FaultError):
        parse_faults(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no fault ''; there are: unplug"),
        ("unplugged", "slow-link"),
        ("unplug@lunch", "there is no trigger 'lunch'; there are: now, install, push"),
        ("unplug@", "after @ comes a trigger"),
        ("unplug@launch:3", "takes nothing after a colon"),
        ("unplug:secs=3", "it has: seconds"),
        ("unplug:seconds", "is no key=value"),
        ("unplug:seconds=1:seconds=2", "given twice"),
        ("unplug:seconds=-1", "no number of seconds"),
        ("unplug@after:inf", "no number of seconds"),
        ("service-hangs", "service-hangs needs service=NAME"),
        ("slow-link:bandwidth=0B", "more than 0"),
        ("slow-link:bandwidth=fast", "no size"),
        ("afc-error:status=0", "from 1 to 255"),
        ("kill-app@push:-1", "no size"),
        ("a" * 5000, "exceed"),
    ],
)
def test_an_error_names_what_would_be_right(text: str, words: str) -> None:
    with pytest.raises(FaultError, match=words.replace("?", r"\?")):
        parse_faults(text)


def test_sizes_and_defaults_may_be_written_shortly() -> None:
    (fault,) = parse_faults("afc-error@push:1MiB")
    assert fault.trigger == Trigger(Moment.PUSH, offset_bytes=1 << 20)
    assert fault.count("status") == 18
    assert parse_faults("unplug") == parse_faults("unplug:seconds=1@now")
    assert make_fault("slow-link", {"bandwidth": "40MB"}).count("bandwidth") == 40_000_000


def test_chance_follows_the_seed_and_the_fault() -> None:
    def draw(text: str, seed: str) -> bytes:
        return parse_faults(text, seed)[0].chance().randbytes(8)

    assert draw("app-garbage", "1") == draw("app-garbage", "1")
    assert len({draw("app-garbage", "1"), draw("app-garbage", "2"), draw("app-garbage@load", "1")}) == 3


def test_the_page_about_faults_names_every_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        assert f"`{name}`" in page
        for key in kind.parameters:
            assert f"`{key}" in page
    for moment in Moment:
        assert f"| `{moment}" in page
