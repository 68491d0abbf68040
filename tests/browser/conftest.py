"""A browser for each module, and one demo for all processes of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.bench.demo.events import FEWEST_NIGHTS
from tests.browser.chromium import NoChromium, chromium
from tests.demo_site import DemoSite, demo_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of this module alone: while it runs, asyncio cannot be used in this thread."""
    try:
        with chromium() as running:
            yield running
    except NoChromium as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoSite:
    """The same for every process of pytest-xdist, whose folders lie in one. All that is planted, in few nights."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    return demo_site(Path(shared) / "demo-site", FEWEST_NIGHTS)
