"""The tables of a suite file that say what is expected: outcomes and limits, for the cases that they match."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from harness.bench.suite_tables import CaseKeys, Name, Size
from harness.core.outcome import Family, Outcome

# What a suite may expect: the model's own ends. Trouble with a phone is never as expected.
EXPECTABLE = tuple(outcome for outcome in Outcome if outcome.family in (Family.MEASURED, Family.MODEL))


def _expectable(outcome: Outcome) -> Outcome:
    if outcome not in EXPECTABLE:
        raise ValueError(f"{outcome} says nothing about a model; expect one of: {', '.join(EXPECTABLE)}")
    return outcome


class Matcher(CaseKeys):
    """Which cases a rule is for: all that have every value given."""

    prompt: Name | None = None

    def matches(self, **case: object) -> bool:
        """`case`: the values of one case under the names above; None where it has none."""
        wanted = {name: getattr(self, name) for name in Matcher.model_fields}
        return all(value is None or case.get(name) == value for name, value in wanted.items())


class Expectation(Matcher):
    """`[[expect]]`: cases that match are expected to end so; the last rule that matches wins."""

    outcome: Annotated[Outcome, AfterValidator(_expectable)]


class Limit(Matcher):
    """`[[limit]]`: figures of the trials that match and load; all rules that match hold. A figure that is missing
    breaks its limit: nothing shows that it was kept.
    """

    max_peak_footprint: Size | None = None
    min_head_room: Size | None = None
    """Footprint limit minus peak footprint."""
    max_leftover_footprint: Size | None = None
    max_load_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_ttft_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    min_prefill_tokens_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    min_decode_tokens_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Limit:
        if not self.figures:
            raise ValueError('a [[limit]] needs a figure, as max_peak_footprint = "900 MiB"')
        return self

    @property
    def figures(self) -> dict[str, float]:
        """What is limited: name as in the suite file, and the value in bytes, seconds or tokens a second."""
        own: dict[str, float] = self.model_dump(exclude=set(Matcher.model_fields), exclude_none=True)
        return own
