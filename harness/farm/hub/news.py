"""What the hub tells of runs and phones: events with their numbers, and how each stands. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from harness.core.standing import TrialStanding
from harness.farm.board.words import BoardEvent, PhoneStanding
from harness.farm.wire import MAX_LONG_CHARS, MAX_SHORT_CHARS, FarmEvent, PhoneView, RunView
from harness.store.farm_ledger import LedgerRun

MAX_EVENTS = 50_000
"""That are remembered; of a run that ended long before nobody asks."""
MAX_IN_ANSWER = 500
MAX_FAILURES = 50
_FAILURES = ("lost", "given_up", "late")


def utc_now() -> str:
    """ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Events:
    """Numbered from 1 since the hub's start."""

    def __init__(self) -> None:
        self._events: deque[FarmEvent] = deque(maxlen=MAX_EVENTS)
        self._failures: deque[FarmEvent] = deque(maxlen=MAX_FAILURES)
        self.last = 0

    def add(self, event: BoardEvent) -> None:
        """It happened now."""
        self.last += 1
        told = FarmEvent.model_construct(
            number=self.last,
            run_id=event.run_id,
            at=utc_now(),
            what=event.what,
            job=event.job,
            phone=event.phone,
            outcome=event.outcome,
            expected=event.expected,
            text=event.text[:MAX_LONG_CHARS],
        )
        self._events.append(told)
        if event.what in _FAILURES:
            self._failures.append(told)

    def since(self, number: int, run_ids: Collection[str]) -> tuple[tuple[FarmEvent, ...], bool]:
        """Of those runs, the first that came after `number`; whether there are more."""
        found: list[FarmEvent] = []
        for event in reversed(self._events):
            if event.number <= number:
                break
            if event.run_id in run_ids:
                found.append(event)
        found.reverse()
        return tuple(found[:MAX_IN_ANSWER]), len(found) > MAX_IN_ANSWER

    def failures(self) -> tuple[FarmEvent, ...]:
        """The newest first."""
        return tuple(reversed(self._failures))


def phone_view(phone: PhoneStanding, state: str, now_s: float) -> PhoneView:
    """How a phone stands; `state` is the board's word for it."""
    said = phone.said
    at_it = phone.job is not None and said.job == phone.job
    job = phone.job if phone.gone is None else None
    return PhoneView(
        phone=said.phone,
        host=said.host,
        kind=said.kind,
        product_type=said.product_type,
        os_version=said.os_version,
        state=state,
        note=_note(phone, state)[:MAX_SHORT_CHARS],
        job=job,
        doing=said.doing if at_it or job is None else None,
        share=said.share if at_it or job is None else None,
        strikes=len(phone.strikes),
        done=phone.done,
        battery_percent=said.battery_percent,
        battery_celsius=said.battery_celsius,
        thermal=said.thermal,
        heard_s=max(0.0, now_s - phone.heard_s),
    )


def _note(phone: PhoneStanding, state: str) -> str:
    notes = {
        "gone": phone.gone,
        "out": phone.out,
        "drained": phone.drained,
        "reserved": f"by {phone.reserved_text}" if phone.reserved_by else "",
    }
    return notes.get(state) or phone.said.note


def run_view(run: LedgerRun, counts: Mapping[str, int], left_s: float | None) -> RunView:
    """For people; `counts`: of its trials, by how they stand."""
    took_s = None
    if run.ended_at is not None:
        whole = datetime.fromisoformat(run.ended_at) - datetime.fromisoformat(run.submitted_at)
        took_s = max(0.0, whole.total_seconds())
    return RunView(
        run_id=run.run_id,
        suite=run.suite,
        target=run.target,
        priority=run.priority,
        by=run.submitted_by,
        submitted_at=run.submitted_at,
        state=run.state,
        ended_at=run.ended_at,
        total=sum(counts.values()),
        waiting=counts.get(TrialStanding.WAITING.value, 0),
        running=counts.get(TrialStanding.RUNNING.value, 0),
        done=counts.get(TrialStanding.DONE.value, 0),
        given_up=counts.get(TrialStanding.GIVEN_UP.value, 0),
        planned_s=run.planned_s,
        took_s=took_s,
        left_s=left_s,
    )
