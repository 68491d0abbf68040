"""The walk through a list of steps: what runs, what is passed over and why, and that nothing stops it."""

from __future__ import annotations

import asyncio

import pytest

from harness.core.errors import DeviceError, UsageError
from harness.core.outcome import Outcome
from harness.device.doctor import STEPS, Checkup, Figure, Step, StepReport, Verdict, walk
from harness.device.doctor.walk import CheckFailed, CheckSkipped, Found
from harness.device.errors import StepError

pytestmark = pytest.mark.anyio
Visited = list[str]


def well(name: str, **more: tuple[str, ...]) -> Step[Visited]:
    async def check(visited: Visited) -> Found:
        visited.append(name)
        return Found(f"{name} is fine", (Figure("speed", 7, "MB/s"),), "could be better")

    return Step(name, check, 10.0, **more)


def ill(name: str, error: Exception) -> Step[Visited]:
    async def check(visited: Visited) -> Found:
        visited.append(name)
        raise error

    return Step(name, check, 10.0)


async def there() -> bool:
    return True


async def gone() -> bool:
    return False


async def reports_of(*steps: Step[Visited], visited: Visited | None = None) -> dict[str, StepReport]:
    checkup = Checkup()
    seen = [report async for report in walk(steps, [] if visited is None else visited, checkup, there)]
    assert seen == checkup.reports
    return {report.name: report for report in seen}


async def test_a_finding_is_reported_with_figures_and_advice() -> None:
    report = (await reports_of(well("push")))["push"]
    assert (report.verdict, report.text, report.remedy) == (Verdict.OK, "push is fine", "could be better")
    assert report.figures == (Figure("speed", 7, "MB/s"),)


@pytest.mark.parametrize(
    ("error", "verdict", "text", "remedy"),
    [
        (CheckFailed("it is off", "switch it on"), Verdict.FAILED, "it is off", "switch it on"),
        (CheckSkipped("not on this iOS"), Verdict.SKIPPED, "not on this iOS", ""),
        (DeviceError("no cable"), Verdict.FAILED, "no cable", ""),
        (StepError("open", "a-phone", "refused", "Try", Outcome.LOST), Verdict.FAILED, "open: refused. Try", ""),
        (RuntimeError("oops"), Verdict.FAILED, "a fault of the harness: RuntimeError: oops", "Please report it"),
    ],
)
async def test_what_goes_wrong_is_said_and_the_next_step_still_done(
    error: Exception, verdict: Verdict, text: str, remedy: str
) -> None:
    visited: Visited = []
    reports = await reports_of(ill("first", error), well("second"), visited=visited)
    assert (reports["first"].verdict, reports["first"].text) == (verdict, text)
    assert reports["first"].remedy.startswith(remedy)
    assert visited == ["first", "second"]
    assert reports["second"].verdict is Verdict.OK


async def test_a_step_that_hangs_is_ended() -> None:
    async def check(visited: Visited) -> Found:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    report = (await reports_of(Step("slow", check, 0.01)))["slow"]
    assert report.verdict is Verdict.FAILED
    assert "0.01 s" in report.text


async def test_what_needs_a_failed_step_is_skipped_with_all_that_follows_from_it() -> None:
    visited: Visited = []
    reports = await reports_of(
        ill("pair", DeviceError("no")),
        well("install", needs=("pair",)),
        well("launch", needs=("install",)),
        well("other"),
        visited=visited,
    )
    assert visited == ["pair", "other"]
    assert reports["install"].text == "needs pair, which failed"
    assert reports["launch"].text == "needs install, which was skipped"


async def test_a_failure_that_explains_another_skips_it_but_a_skipped_step_does_not() -> None:
    explained = well("services", unless_failed=("mode",))
    assert (await reports_of(ill("mode", CheckFailed("off")), explained))["services"].verdict is Verdict.SKIPPED
    assert (await reports_of(ill("mode", CheckSkipped("unknown")), explained))["services"].verdict is Verdict.OK


async def test_once_the_phone_has_left_nothing_more_is_tried() -> None:
    visited: Visited = []
    checkup = Checkup()
    steps = (ill("push", DeviceError("cut")), well("launch"), well("kill"))
    async for _ in walk(steps, visited, checkup, gone):
        pass
    assert visited == ["push"]
    assert [report.verdict for report in checkup.reports] == [Verdict.FAILED, Verdict.SKIPPED, Verdict.SKIPPED]
    assert checkup.reports[-1].text == "the phone left during push"
    assert not checkup.healthy


async def test_wrong_use_is_no_finding() -> None:
    with pytest.raises(UsageError):
        await reports_of(ill("install", UsageError("no such runner")))


def test_the_steps_depend_on_earlier_ones_only() -> None:
    before: set[str] = set()
    for step in STEPS:
        assert {*step.needs, *step.unless_failed} <= before, step.name
        assert step.name not in before
        before.add(step.name)
