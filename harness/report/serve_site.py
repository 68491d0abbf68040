"""The site as it is served: built anew when the results have changed; any trial's page is drawn when asked for."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import func, select

from harness.core.record import TrialState
from harness.report.serve_files import open_below
from harness.report.site import trial_pages
from harness.report.site.build import MANIFEST, write_pages
from harness.report.site.data import SiteData, read_site_data
from harness.report.site.pages import RUNS_FOLDER, SITE_FOLDER, TRIALS_FOLDER, Page, trial_page
from harness.report.site.plan import plan
from harness.store.address import ResultsAddress
from harness.store.database import ResultStore
from harness.store.errors import NoResults, StoreError
from harness.store.schema import TRIAL_ID, confirmations, triage, trials

LOOK_INTERVAL_S = 3.0
"""How often it is asked whether the results have changed, at most; only when a page is asked for."""
PATIENCE_S = 2.0
"""How long a request waits for a rebuild; then it gets what is there."""
MAX_DRAWN = 16
"""Pages drawn on demand that are kept."""
_TRIAL = re.compile(r"(.+)\.(?:html|pftrace)")

log = logging.getLogger(__name__)

_Mark = tuple[Any, ...]


class ServedSite:
    """Of one results address; a context manager. Methods may be called from several threads."""

    def __init__(self, address: ResultsAddress) -> None:
        self._address = address
        self._exit = ExitStack()
        self._folder = self._where()
        self._names: frozenset[str] = frozenset()
        self._data: SiteData | None = None
        self._mark: _Mark | None = None
        self._looked_s = -LOOK_INTERVAL_S
        self._building = threading.Lock()
        self._drawing = threading.Lock()
        """matplotlib's settings are the process's."""
        self._drawn: OrderedDict[str, bytes] = OrderedDict()

    def __enter__(self) -> ServedSite:
        return self

    def __exit__(self, *_: object) -> None:
        with self._drawing:
            if self._data is not None:
                self._data.store.close()
                self._data = None
        self._exit.close()

    @property
    def has_pages(self) -> bool:
        """False: no trial has been finished yet."""
        return bool(self._names)

    def build(self, *, processes: int = 2) -> None:
        """Builds it if the results have changed since it was built. Raises StoreError; NoResults is no error here."""
        with self._building:
            self._build(processes)

    def refresh(self) -> None:
        """The same without waiting for long, and not each time; what goes wrong is logged, the old pages stay."""
        if time.monotonic() - self._looked_s < LOOK_INTERVAL_S or not self._building.acquire(blocking=False):
            return
        # by a thread of its own: who waits may lose patience; by one process: threads and forks do not go together
        builder = threading.Thread(target=self._build_and_release, name="site", daemon=True)
        builder.start()
        builder.join(PATIENCE_S)

    def file(self, name: str) -> bytes | None:
        """A page or file of the site, as `trials/x.html`; None: there is none of the name. Raises StoreError."""
        if name in self._names or name.startswith(f"{RUNS_FOLDER}/"):
            found = open_below(self._folder, name.split("/"))
            if found is not None:
                with found:
                    return found.read()
        folder, _, file = name.partition("/")
        match = _TRIAL.fullmatch(file)
        return self._trial(name, match[1]) if folder == TRIALS_FOLDER and match is not None else None

    def _trial(self, name: str, stem: str) -> bytes | None:
        with self._drawing:
            if name in self._drawn:
                self._drawn.move_to_end(name)
                return self._drawn[name]
            if self._data is None:
                return None
            trial_id = _trial_of(self._data.store, stem)
            if trial_id is None:
                return None
            for page in trial_pages.pages(self._data, frozenset({trial_id}), self._links_from):
                self._keep(page)
            return self._drawn.get(name)

    def _keep(self, page: Page) -> None:
        drawn = page.draw(page.content)
        self._drawn[page.name] = drawn.encode() if isinstance(drawn, str) else drawn
        while len(self._drawn) > MAX_DRAWN:
            self._drawn.popitem(last=False)

    @property
    def _links_from(self) -> Path:
        """Where pages think they lie: addresses here are as the folders of results are."""
        return self._address.folder / SITE_FOLDER

    def _where(self) -> Path:
        folder = self._links_from
        if os.access(folder if folder.is_dir() else folder.parent, os.W_OK):
            return folder
        # results that may only be read: their site is ours alone, and goes with us
        return Path(self._exit.enter_context(TemporaryDirectory(prefix="iphone-load-harness-site-")))

    def _build_and_release(self) -> None:
        try:
            self._build(1)
        except Exception:
            log.exception("the site could not be rebuilt; the pages are those of before")
        finally:
            self._building.release()

    def _build(self, processes: int) -> None:
        self._looked_s = time.monotonic()
        with ExitStack() as stack:
            store = stack.enter_context(ResultStore.open_existing(self._address))
            mark = _mark_of(store)
            if mark == self._mark:
                return
            try:
                data = read_site_data(store)
            except NoResults:
                return
            with self._drawing:
                self._write(list(plan(data, self._links_from)), processes)
                stack.pop_all()
                old, self._data, self._mark = self._data, data, mark
                self._drawn.clear()
                if old is not None:
                    old.store.close()
        # not since we began: building takes its time
        self._looked_s = time.monotonic()

    def _write(self, pages: list[Page], processes: int) -> None:
        try:
            write_pages(pages, self._folder, processes=processes)
        except OSError as error:
            raise StoreError(f"{self._folder}: the report cannot be written: {error.strerror}") from error
        self._names = frozenset(_manifest_names(self._folder))


def _manifest_names(folder: Path) -> Iterator[str]:
    known = json.loads((folder / MANIFEST).read_bytes())
    yield from (name for name in known if isinstance(name, str))


def _mark_of(store: ResultStore) -> _Mark:
    """What changes whenever anything does that a page tells of."""
    done = trials.c.state == TrialState.DONE.value
    of_trials = select(func.count(), func.max(trials.c.finished_at), func.count(trials.c.files_removed_at)).where(done)
    with store.reading() as connection:
        return (
            *connection.execute(of_trials).one(),
            *connection.execute(select(func.count(), func.max(triage.c.id)).select_from(triage)).one(),
            *connection.execute(select(func.count(), func.max(confirmations.c.id)).select_from(confirmations)).one(),
        )


def _trial_of(store: ResultStore, stem: str) -> str | None:
    """The id of the done trial whose page is named so; None: there is none."""
    if TRIAL_ID.match(stem) and store.trial_ids(trial_id=stem, state=TrialState.DONE.value):
        return stem
    wanted = f"{TRIALS_FOLDER}/{stem}.html"
    # an odd id's page is named by its digest
    odd = (one for one in store.trial_ids(state=TrialState.DONE.value) if not TRIAL_ID.match(one))
    return next((one for one in odd if trial_page(one) == wanted), None)
