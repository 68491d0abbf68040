"""`harness fit`: the largest context, number of copies or chunk of one model that loads with room to spare.

Each value is a case of its own, tried in fresh processes; which value comes next, `analysis.fit` decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.analysis.fit import Bisection, FitResult, most_values
from harness.bench.conductor import open_conductor
from harness.bench.fit_question import Question, case_of, values_of
from harness.bench.head_room import Prober
from harness.bench.listener import Listener
from harness.bench.run_options import RunOptions
from harness.core.phone import DeviceWord, PhoneFacts
from harness.core.record import TrialRecord
from harness.store.address import Results


@dataclass(frozen=True)
class FitReport:
    run_id: str
    phone: PhoneFacts
    question: Question
    values: tuple[int, ...]
    """That could have been tried."""
    result: FitResult
    records: tuple[tuple[int, TrialRecord], ...]
    """Each with its value, in order of time; those that were done again included."""


async def fit(
    question: Question, word: DeviceWord, results: Results, listener: Listener, options: RunOptions
) -> FitReport:
    """Tries one value after another on the phone, until the largest that loads is known.

    Raises UsageError for a question without sense, and HarnessError's kin when the phone cannot be had, or is in the
    way again and again. Whatever was tried until then is in the results.
    """
    values = values_of(question)
    search = Bisection(values, question.repeats)
    records: list[tuple[int, TrialRecord]] = []
    async with open_conductor(word, results, listener, options) as conductor:
        prober = Prober(conductor, question.head_room, most_values(len(values)) * question.repeats)
        while (value := search.next_value()) is not None:
            before = len(prober.records)
            probe = await prober.probe(case_of(question, value))
            records += [(value, record) for record in prober.records[before:]]
            search.note(value, probe.holds)
        result = search.result
        assert result is not None, "there is no further value to try"
        return FitReport(conductor.run_id, conductor.facts, question, values, result, tuple(records))
