"""A farm of a test: its hub, hosts and clients as real processes, what its results say, and how a trial is hit.

What runs is read from where it is kept: a host's spool says which process is at which trial, the hub's ledger how each
trial stands. Nothing is waited for by the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from harness.core.record import TrialRecord
from harness.farm.address import CERTS_VARIABLE
from harness.store.address import DATABASE_NAME, address_of, parse_results
from harness.store.database import ResultStore
from harness.store.deliveries import undelivered
from harness.store.errors import NoResults
from harness.store.farm_ledger import FarmLedger, LedgerTrial
from tests.farm_network import Place, harness

EVENTUALLY_LIMIT_S = 150.0
"""Far more than anything takes on a machine with other work."""
STALL_LIMIT_S = 600
POLL_S = 0.1
PORT = 8786
HUB_LOG, HOST_LOG, CLIENT_LOG = "hub.log", "host.log", "client.log"
WELL_IN_S = 0.7
"""A trial that began so long ago is past its first steps, ..."""
NOT_OVER_S = 1.8
"""... and of so long ago not yet near its end, with the hold of the suite in mind."""

_Found = TypeVar("_Found")


def eventually(look: Callable[[], _Found | None], what: str, *, alive: subprocess.Popen[str] | None = None) -> _Found:
    """What `look` finds, once it is neither None nor False; fails after a long while, or when `alive` has ended."""
    deadline = time.monotonic() + EVENTUALLY_LIMIT_S
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert alive is None or alive.poll() is None, f"it ended with {alive.returncode} before there was {what}"
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(POLL_S)


class Hub:
    """`harness farm hub` at a place; `results` as the flag takes them."""

    def __init__(self, place: Place, scheme: str, results: str, certificates: Path | None, port: int = PORT) -> None:
        self.place = place
        self.address = f"{scheme}://{place.address}:{port}"
        self.results = results
        if certificates is not None:
            place.environment[CERTS_VARIABLE] = str(certificates)
        self._listen = f"{scheme}://{'0.0.0.0' if scheme == 'tls' else place.address}:{port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """And waits until it listens: then it says where."""
        before = self._times_it_listened()
        command = harness("farm", "hub", "--listen", self._listen, "--results", self.results)
        self._process = self.place.start(*command, log=HUB_LOG)
        eventually(lambda: self._times_it_listened() > before, "hub that listens", alive=self._process)

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """With SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def status(self) -> dict[str, Any] | None:
        """What `harness farm status --json` tells; None: it could not."""
        done = self.place.run(*harness("farm", "status", "--farm", self.address, "--json"))
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_for_phones(self, count: int) -> None:
        """Until so many are free."""
        told = self.place.start(*harness("farm", "status", "--farm", self.address, "--watch", "--json"))
        assert told.stdout is not None
        deadline = time.monotonic() + EVENTUALLY_LIMIT_S
        for line in told.stdout:
            free = sum(phone["state"] == "free" for phone in json.loads(line)["phones"])
            if free >= count:
                break
            assert time.monotonic() < deadline, f"only {free} of {count} phones are free"
        else:
            raise AssertionError(f"the status is told no more: {told.communicate()[1]}")
        told.terminate()

    def _times_it_listened(self) -> int:
        scheme = self.address.partition("://")[0]
        return sum(line.startswith(f"{scheme}://") for line in self.place.log(HUB_LOG).splitlines())

    def run(self, suite: Path, *words: object, log: str = CLIENT_LOG) -> subprocess.Popen[str]:
        """A client at the hub's place: `harness run SUITE --farm`, on virtual phones."""
        command = harness("run", suite, "--farm", self.address, "--device", "virtual", *words)
        return self.place.start(*command, log=log)

    def kept(self) -> Kept:
        """The results; to be closed."""
        return Kept(ResultStore.open_existing(parse_results(self.results)))


class Kept:
    """What the hub has kept, as any reader of its results sees it."""

    def __init__(self, store: ResultStore) -> None:
        self.store = store
        self.ledger = FarmLedger(store)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def only_run(self) -> str | None:
        """Its id, once there is one."""
        runs = self.ledger.runs()
        assert len(runs) <= 1, runs
        return runs[0].run_id if runs else None

    def standing(self, hit: TrialRecord) -> LedgerTrial:
        """How the trial of a record stands by now."""
        found = [t for t in self.ledger.trials(hit.run_id) if (t.case, t.ordinal) == (hit.case, hit.ordinal)]
        assert len(found) == 1, found
        return found[0]

    def is_lost(self, hit: TrialRecord) -> bool:
        """Whether the hub counts on a later attempt than this one."""
        return self.standing(hit).attempt > hit.attempt

    def evidence_of(self, hit: TrialRecord) -> TrialRecord | None:
        """The record of that very attempt, once it has come home."""
        found = self.store.trials(trial_id=hit.trial_id)
        return found[0] if found else None


class Host:
    """`harness farm join` at a place, with virtual phones."""

    def __init__(self, place: Place, name: str, hub: Hub, certificates: Path | None) -> None:
        self.place = place
        self.name = name
        self.spool = place.folder / "spool"
        self._hub = hub
        if certificates is not None:
            place.environment[CERTS_VARIABLE] = str(certificates)

    def join(self, phones: int) -> subprocess.Popen[str]:
        words: tuple[object, ...] = ("--device", "virtual", "--phones", phones)
        words += ("--host-name", self.name, "--spool", self.spool)
        # what a test has frozen is the test's to thaw
        words += ("--stall-limit", STALL_LIMIT_S)
        command = harness("farm", "join", self._hub.address, *words, "--runner", "python")
        return self.place.start(*command, log=HOST_LOG)

    def trials(self, **filters: Any) -> list[TrialRecord]:
        """Of the host's own keeping; none before its first."""
        try:
            with ResultStore.open_existing(address_of(self.spool)) as store:
                return store.trials(**filters)
        except NoResults:
            return []

    def under_way(self) -> list[TrialRecord]:
        """Trials whose process lives, well after their begin and well before their end."""
        now = datetime.now(UTC)
        ages = [
            (record, (now - datetime.fromisoformat(record.started_at)).total_seconds())
            for record in self.trials(state="running")
        ]
        return [record for record, age_s in ages if WELL_IN_S < age_s < NOT_OVER_S and _lives(record.host_pid)]

    def at_a_trial(self, but: TrialRecord | None = None) -> TrialRecord:
        """Some trial under way, once there is one; not one of the process of `but`."""

        def another() -> TrialRecord | None:
            return next((one for one in self.under_way() if but is None or one.host_pid != but.host_pid), None)

        return eventually(another, f"trial under way on {self.name}")

    def undelivered(self) -> list[str]:
        """Trials that the hub is not known to have."""
        if not (self.spool / DATABASE_NAME).exists():
            return []
        with ResultStore.open_existing(address_of(self.spool)) as store:
            return [record.trial_id for record in undelivered(store)]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
