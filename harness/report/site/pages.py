"""What a page is before it is drawn, and how pages are named and find one another. No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.analysis.series import SeriesKey
from harness.report.words import slug

ENTRY = "index.html"
SERIES_FOLDER = "series"
TRIALS_FOLDER = "trials"
COMPARISONS_FOLDER = "comparisons"
RUNS_FOLDER = "runs"
"""Pages of runs are no part of the site's plan: they are drawn when somebody asks."""
SITE_FOLDER = "report"
"""Where the site is, below the results."""
WITH_READINGS = "readings"
"""Pages for which telemetry is read are drawn together."""
_PLAIN_ID = re.compile(r"[a-z0-9-]{1,80}")
"""In small letters: some file systems know no difference."""
_DIGEST_CHARS = 20
_PAGE_FOLDERS = "|".join((SERIES_FOLDER, TRIALS_FOLDER, COMPARISONS_FOLDER))
_PAGE_NAME = re.compile(rf"{re.escape(ENTRY)}|({_PAGE_FOLDERS})/[a-z0-9_-]{{1,120}}\.(html|pftrace)")


@dataclass(frozen=True)
class Page:
    """A page that is not drawn yet. `content` decides everything in it: equal contents, equal bytes."""

    name: str
    """Path below the site's folder, with `/`."""
    content: Any
    """A frozen dataclass of plain values, tuples and such dataclasses: its `repr` is its identity; it is pickled."""
    draw: Callable[[Any], str | bytes]
    """From `content` to the file; a function of a module, for it may run in another process."""
    together: str = ""
    """Equal for pages that are planned one after the other and best drawn by one process: they share parts of their
    contents, or what they need is slow to load.
    """

    @property
    def digest(self) -> str:
        """Of the content alone; the program's own part is `build`'s."""
        return content_digest(self.content)


def content_digest(content: Any) -> str:
    """Of a frozen dataclass of plain values, tuples and such dataclasses: equal ones have equal digests."""
    return hashlib.sha256(repr(content).encode()).hexdigest()


def series_page(key: SeriesKey) -> str:
    """Name of a series' page: readable, and different for different keys whatever is in them."""
    return f"{SERIES_FOLDER}/{_name(key.text)}.html"


def trial_page(trial_id: str) -> str:
    """Name of a trial's page. An id is untrusted, too: an odd one becomes its digest."""
    return f"{TRIALS_FOLDER}/{_id(trial_id)}.html"


def run_folder(run_id: str) -> str:
    """Where a run's page (ENTRY) is, below the site's folder; an odd id becomes its digest, too."""
    return f"{RUNS_FOLDER}/{_id(run_id)}"


def comparison_page(what: str) -> str:
    """Name of a comparison's page; `what` tells it from others: a run's id, two runs' ids."""
    return f"{COMPARISONS_FOLDER}/{_name(what)}.html"


def is_page_name(name: str) -> bool:
    """Whether the site may have such a page: what a manifest says is believed no further."""
    return _PAGE_NAME.fullmatch(name) is not None


def link(source: str, target: str) -> str:
    """How a page refers to another one of the site: relative, so that it works from a file."""
    return "../" * source.count("/") + target


def _id(text: str) -> str:
    return text if _PLAIN_ID.fullmatch(text) else _name(text)


def _name(text: str) -> str:
    # no plain id has the `_`
    return f"{slug(text)}_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:_DIGEST_CHARS]}"
