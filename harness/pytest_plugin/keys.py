"""What the plugin keeps with a session's configuration; apart from the rest, which is heavy to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.pytest_plugin.live import LivePhone
    from harness.pytest_plugin.several import Controller, Told

LIVE: pytest.StashKey[LivePhone] = pytest.StashKey()
WORDS: pytest.StashKey[list[str]] = pytest.StashKey()
CONTROLLER: pytest.StashKey[Controller] = pytest.StashKey()
"""In the controlling process of a session of several (pytest-xdist)."""
TOLD: pytest.StashKey[Told] = pytest.StashKey()
"""In each of its workers."""


def group_marks(config: pytest.Config, word: str | None) -> list[pytest.MarkDecorator]:
    """What keeps the items of a device word together where pytest-xdist shares them out by group; else none."""
    told = config.stash.get(TOLD, None)
    return [pytest.mark.xdist_group(word)] if told is not None and told.grouped and word is not None else []
