"""Pictures of each kind of page of the demo: what a person looks at before a change of the pages is kept.

    python -m tests.browser.screenshots OUT [--readme]

Writes OUT/<kind>-<theme>-<width>.png of whole pages; with `--readme` the two of docs/images instead (OUT is that
folder), of what is seen first.
"""

from __future__ import annotations

import argparse
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tests.browser.chromium import THEMES, WIDTHS, chromium, visit
from tests.demo_site import PAGE_KINDS, DemoSite, demo_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser


README_WIDTH = 1100
README_HEIGHT = 900
COLOURS = 128
README = {"nightly-entry.png": ("entry", "light"), "nightly-trial.png": ("trial that ended as jetsam", "dark")}
"""File → page and theme."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--demo", type=Path, help="Results of `harness results demo` with a site; else made anew.")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder, chromium() as browser:
        site = demo_site(Path(folder)) if arguments.demo is None else DemoSite(arguments.demo)
        if arguments.readme:
            for name, (kind, theme) in README.items():
                _of_readme(browser, site, kind, theme, arguments.out / name)
            return
        for kind in PAGE_KINDS:
            for theme in THEMES:
                for width in WIDTHS:
                    name = f"{kind.replace(' ', '-')}-{theme}-{width}.png"
                    with visit(browser, site.report / site.kinds[kind], theme, width) as seen:
                        seen.page.screenshot(path=arguments.out / name, full_page=True)


def _of_readme(browser: Browser, site: DemoSite, kind: str, theme: str, path: Path) -> None:
    """The first screen; few colours, so that the file stays small."""
    with visit(browser, site.report / site.kinds[kind], theme, README_WIDTH) as seen:
        seen.page.set_viewport_size({"width": README_WIDTH, "height": README_HEIGHT})
        picture = Image.open(BytesIO(seen.page.screenshot()))
    picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
