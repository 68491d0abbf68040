"""What faults turn on a phone, and that it is turned back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from harness.virtual.events import AppFileReached, AppLaunched, AppPhase, Event, Events
from harness.virtual.fault_injector import ARMED_LIMIT, FaultInjector, TooManyFaults
from harness.virtual.faults import parse_faults
from harness.virtual.link import UNSHAPED, Link
from harness.virtual.switches import Switches

pytestmark = pytest.mark.anyio


class Hands:
    """Notes what it was asked to do."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *words: self.done.append(name)


class Bed:
    """A phone that consists of switches."""

    def __init__(self) -> None:
        self.phone: Any = SimpleNamespace(
            events=Events(), switches=Switches(), link=Link(), state=SimpleNamespace(drop_large_packets=False)
        )
        self.hands = Hands()
        self.faults = FaultInjector(self.phone, self.hands)  # type: ignore[arg-type]  # any name is a hand of it

    def arm(self, text: str) -> None:
        for fault in parse_faults(text):
            self.faults.arm(fault)


async def test_what_lasts_ends_after_its_time() -> None:
    bed = Bed()
    bed.arm("drop-large-packets:seconds=0.05")
    assert bed.phone.state.drop_large_packets
    async with asyncio.timeout(10):
        while bed.phone.state.drop_large_packets:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)


async def test_what_lasts_for_good_ends_with_heal() -> None:
    bed = Bed()
    bed.arm("app-silent+sysmontap-silent+service-hangs:service=a+service-refuses:service=b+slow-link+sysmontap-slow")
    switches, healthy = bed.phone.switches, Switches()
    assert switches != healthy
    assert 3 <= switches.sysmontap_interval_s <= 5
    bed.arm("afc-error+file-corrupted+app-garbage")
    bed.faults.heal()
    assert switches == healthy
    assert bed.phone.link.shape == UNSHAPED
    assert not bed.phone.link.in_path


@pytest.mark.parametrize(
    ("text", "others", "event"),
    [
        ("unplug@launch", [AppPhase("launch")], AppLaunched(1, "a")),
        ("unplug@load", [AppPhase("verify"), AppLaunched(1, "a")], AppPhase("create_engine")),
        ("unplug@phase:hold", [AppPhase("decode")], AppPhase("hold")),
        ("unplug@push:7", [AppFileReached(6)], AppFileReached(7)),
    ],
)
async def test_only_its_own_moment_sets_a_fault_off_and_only_once(text: str, others: list[Event], event: Event) -> None:
    bed = Bed()
    bed.arm(text)
    for other in others:
        bed.phone.events.emit(other)
    assert bed.hands.done == []
    bed.phone.events.emit(event)
    bed.phone.events.emit(event)
    assert bed.hands.done == ["unplug"]
    assert not bed.phone.events.wanted(type(event))
    assert not bed.phone.events.has_write_marks
    await bed.faults.close()


async def test_a_slow_link_takes_the_path_from_the_arming_on() -> None:
    bed = Bed()
    bed.arm("slow-link:seconds=0@launch")
    assert bed.phone.link.in_path
    assert bed.phone.link.shape == UNSHAPED
    bed.faults.heal()
    assert not bed.phone.link.in_path


async def test_arming_has_a_limit() -> None:
    bed = Bed()
    bed.arm("+".join(f"unplug@push:{offset}" for offset in range(ARMED_LIMIT)))
    with pytest.raises(TooManyFaults):
        bed.arm("unplug@load")
    await bed.faults.close()
    assert not bed.phone.events.has_write_marks
