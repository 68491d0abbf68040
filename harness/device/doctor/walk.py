"""Steps as data, and the walk through them. Knows nothing of phones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from harness.core.errors import HarnessError, UsageError
from harness.device.errors import StepError

NS_PER_S = 1_000_000_000

_Subject = TypeVar("_Subject")


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Figure:
    """One measured value; `unit` is `s`, `ms`, `bytes`, `MB/s`, `Hz`, `°C`, `%`, or empty for a count or a word."""

    name: str
    value: float | int | str | bool
    unit: str = ""


@dataclass(frozen=True)
class Found:
    """What a step found when all is well; `advice`: something could be better all the same."""

    text: str
    figures: tuple[Figure, ...] = ()
    advice: str = ""


class CheckFailed(Exception):
    """A step saw for itself that something is wrong."""

    def __init__(self, text: str, remedy: str = "", figures: tuple[Figure, ...] = ()) -> None:
        super().__init__(text)
        self.text, self.remedy, self.figures = text, remedy, figures


class CheckSkipped(Exception):
    """A step has nothing to look at; the text says why."""


@dataclass(frozen=True)
class Step(Generic[_Subject]):
    """One thing that is looked at; `check` raises CheckFailed, CheckSkipped or any HarnessError."""

    name: str
    """As in `--json`; stays the same from version to version."""
    check: Callable[[_Subject], Awaitable[Found]]
    limit_s: float | None
    """None: every wait in it has a limit of its own."""
    needs: tuple[str, ...] = ()
    """Names of steps that must have gone well; else this one is skipped."""
    unless_failed: tuple[str, ...] = ()
    """Names of steps whose failure explains this one's; when they were only skipped, it is tried all the same."""


@dataclass(frozen=True)
class StepReport:
    name: str
    verdict: Verdict
    text: str
    took_s: float
    figures: tuple[Figure, ...] = ()
    remedy: str = ""


@dataclass
class Checkup:
    """What a walk has found so far."""

    reports: list[StepReport] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """No step failed; skipped ones say nothing."""
        return all(report.verdict is not Verdict.FAILED for report in self.reports)

    def verdict_of(self, name: str) -> Verdict | None:
        return next((report.verdict for report in self.reports if report.name == name), None)


async def walk(
    steps: Sequence[Step[_Subject]],
    subject: _Subject,
    checkup: Checkup,
    still_there: Callable[[], Awaitable[bool]],
) -> AsyncIterator[StepReport]:
    """Does one step after another, adds each report to `checkup` and yields it. Only a cancellation ends it early.

    After a failure `still_there` is asked: without a phone, every further step would only fail for the same reason.
    """
    gone_during: str | None = None
    for step in steps:
        if gone_during is not None:
            report = _skipped(step.name, f"the phone left during {gone_during}")
        else:
            report = _hindered(step, checkup) or await _done(step, subject)
            if report.verdict is Verdict.FAILED and not await still_there():
                gone_during = step.name
        checkup.reports.append(report)
        yield report


def _skipped(name: str, text: str) -> StepReport:
    return StepReport(name, Verdict.SKIPPED, text, 0.0)


def _hindered(step: Step[_Subject], checkup: Checkup) -> StepReport | None:
    for needed in step.needs:
        verdict = checkup.verdict_of(needed)
        if verdict is not Verdict.OK:
            return _skipped(
                step.name, f"needs {needed}, which {'failed' if verdict is Verdict.FAILED else 'was skipped'}"
            )
    for other in step.unless_failed:
        if checkup.verdict_of(other) is Verdict.FAILED:
            return _skipped(step.name, f"{other} failed, and that would be the reason here too")
    return None


async def _done(step: Step[_Subject], subject: _Subject) -> StepReport:
    began_ns = time.monotonic_ns()

    def report(verdict: Verdict, text: str, figures: tuple[Figure, ...] = (), remedy: str = "") -> StepReport:
        return StepReport(step.name, verdict, text, (time.monotonic_ns() - began_ns) / NS_PER_S, figures, remedy)

    try:
        async with asyncio.timeout(step.limit_s):
            found = await step.check(subject)
    except CheckSkipped as skipped:
        return report(Verdict.SKIPPED, str(skipped))
    except CheckFailed as failed:
        return report(Verdict.FAILED, failed.text, failed.figures, failed.remedy)
    except TimeoutError:
        return report(Verdict.FAILED, f"was not done within {step.limit_s:g} s", (), "Try again; is the phone busy?")
    except UsageError:
        raise
    except StepError as error:
        # without the phone's name, which every line would repeat
        return report(Verdict.FAILED, f"{error.step}: {error.message}")
    except HarnessError as error:
        return report(Verdict.FAILED, str(error))
    except Exception as error:  # noqa: BLE001  # a fault of ours in one step must not hide what the others find
        text = f"a fault of the harness: {type(error).__name__}: {error}"
        return report(Verdict.FAILED, text, (), "Please report it, with this output")
    return report(Verdict.OK, found.text, found.figures, found.advice)
