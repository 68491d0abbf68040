"""What tidevice's exceptions, and ours around it, mean: each becomes a StepError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.core.outcome import Outcome
from harness.device.errors import REPLUG, StepError
from harness.device.tidevice_.phone import NotPaired, PhoneAbsent, ServiceRefused, UsbmuxdGone

TRUST_REMEDY = "Unlock the phone, tap Trust on it, and run again"
# lockdownd's words for what a person must do something about on the phone
_NOT_READY = frozenset({"PasswordProtected", "PairingDialogResponsePending", "InvalidHostID", "UserDeniedPairing"})


@contextmanager
def step(name: str, phone: str, limit_s: float, outcome: Outcome, remedy: str = REPLUG) -> Iterator[None]:
    """Turns every failure into a StepError that names the step, the phone and the remedy.

    The time limit is set where the step is awaited; here it only gets its words.
    """
    try:
        yield
    except StepError:
        raise
    except TimeoutError:
        raise StepError(name, phone, f"no answer within {limit_s:g} s", remedy, outcome) from None
    except (UsbmuxdGone, PhoneAbsent) as error:
        raise StepError(name, phone, str(error), remedy, Outcome.LOST) from error
    except NotPaired as error:
        raise StepError(name, phone, str(error), TRUST_REMEDY, Outcome.NOT_READY) from error
    except ServiceRefused as error:
        refused = error.code in _NOT_READY
        raise StepError(name, phone, str(error), remedy, Outcome.NOT_READY if refused else outcome) from error
    except Exception as error:
        # tidevice's assertions, its plist and DTX errors, and whatever a phone's bytes provoke in it
        raise StepError(name, phone, words(error), remedy, outcome) from error


def words(error: Exception) -> str:
    """tidevice gives some of its errors several arguments, of which Python would make an errno."""
    return ", ".join(str(part) for part in error.args) or type(error).__name__
