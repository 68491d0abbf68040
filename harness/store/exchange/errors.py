"""The error of everything that comes in; may know only `core`."""

from __future__ import annotations

from harness.core.errors import UsageError

MAX_SHOWN = 80
"""Characters of foreign text that an error repeats."""
MAX_NAMED = 5
"""Names that an error lists."""


class ExchangeError(UsageError):
    """A file or other results cannot be taken as they are: names the place and what would be right."""


def shown(value: object) -> str:
    """Foreign text or a foreign value, short enough for an error."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 2**64 else "a huge integer"
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def named(names: list[str]) -> str:
    """The first of some names."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(name[:MAX_SHOWN] for name in names[:MAX_NAMED]) + more
