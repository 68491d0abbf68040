"""The phone that a pytest session holds: asynchronous work in a thread of its own, one phone at a time."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from harness.bench.budget import BudgetMeter
from harness.bench.conductor import Conductor, open_conductor
from harness.bench.drive import CONCLUDE_LIMIT_S
from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial
from harness.bench.run_options import RunOptions
from harness.core.phone import parse_device_word
from harness.core.record import TrialRecord
from harness.device.lease import LockBusy
from harness.runner.choice import parse_runner
from harness.store.address import ResultsAddress

_Value = TypeVar("_Value")


@dataclass
class LivePhone:
    """Opens phones on demand; a second word closes the first one's phone (one userspace tunnel a process)."""

    results: ResultsAddress
    options: RunOptions
    listener: Listener
    on_run: Callable[[str], None] = lambda _run_id: None
    """Told of each run that begins."""
    run_ids: list[str] = field(default_factory=list)
    _stayed_busy: dict[str, LockBusy] = field(default_factory=dict)
    _word: str | None = None
    _conductor: Conductor | None = None
    _portal: BlockingPortal | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def check(self, trials: Iterable[PlannedTrial]) -> None:
        """Raises UsageError when no app given is of a variant that they ask for, before anything is done."""
        parse_runner(self.options.runner).check(planned.case.variant for planned in trials)

    def conductor(self, word: str) -> Conductor:
        """The phone that `word` names; raises UsageError, PhoneNotFound, LockBusy or StepError."""
        if self._conductor is not None and self._word == word:
            return self._conductor
        if word in self._stayed_busy:
            # not to be waited for once again by each of a hundred trials
            raise self._stayed_busy[word]
        self.close()
        device = parse_device_word(word)
        opening = open_conductor(device, self.results, self.listener, self.options)
        self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))
        try:
            conductor = self._stack.enter_context(self._portal.wrap_async_context_manager(opening))
        except BaseException as error:
            # with the error, so that what still waits (for a phone that another process uses) is cancelled
            self._let_go(type(error), error, error.__traceback__)
            if isinstance(error, LockBusy):
                self._stayed_busy[word] = error
            raise
        self._word, self._conductor = word, conductor
        self.run_ids.append(conductor.run_id)
        self.on_run(conductor.run_id)
        return conductor

    def run_trial(self, word: str, planned: PlannedTrial) -> TrialRecord:
        """One trial to its record; Ctrl-C ends the app on the phone and keeps what was recorded."""
        conductor = self.conductor(word)
        return self._call(lambda: conductor.run_trial(planned))

    def refusal(self, word: str, planned: PlannedTrial, meter: BudgetMeter) -> str | None:
        """Why the suite's budget does not let the trial begin; None: it does."""
        conductor = self.conductor(word)
        return self._call(lambda: conductor.refusal(planned, meter))

    def _call(self, work: Callable[[], Awaitable[_Value]]) -> _Value:
        assert self._portal is not None, "a conductor is open"
        ended = threading.Event()

        async def to_its_end() -> _Value:
            try:
                return await work()
            finally:
                ended.set()

        future = self._portal.start_task_soon(to_its_end)
        try:
            return future.result()
        except KeyboardInterrupt:
            # the future counts as cancelled at once; the work itself first brings its evidence home
            future.cancel()
            ended.wait(CONCLUDE_LIMIT_S)
            raise

    def close(self) -> None:
        """Lets the phone go; a later `conductor` opens one again."""
        self._let_go(None, None, None)

    def _let_go(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, ExitStack()
        self._word = self._conductor = self._portal = None
        stack.__exit__(kind, error, trace)
