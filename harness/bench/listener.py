"""Who wants to know how a run goes: a progress bar, a log, pytest. All methods may do nothing."""

from __future__ import annotations

from harness.bench.plan import PlannedTrial
from harness.core.record import TrialRecord


class Listener:
    """Base that ignores everything."""

    def step(self, what: str, done: int, total: int) -> None:
        """Something with a length goes on (making a model, installing, pushing).

        Where the figures are bytes that move, they are `ByteCount`s: a rate can be told.
        """

    def note(self, text: str) -> None:
        """Something a person should know, as why nothing seems to happen: `phone … is in use by …; waiting`."""

    def trial_begins(self, planned: PlannedTrial, number: int, total: int) -> None: ...

    def phase(self, name: str) -> None:
        """The runner has entered a phase of the trial."""

    def trial_ended(self, planned: PlannedTrial, record: TrialRecord) -> None: ...

    def salvaged(self, record: TrialRecord) -> None:
        """A trial of an earlier run that was cut off has been closed."""
