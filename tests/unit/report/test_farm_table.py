"""A farm as rows and lines of text, at the width of a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from harness.report.farm_table import (
    LIVE_HEADINGS,
    PHONE_EXPENDABLE,
    PHONE_HEADINGS,
    failure_lines,
    live_rows,
    note_lines,
    phone_names,
    phone_rows,
    run_line,
)
from harness.report.fitting import GAP, cropped, fitting, longest

UDID_A, UDID_B = "00008140-0000EB9CB66135FD", "00008140-0003B294421CF176"


@dataclass(frozen=True)
class OfJob:
    text: str = "qwen-2.5/litert_lm/gpu/cold#12"
    run_id: str = "r1"


@dataclass(frozen=True)
class APhone:
    phone: str = f"{UDID_A}@mac-mini-3"
    host: str = "mac-mini-3"
    kind: str = "virtual"
    product_type: str = "iPhone17,1"
    os_version: str = "18.5"
    state: str = "free"
    note: str = ""
    job: OfJob | None = None
    doing: str | None = None
    share: float | None = None
    strikes: int = 0
    done: int = 3
    battery_percent: int | None = None
    battery_celsius: float | None = None
    thermal: str | None = None
    heard_s: float = 0.1


@dataclass(frozen=True)
class ARun:
    run_id: str = "r1"
    suite: str = "smoke"
    target: str = "class:iPhone17,1"
    priority: int = 0
    by: str = ""
    state: str = "active"
    total: int = 64
    waiting: int = 12
    running: int = 4
    done: int = 48
    given_up: int = 0
    planned_s: float | None = None
    took_s: float | None = None
    left_s: float | None = 180.0


@dataclass(frozen=True)
class AnEvent:
    run_id: str = "r1"
    at: str = "2026-11-20T18:20:07.123+00:00"
    what: str = "given_up"
    job: OfJob | None = field(default_factory=OfJob)
    phone: str | None = UDID_A
    text: str = "three\nstrikes"


LONG_TRIAL = "a-model-with-a-name-of-its-own/litert_lm/gpu/cold#12"
BUSY = APhone(state="busy", job=OfJob(LONG_TRIAL), doing="push", share=0.4)
OUT = APhone(
    phone=f"{UDID_B}@mac-mini-4", host="mac-mini-4", state="out", note="three strikes: no answer " * 5, doing="settle"
)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_live_table_fits_and_keeps_what_is_asked_for(width: int) -> None:
    headings, rows = live_rows([OUT, BUSY], ["r1"], width)
    widths = [max(len(heading), *(len(cells[at]) for _, cells in rows)) for at, heading in enumerate(headings)]
    assert sum(widths) + GAP * (len(widths) - 1) <= width
    assert {*headings} >= {*LIVE_HEADINGS} - {"Class"}
    busy = dict(zip(headings, rows[0][1], strict=True))
    assert busy["Phone"] == "…6135FD@mac-mini-3"
    assert (busy["State"], busy["Doing"]) == ("busy", "push 40 %")
    assert busy["Trial"].endswith("cold#12")
    assert rows[1][1][-2] == "", "what it did when it was last heard of"
    assert rows[1][1][-1].startswith("three strikes")
    assert ("Class" in headings) is (width >= 100)


def test_a_trial_of_another_run_is_told_as_such() -> None:
    _, rows = live_rows([BUSY], ["r2"], 200)
    assert rows[0][1][-1].startswith("(another run) ")


def test_short_names_tell_phones_apart_and_hosts_where_there_are_several() -> None:
    twins = [replace(BUSY, phone=f"1{'0' * 10}{end}", host="a") for end in ("11222222", "33222222")]
    assert len(set(phone_names(twins).values())) == 2
    assert phone_names([BUSY])[BUSY.phone] == "…6135FD"


def test_a_host_is_told_where_the_name_does_not() -> None:
    rows = phone_rows([BUSY, replace(BUSY, phone=UDID_B)])
    assert [row[1] for row in rows] == ["", "mac-mini-3"]
    headings, _ = fitting(PHONE_HEADINGS, phone_rows([APhone()]), 200, PHONE_EXPENDABLE)
    assert not {"Host", "Battery"} & {*headings}
    assert "Done" in headings


def test_notes_are_lines_of_their_own() -> None:
    assert note_lines([APhone()]) == []
    assert note_lines([APhone(state="reserved", note="by anna: cables")]) == [
        f"{UDID_A}@mac-mini-3: reserved by anna: cables"
    ]


def test_a_failure_is_one_line() -> None:
    assert failure_lines([AnEvent()]) == [
        f"18:20:07 given up qwen-2.5/litert_lm/gpu/cold#12 on {UDID_A}: three strikes"
    ]
    assert failure_lines([AnEvent(job=None, phone=None, what="note")]) == ["18:20:07 note: three strikes"]


def test_a_run_in_one_line() -> None:
    assert run_line(ARun()) == "smoke on class:iPhone17,1: 48 of 64 done, 4 running, about 3 min left"
    assert run_line(ARun(running=0, left_s=None, given_up=2)).endswith("48 of 64 done, 2 given up, end not known yet")


def test_columns_go_in_their_order_and_only_those() -> None:
    rows = [("a" * 30, "b" * 10, "c" * 10, "–")]
    names = ("One", "Two", "Three words here", "None")
    assert fitting(names, rows, 200, ("None", "Two"))[0] == ["One", "Two", "Three words here"]
    # the heading in lines is enough
    assert fitting(names, rows, 54, ("None", "Two"))[0] == ["One", "Two", "Three\nwords\nhere"]
    assert fitting(names, rows, 53, ("None", "Two"))[0] == ["One", "Three words here"]
    assert fitting(names, rows, 5, ("None", "Two"))[1] == [["a" * 30, "c" * 10]]
    assert fitting(names, [], 200, ()) == ([*names], [])


@pytest.mark.parametrize("width", range(12))
def test_what_is_cropped_has_its_end(width: int) -> None:
    text = cropped("wide/cold#12", width)
    assert len(text) == width
    assert width < 8 or text.endswith("#12")
    assert cropped("three strikes", width, of_end=0.0)[:-1] == "three strikes"[: max(0, width - 1)]
    assert longest("ab\nabc") == 3
