"""A step on the way to a trial that failed: which, on which phone, why, and what to do."""

from __future__ import annotations

from harness.core.errors import DeviceError
from harness.core.outcome import Outcome

REPLUG = "Unlock the phone, check the cable, and try again"
DEVELOPER_REMEDY = "Is Developer Mode on and the developer image mounted (docs/real-iphone.md)?"


class StepError(DeviceError):
    """Carries the outcome that a trial gets when this step fails."""

    def __init__(self, step: str, phone: str, message: str, remedy: str, outcome: Outcome) -> None:
        super().__init__(f"{step} on {phone}: {message}. {remedy}" if remedy else f"{step} on {phone}: {message}")
        self.step = step
        self.message = f"{message}. {remedy}" if remedy else message
        self.outcome = outcome


class BrokenConnection(StepError):
    """The connection broke, went silent or brought nonsense: on a new one the same step may go well."""


class PhoneNotFound(DeviceError):
    """An explicitly named phone is not attached."""
