"""Waiting for a phone to be ready, and for one that has left its cable."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from harness.bench.cable import CableWatch
from harness.bench.listener import Listener
from harness.bench.ready import wait_until_ready
from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts, PhoneKind
from harness.device.errors import StepError
from harness.device.interface import Transport
from harness.device.readiness import Needs, Unmet

pytestmark = pytest.mark.anyio
FACTS = PhoneFacts("0000", PhoneKind.VIRTUAL, "iPhone17,1", "18.5", "22F76", "phone")
WARM = Unmet("max_battery_celsius", "the battery has 41.0 °C", "Let the phone cool", "41.0 °C → 35.0 °C")
FULL = Unmet("min_free", "0 B are free", "Make room on the phone")
QUICK = Needs(cool_timeout_s=30.0, cool_poll_s=0.001)
LIMIT_S = 20.0


class Notes(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


async def wait(looks: list[list[Unmet]], needs: Needs, notes: Listener) -> int:
    """The looks in their order, the last one again and again."""

    async def look() -> list[Unmet]:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    return await wait_until_ready(look, needs, "phone", notes)


async def test_a_ready_phone_is_not_waited_for() -> None:
    notes = Notes()
    assert await wait([[]], QUICK, notes) == 0
    assert notes.notes == []


async def test_a_warm_phone_is_waited_for_and_that_is_told() -> None:
    notes = Notes()
    assert await wait([[WARM], [WARM], []], QUICK, notes) > 0
    assert len(notes.notes) == 2
    assert "41.0 °C → 35.0 °C" in notes.notes[0]


async def test_what_no_waiting_mends_is_refused_at_once() -> None:
    notes = Notes()
    with pytest.raises(StepError, match="0 B are free") as caught:
        await wait([[FULL, WARM]], QUICK, notes)
    assert caught.value.outcome is Outcome.NOT_READY
    assert notes.notes == []


async def test_the_time_is_up() -> None:
    with pytest.raises(StepError, match=r"41\.0 °C.*waited 0 s"):
        await wait([[WARM]], Needs(cool_timeout_s=0.0), Notes())


class Phone:
    """As much of a transport as the watch needs."""

    facts = FACTS

    def __init__(self) -> None:
        self.present = True
        self.usbmuxd = True

    async def is_present(self) -> bool:
        if not self.usbmuxd:
            raise StepError("list", "usbmuxd", "no usbmuxd answers", "", Outcome.LOST)
        return self.present

    def watched(self, grace_s: float = LIMIT_S) -> CableWatch:
        return CableWatch(cast("Transport", self), grace_s)


async def count_reaches(watch: CableWatch, number: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while watch.count < number or (number and watch.cuts[number - 1].back_ns is None):  # noqa: ASYNC110  # the watch tells of cuts, not of returns
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("what", ["present", "usbmuxd"])
async def test_a_cut_is_known_with_its_times(what: str) -> None:
    phone = Phone()
    async with phone.watched() as watch, asyncio.timeout(LIMIT_S):
        gone = asyncio.create_task(watch.wait_gone())
        setattr(phone, what, False)
        await gone
        assert [cut.back_ns for cut in watch.cuts] == [None]
        setattr(phone, what, True)
        assert await watch.wait_back()
        await count_reaches(watch, 1)
        (cut,) = watch.cuts
        assert cut.back_ns is not None
        assert cut.back_ns > cut.gone_ns


async def test_a_step_that_a_cut_breaks_is_done_again() -> None:
    phone = Phone()
    tries: list[int] = []

    async with phone.watched() as watch, asyncio.timeout(LIMIT_S):

        async def step() -> str:
            tries.append(len(tries))
            if len(tries) < 3:
                phone.present = False
                await watch.wait_gone()
                phone.present = True
                await count_reaches(watch, len(tries))
                raise StepError("step", "phone", "broken", "", Outcome.HARNESS_ERROR)
            return "done"

        assert await watch.persist(step) == "done"
    assert len(tries) == 3


@pytest.mark.parametrize(
    ("outcome", "once_more", "tries"), [("harness_error", True, 2), ("harness_error", False, 1), ("not_ready", True, 1)]
)
async def test_without_a_cut_a_step_is_done_once_more_at_most(outcome: str, once_more: bool, tries: int) -> None:
    done: list[int] = []

    async def step() -> None:
        done.append(1)
        raise StepError("step", "phone", "refused", "", Outcome(outcome))

    async with Phone().watched() as watch:
        with pytest.raises(StepError, match="refused"):
            await watch.persist(step, once_more=once_more)
    assert len(done) == tries


async def test_the_grace_time_is_granted_once() -> None:
    phone = Phone()
    phone.present = False
    async with phone.watched(grace_s=0.01) as watch, asyncio.timeout(LIMIT_S):
        assert not await watch.wait_back()
        watch._grace_s = 10 * LIMIT_S  # a second grace time would run into the limit above
        assert not await watch.wait_back()
        phone.present = True
        assert await watch.wait_back()


async def test_a_step_that_does_not_notice_the_cut_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.bench.cable.PATIENCE_S", 0.01)
    phone = Phone()
    async with phone.watched() as watch, asyncio.timeout(LIMIT_S):

        async def deaf() -> Any:
            phone.present = False
            await asyncio.Event().wait()

        with pytest.raises(StepError, match="the phone was unplugged") as caught:
            await watch.through("listen", deaf())
    assert caught.value.outcome is Outcome.LOST
