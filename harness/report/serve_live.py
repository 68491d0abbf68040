"""One eye on what is under way, for all who look: results are asked once a second, however many pages are open."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

from harness.report.live import Progress, ProgressReader
from harness.report.live_page import live_news, live_page
from harness.store.address import ResultsAddress
from harness.store.database import ResultStore
from harness.store.errors import StoreError

LOOK_INTERVAL_S = 1.0
HEARTBEAT_S = 15.0
"""A stream without news says so often that it lives: so a client that has gone is noticed."""


class Lookout:
    """Of one store; `close` ends all streams."""

    def __init__(self, address: ResultsAddress) -> None:
        self._store = ResultStore.open_existing(address)
        self._reader = ProgressReader(self._store)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._looked_s = -LOOK_INTERVAL_S
        self._progress: Progress | None = None

    def close(self) -> None:
        """Streams end at their next look."""
        self._closing.set()
        with self._lock:
            self._store.close()

    def progress(self) -> Progress:
        """At most LOOK_INTERVAL_S old. Raises StoreError."""
        with self._lock:
            if self._closing.is_set():
                raise StoreError("the server is ending")
            if self._progress is None or time.monotonic() - self._looked_s >= LOOK_INTERVAL_S:
                self._progress = self._reader.read()
                self._looked_s = time.monotonic()
            return self._progress

    def page(self) -> str:
        """The live page as of now."""
        return live_page(self.progress())

    def events(self) -> Iterator[bytes]:
        """Server-sent events, until the server ends: one at once, one for each change."""
        sent, sent_s = "", time.monotonic()
        while not self._closing.is_set():
            try:
                news = live_news(self.progress())
            except StoreError:
                # a server's database that is away for a while; the page stays as it is
                news = {"at": "", "html": sent}
            if news["html"] != sent:
                sent, sent_s = news["html"], time.monotonic()
                yield f"data: {json.dumps(news)}\n\n".encode()
            elif time.monotonic() - sent_s >= HEARTBEAT_S:
                sent_s = time.monotonic()
                yield b": still here\n\n"
            self._closing.wait(LOOK_INTERVAL_S)
