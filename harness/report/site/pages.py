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
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_DIGEST_CHARS = 10


@dataclass(frozen=True)
class Page:
    """A page that is not drawn yet. `content` decides everything in it: equal contents, equal bytes."""

    name: str
    """Path below the site's folder, with `/`."""
    content: Any
    """A frozen dataclass of plain values, tuples and such dataclasses: its `repr` is its identity; it is pickled."""
    draw: Callable[[Any], str | bytes]
    """From `content` to the file; a function of a module, for it may run in another process."""

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
    return f"{TRIALS_FOLDER}/{trial_id if _PLAIN_ID.fullmatch(trial_id) else _name(trial_id)}.html"


def comparison_page(what: str) -> str:
    """Name of a comparison's page; `what` tells it from others: a run's id, two runs' ids."""
    return f"{COMPARISONS_FOLDER}/{_name(what)}.html"


def link(source: str, target: str) -> str:
    """How a page refers to another one of the site: relative, so that it works from a file."""
    return "../" * source.count("/") + target


def _name(text: str) -> str:
    return f"{slug(text)}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]}"
