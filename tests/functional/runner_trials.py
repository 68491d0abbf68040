"""Jobs for a built runner app, and what is asked of the events of a trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.functional.runner_process import LIMIT_S, Event

LOAD_PHASES = ["load_library", "create_engine", "create_session"]
GENERATE_PHASES = ["prefill", "first_token", "decode"]
END_PHASES = ["unload", "settle"]
JOB = {
    "engine": "litert_lm",
    "backend": "cpu",
    "cache": "none",
    "sample_hz": 1000,
    "prompt": "hello memory",
    "decode_tokens": 12,
    "seed": 7,
}


def job(model: str = "tiny.task", **changes: object) -> Event:
    return {"model": model, **JOB, **changes}


def phases(events: list[Event]) -> list[str]:
    """The phases in the order of their ends; asserts that each begins before it ends and none overlaps another."""
    names = []
    running = None
    for event in events:
        if event["ev"] != "phase":
            continue
        if event["edge"] == "begin":
            assert running is None
            running = event["name"]
        else:
            assert running == event["name"]
            names.append(running)
            running = None
    assert running is None
    return names


def without_gaps(events: list[Event]) -> bool:
    numbers = [event["seq"] for event in events]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def replayed(events: list[Event], from_seq: int) -> list[Event]:
    """The events from the replay on; before it there may be live ones, sent while ``resume`` was on its way."""
    start = max(index for index, event in enumerate(events) if event["seq"] == from_seq)
    return events[start:]


def samples(events: list[Event], column: int) -> list[Any]:
    return [event["d"][column] for event in events if event["ev"] == "sample"]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about"
        time.sleep(0.01)
