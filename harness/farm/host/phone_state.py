"""What a phone's process says of its phone: who it is, and how it stands just now. Written by several threads."""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness import __version__
from harness.bench.listener import Listener
from harness.bench.plan import PlannedTrial
from harness.core.errors import UsageError
from harness.core.phone import ByUdid, DeviceWord, PhoneFacts
from harness.core.record import TrialRecord
from harness.core.text import printable
from harness.device.lease import Tell
from harness.device.usb import root_hub
from harness.farm.host.spool import phone_key
from harness.farm.wire import MAX_MODELS, MAX_SHORT_CHARS, Announcement, JobId, PhoneState

TROUBLE_AT_FIRST_S, TROUBLE_AT_MOST_S = 5.0, 120.0


@dataclass(frozen=True)
class Trouble:
    """Why the phone takes no trials for a while."""

    state: PhoneState
    note: str
    until_s: float
    """By the monotonic clock; afterwards the phone is looked at again."""


class Standing(Listener):
    """Of one phone; listens to its trials, and keeps what the next announcement says.

    Raises UsageError for a phone that says of itself what no phone does.
    """

    def __init__(self, facts: PhoneFacts, word: DeviceWord, host: str, tell: Tell) -> None:
        self.phone = phone_key(facts.udid, facts.kind, host)
        self.facts = facts
        self._word = word
        self._host = host
        self._tell = tell
        self._usb_root = _short(f"{host}/{root_hub(facts)}")
        self._lock = threading.Lock()
        self._job: JobId | None = None
        self._doing: str | None = None
        self._share: float | None = None
        self._occupied = False
        self._trouble: Trouble | None = None
        self._trouble_s = TROUBLE_AT_FIRST_S
        self._models: dict[str, None] = {}
        self._record: TrialRecord | None = None
        self._check()

    def _check(self) -> None:
        """A phone says itself who it is, and what no phone says stops here, in words."""
        try:
            self.announcement("")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise UsageError(
                f"phone {printable(self.facts.udid[:100])}: what it says of itself is none of a phone, so it cannot be "
                f"in a farm ({where}: {first['msg']})"
            ) from None

    @property
    def is_attached(self) -> bool:
        """Whether it is one on a cable, which others on this host may use, too."""
        return isinstance(self._word, ByUdid)

    @property
    def job(self) -> JobId | None:
        """That is under way."""
        return self._job

    @property
    def trouble(self) -> Trouble | None:
        return self._trouble

    def begin(self, job: JobId | None) -> bool:
        """Takes the phone for a job, or for something else (None); False when it is taken."""
        with self._lock:
            if self._occupied:
                return False
            self._occupied, self._job, self._doing, self._share = True, job, None, None
            return True

    def end(self) -> None:
        """The phone is free for the next."""
        with self._lock:
            self._occupied, self._job, self._doing, self._share = False, None, None, None

    def hinder(self, state: PhoneState, note: str, for_s: float | None = None) -> None:
        """It takes no trials for `for_s`; without, for longer each time until a trial has gone well."""
        with self._lock:
            if for_s is None:
                for_s, self._trouble_s = self._trouble_s, min(self._trouble_s * 2, TROUBLE_AT_MOST_S)
            self._trouble = Trouble(state, note, time.monotonic() + for_s)

    def unhinder(self) -> None:
        """It may take trials again."""
        self._trouble = None

    def does(self, what: str | None, share: float | None = None) -> None:
        """What goes on, in a word or a few; `share` of it, if it has a length."""
        self._doing, self._share = what, share

    def step(self, what: str, done: int, total: int) -> None:
        if done >= total:
            self._doing = self._share = None
        else:
            share = done / total
            self._doing, self._share = what, min(1.0, max(0.0, share)) if math.isfinite(share) else None

    def note(self, text: str) -> None:
        self._tell(text)

    def phase(self, name: str) -> None:
        self._doing, self._share = name, None

    def trial_ended(self, planned: PlannedTrial, record: TrialRecord) -> None:
        self._record, self._trouble_s = record, TROUBLE_AT_FIRST_S
        if record.outcome_family != "host":
            self._models.pop(record.model_sha256, None)
            self._models[record.model_sha256] = None

    def announcement(self, worker: str) -> Announcement:
        """How it stands now; `worker` is Dask's address of this process."""
        with self._lock:
            state, note = PhoneState.FREE, ""
            trouble = self._trouble
            if self._occupied:
                state = PhoneState.BUSY
            elif trouble is not None:
                state, note = trouble.state, trouble.note
            facts, record = self.facts, self._record
            return Announcement(
                phone=self.phone,
                udid=facts.udid,
                kind=facts.kind.value,
                product_type=facts.product_type,
                os_version=_short(facts.os_version),
                os_build=_short(facts.os_build),
                name=_short(facts.name),
                word=_short(self._word.text),
                host=self._host,
                worker=worker,
                pid=os.getpid(),
                harness_version=__version__,
                state=state,
                note=_short(note),
                job=self._job,
                doing=None if self._doing is None else _short(self._doing),
                share=self._share,
                models=tuple(self._models)[-MAX_MODELS:],
                usb_root=self._usb_root,
                battery_percent=_within(None if record is None else record.battery_percent, 0, 100),
                battery_celsius=_within(None if record is None else record.battery_celsius, -50.0, 150.0),
                thermal=None if record is None else _short(record.thermal_state_start or "") or None,
            )


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHORT_CHARS else text[: MAX_SHORT_CHARS - 1] + "…"


def _within(value: float | None, least: float, most: float) -> Any:
    return value if value is not None and least <= value <= most else None
