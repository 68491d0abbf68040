"""What the library's exceptions mean: each becomes a StepError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymobiledevice3.exceptions import (
    ConnectionFailedToUsbmuxdError,
    ConnectionTerminatedError,
    DeveloperModeIsNotEnabledError,
    DeviceNotFoundError,
    LockdownError,
    NoDeviceConnectedError,
    NotMountedError,
    NotPairedError,
    NotTrustedError,
    PairingError,
    PasscodeRequiredError,
)

from harness.core.outcome import Outcome
from harness.device.errors import REPLUG, BrokenConnection, StepError

# What a person must do something about on the phone, and what says that the phone itself is gone.
_NOT_READY = (
    PairingError,
    NotPairedError,
    NotTrustedError,
    PasscodeRequiredError,
    DeveloperModeIsNotEnabledError,
    NotMountedError,
)
_NO_SESSION = ("NoRunningSession", "GetProhibited", "SessionInactive")
_ABSENT = (DeviceNotFoundError, NoDeviceConnectedError)


@contextmanager
def step(name: str, phone: str, limit_s: float, outcome: Outcome, remedy: str = REPLUG) -> Iterator[None]:
    """Turns every failure of the library into a StepError that names the step, the phone and the remedy.

    An asyncio time limit is set where the step is awaited; here it only gets its words.
    """
    try:
        yield
    except StepError:
        raise
    except TimeoutError:
        raise BrokenConnection(name, phone, f"no answer within {limit_s:g} s", remedy, outcome) from None
    except ConnectionFailedToUsbmuxdError as error:
        raise StepError(name, phone, "no usbmuxd answers", remedy, Outcome.LOST) from error
    except _NOT_READY as error:
        raise StepError(name, phone, _words(error), remedy, Outcome.NOT_READY) from error
    except _ABSENT as error:
        raise StepError(name, phone, _words(error), remedy, Outcome.LOST) from error
    except LockdownError as error:
        # without a session lockdownd refuses nearly everything; a new one tells whether the phone trusts us still
        kind = BrokenConnection if error.error in _NO_SESSION else StepError
        raise kind(name, phone, _words(error), remedy, outcome) from error
    except (ConnectionTerminatedError, ConnectionError) as error:
        raise BrokenConnection(name, phone, str(error) or "the connection broke", remedy, outcome) from error
    except Exception as error:
        # its DTX and plist errors have no base in common, and what a phone sends may meet any of its assertions
        raise StepError(name, phone, _words(error), remedy, outcome) from error


def _words(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
