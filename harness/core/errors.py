"""Errors that a person is meant to read: each names the thing and the remedy.

The three families decide the exit code of the command and whether pytest shows a failure or an error.
"""

from __future__ import annotations


class HarnessError(Exception):
    """The harness itself could not go on (exit code 4)."""


class UsageError(HarnessError):
    """What was asked makes no sense: a flag, a suite file, an environment variable (exit code 2)."""


class DeviceError(HarnessError):
    """The phone, its cable or its services are in the way (exit code 3)."""
