"""A headless Chromium that opens the site's files, and what it noticed while it did.

Debian's package or Playwright's own, whichever there is; nothing is fetched here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DEBIANS = Path("/usr/bin/chromium")
THEMES = ("light", "dark")
WIDTHS = (390, 1440)
"""Of a phone held upright and of a desk, in CSS pixels."""
HEIGHT = 900
AXE_ROWS = 25
"""So many rows of each table are looked at."""


class NoChromium(Exception):
    """There is none; the text says what to install."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. Raises NoChromium.

    While it runs, asyncio takes this thread's event loop for a running one: keep it to the module that needs it.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise NoChromium("playwright is not installed: pip install 'iphone-load-harness[dev]'") from None
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        path = next((path for path in (DEBIANS, own) if path.exists()), None)
        if path is None:
            raise NoChromium(f"no Chromium at {DEBIANS} nor {own}: apt-get install chromium, or playwright install")
        try:
            # root has no sandbox of its own; what is opened is made by the tests
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            raise NoChromium(f"{path} does not start: {error.message.splitlines()[0]}") from None
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """An open page, and everything that ought not to have happened on the way."""

    page: Page
    console: list[str] = field(default_factory=list)
    """Errors and warnings, refusals of the security policy among them."""
    requests: list[str] = field(default_factory=list)
    """Of anything but files and what the page itself holds."""
    dialogs: list[str] = field(default_factory=list)
    """A script has run that opened one."""

    @property
    def violations(self) -> list[str]:
        """What axe finds wrong for people who do not see well or use no mouse."""
        from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types

        # rows of a long table are made alike, and axe looks at each cell of each for a second a hundred rows
        told = Axe().run(self.page, context={"exclude": [[f"tbody tr:nth-child(n+{AXE_ROWS})"]]})
        return [
            f"{one['id']}: {node['target']} {node['html'][:200]}"
            for one in told.response["violations"]
            for node in one["nodes"]
        ]

    @property
    def trouble(self) -> list[str]:
        """What no page may cause."""
        return self.console + self.requests + self.dialogs

    @property
    def overflow_px(self) -> int:
        """By how much the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextmanager
def visit(browser: Browser, path: Path, theme: str = "light", width: int = WIDTHS[-1]) -> Iterator[Visit]:
    """Opens a file in a window of its own."""
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light", viewport={"width": width, "height": HEIGHT}
    )
    page = context.new_page()
    seen = Visit(page)
    page.on("console", lambda one: seen.console.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.console.append(str(error)))
    page.on("request", lambda one: None if one.url.startswith(("file:", "data:")) else seen.requests.append(one.url))

    def dismiss(dialog: object) -> None:
        seen.dialogs.append(dialog.message)  # type: ignore[attr-defined]  # a playwright dialog
        dialog.dismiss()  # type: ignore[attr-defined]  # likewise

    page.on("dialog", dismiss)
    try:
        page.goto(path.absolute().as_uri())
        yield seen
    finally:
        context.close()
