"""What the plugin keeps with a session's configuration; apart from the rest, which is heavy to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.pytest_plugin.live import LivePhone

LIVE: pytest.StashKey[LivePhone] = pytest.StashKey()
WORDS: pytest.StashKey[list[str]] = pytest.StashKey()
