"""The runner apps on one open phone, a build variant each, side by side: which of them runs a case's trials.

Each has its own files on the phone, so a model is pushed for each variant that loads it, and a weight cache that one
of them has built is none of another's. Crash reports are the phone's, and so the book of those seen is shared.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.bench.labels import Labels
from harness.bench.listener import Listener
from harness.bench.plan import Case
from harness.bench.preflight import Preflights
from harness.bench.run_options import PreflightMode
from harness.bench.trial import TrialRunner
from harness.core.job import Variant
from harness.device.evidence import ReportBook
from harness.device.interface import Transport
from harness.device.session import PhoneSession
from harness.runner.bundle import BuiltRunner
from harness.runner.choice import RunnerChoice
from harness.store.database import ResultStore


class Apps:
    """For the trials of one run; `transport` is open and stays the caller's to close."""

    def __init__(
        self,
        transport: Transport,
        choice: RunnerChoice,
        store: ResultStore,
        labels: Labels,
        listener: Listener,
        *,
        keep: tuple[str, ...] = (),
        preflight: PreflightMode | None = None,
        book: ReportBook | None = None,
    ) -> None:
        """`keep`: the models that are never removed from the phone. `preflight`: instead of what the suite says.

        `book`: that of other apps of this process on the same phone.
        """
        self._transport = transport
        self._choice = choice
        self._store = store
        self._labels = labels
        self._listener = listener
        self._keep = keep
        self._preflight = preflight
        self._book = book or ReportBook()
        self._chosen: dict[Variant | None, BuiltRunner] = {}
        self._trials: dict[Variant, TrialRunner] = {}

    def choose(self, variants: Iterable[Variant | None]) -> None:
        """Finds or builds the apps now. Raises UsageError for one that there is not, BuildError."""
        for variant in variants:
            self._app(variant)

    def trials_of(self, case: Case) -> TrialRunner:
        """What runs this case's trials, in the app that it asks for. Raises what `choose` does."""
        app = self._app(case.variant)
        if app.variant not in self._trials:
            session = PhoneSession(self._transport, app, self._listener.step, tell=self._listener.note, keep=self._keep)
            preflights = Preflights(session, self._store, self._listener, self._preflight)
            self._trials[app.variant] = TrialRunner(
                session, self._store, self._labels, self._listener, self._book, preflights
            )
        return self._trials[app.variant]

    def app_of(self, case: Case) -> BuiltRunner:
        """The app that `trials_of` would run it in. Raises what `choose` does."""
        return self._app(case.variant)

    @property
    def chosen(self) -> tuple[BuiltRunner, ...]:
        """The apps found or built so far."""
        return tuple(dict.fromkeys(self._chosen.values()))

    def follow(self, other: Apps) -> None:
        """Trials of `other` have been on the phone since: where both have an app of one bundle id, they share a place.

        Then the app must be installed anew, and what it left there, models and weight caches, may be gone or changed.
        """
        theirs = {app.bundle_id for app in other.chosen}
        for trials in self._trials.values():
            if trials.bundle_id in theirs:
                trials.forget_phone()

    @property
    def pushed_bytes(self) -> int:
        """What has gone to the phone so far, for all apps together."""
        return sum(trials.pushed_bytes for trials in self._trials.values())

    def _app(self, variant: Variant | None) -> BuiltRunner:
        if variant not in self._chosen:
            kind = self._transport.facts.kind
            self._chosen[variant] = self._choice.choose(variant, kind, self._listener.step)
        return self._chosen[variant]
