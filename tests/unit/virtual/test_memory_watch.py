"""When an app is warned, and whether it would hear it."""

from __future__ import annotations

import signal

import pytest

from harness.virtual.memory import catches, warning_level_bytes

MIB = 1024 * 1024


@pytest.mark.parametrize(("limit_mib", "warned_mib"), [(3376, 3276), (1000, 900), (500, 400), (100, 80), (60, 48)])
def test_the_warning_comes_100_mib_under_the_limit_but_not_under_80_percent(limit_mib: int, warned_mib: int) -> None:
    assert warning_level_bytes(limit_mib * MIB) == warned_mib * MIB


def test_a_caught_signal_is_a_bit_of_a_mask() -> None:
    status = b"Name:\tx\nSigIgn:\t0000000000000200\nSigCgt:\t0000000000000201\nCapInh:\t0\n"
    assert catches(status, signal.SIGUSR1)
    assert catches(status, signal.SIGHUP)
    assert not catches(status, signal.SIGTERM)
    assert not catches(b"Name:\tx\nSigIgn:\t0000000000000200\n", signal.SIGUSR1), "ignored is not caught"
