"""The store's own error; may know only `core`."""

from __future__ import annotations

from harness.core.errors import HarnessError, UsageError


class StoreError(HarnessError):
    """The results folder cannot be read or written as asked; names the file and what to do about it."""


class NoResults(UsageError):
    """There is nothing to read: no database, or none with tables of ours. Nobody has run anything here yet."""
