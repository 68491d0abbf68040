"""What a session of several processes says of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.pytest_plugin.several import Controller


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        (3, "load phones: 1 × A, 2 × class:iPhone17,1"),
        (4, "load phones: 1 × A, 2 × class:iPhone17,1; of 4 workers 1 have none and run what needs none"),
    ],
)
def test_workers_that_are_too_many_are_told(workers: int, said: str) -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace(tx=["popen"] * workers))
    controller = Controller(config, {"A": 1, "class:iPhone17,1": 2})
    assert controller.pytest_report_header() == said
    controller.pytest_unconfigure()
