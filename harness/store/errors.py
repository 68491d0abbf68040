"""The store's own error; may know only `core`."""

from __future__ import annotations

from harness.core.errors import HarnessError


class StoreError(HarnessError):
    """The results folder cannot be read or written as asked; names the file and what to do about it."""
