"""What crosses the wire between client, hub and host: plain data with bounds, checked where it arrives.

Sans-IO, and without Dask. Everything is made of text, numbers, yes or no, None, lists and objects; bytes only where a
file is moved. An operation takes one object and answers with one: `{"ok": …}` or `{"error": {"kind", "text"}}`.
Longer than other modules: it is the one list of all messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.core.errors import DeviceError, HarnessError, UsageError
from harness.core.standing import GivenUpBy, Kept, RunStanding
from harness.farm.trial_files import MAX_NAME_CHARS, MAX_TRIAL_FILES

MAX_SUITE_CHARS = 256 * 1024
SUITE_FILE = "suite.toml"
"""Under this name both ends read a suite's text; the file itself is on the client, and never opened elsewhere."""
MAX_SHORT_CHARS = 500
"""Of what is told in a line: a name, a note."""
MAX_LONG_CHARS = 4000
"""Of a reason in full."""
MAX_CHUNK_BYTES = 4 * 1024 * 1024
"""Of a file, in one message."""
MAX_TRIALS = 100_000
"""Of one run."""
MAX_FILES = 64
"""Apps and models that a submission brings along."""
MAX_MODELS = 256
"""Model files on a phone that are told of."""

Text = Annotated[str, Field(max_length=MAX_SHORT_CHARS)]
LongText = Annotated[str, Field(max_length=MAX_LONG_CHARS)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[0-9A-Za-z][0-9A-Za-z._@,:-]*$")]
"""Of a phone or a host, as people type it."""
Key = Annotated[str, Field(min_length=1, max_length=500)]
"""Of a case, as `tiny/litert_lm/cpu/cold`."""
Id = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,128}$")]
"""Of a run or a trial; it may become the name of a file."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
Count = Annotated[int, Field(ge=0, le=2**31)]


class Unintelligible(HarnessError):
    """A message from the other end makes no sense; it was refused."""


class Wire(BaseModel):
    """A message, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def read(cls, plain: object) -> Self:
        """The message; raises Unintelligible naming the field and what is wrong with it."""
        try:
            return cls.model_validate_json(_json(plain)) if not _has_bytes(plain) else cls.model_validate(plain)
        except (ValidationError, ValueError, TypeError) as error:
            raise Unintelligible(f"{cls.__name__}: {_first(error)}") from None

    def plain(self) -> dict[str, Any]:
        """As it crosses the wire."""
        return self.model_dump(mode="python" if _has_bytes(dict(self)) else "json")


def _json(plain: object) -> bytes:
    import json

    return json.dumps(plain, allow_nan=False).encode()


def _has_bytes(plain: object) -> bool:
    return isinstance(plain, Mapping) and any(isinstance(value, bytes) for value in plain.values())


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'message'}: {first['msg']}"
    return str(error)[:200]


class JobId(Wire):
    """One attempt at one trial: the fence by which a late record is told from the one that counts."""

    run_id: Id
    case: Key
    ordinal: Annotated[int, Field(ge=-1000, le=MAX_TRIALS)]
    attempt: Annotated[int, Field(ge=1, le=1000)]

    @property
    def text(self) -> str:
        """For people: `tiny/litert_lm/cpu/cold#1, attempt 2`."""
        return f"{self.case}#{self.ordinal}" + (f", attempt {self.attempt}" if self.attempt > 1 else "")


class FileUse(StrEnum):
    RUNNER = "runner"
    """A signed `.ipa`."""
    MODEL = "model"
    """Of the suite's model `name`, whose path means nothing on another host."""


class FileRef(Wire):
    """A file that a submission brings along; hosts fetch it from the hub by its digest."""

    use: FileUse
    name: Text
    """Of the model in the suite; of the `.ipa` its file name."""
    file_name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\\\x00]+$")]
    sha256: Digest
    size_bytes: Bytes


class JobOptions(Wire):
    """How the run wants its trials run, beside what its suite says; the same for all of them."""

    build: Text | None = None
    runner: tuple[Text, ...] = ("auto",)
    """Words (`auto`, `python`, `swift`) only; files are in `files`."""
    transport: Text = "auto"
    keep: tuple[Text, ...] = ()
    preflight: Text | None = None
    files: Annotated[tuple[FileRef, ...], Field(max_length=MAX_FILES)] = ()


class TrialJob(Wire):
    """What a phone's process is given: one attempt at one trial."""

    job: JobId
    suite_text: Annotated[str, Field(max_length=MAX_SUITE_CHARS)]
    base: Annotated[str, Field(max_length=4096)]
    """See `Submission`."""
    suite_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    number: Count
    """Of the trial in its run, from 1."""
    total: Count
    options: JobOptions


class JobEnd(StrEnum):
    """How a phone's process ended with a job; the record itself goes another way."""

    DELIVERED = "delivered"
    """The hub has the record."""
    SPOOLED = "spooled"
    """The record is on the host, and will be delivered when the hub is back."""
    NOT_HAD = "not_had"
    """The phone was not to be had (somebody else uses it, it is unplugged): no attempt was made."""
    REFUSED = "refused"
    """The trial was not begun, and will not be: preflight says no, or what it needs is not there."""
    BUSY = "busy"
    """The process is still at another job."""


class JobReport(Wire):
    """A task's result."""

    job: JobId
    end: JobEnd
    reason: LongText = ""
    trial_id: Id | None = None


class PhoneState(StrEnum):
    """What a phone's process says of itself; `drained`, `reserved` and `out` are the hub's own words for it."""

    FREE = "free"
    BUSY = "busy"
    IN_USE = "in_use"
    """Another process of its host uses it, or a person has reserved it there."""
    NOT_READY = "not_ready"
    """It does not answer, or something must be done to it; `note` says what."""


class Announcement(Wire):
    """A phone, as its process tells the hub: at the begin, at every change, and at least every `ANNOUNCE_S`."""

    phone: Name
    """Unique in the farm: the UDID, or `UDID@host` of a virtual one."""
    udid: Name
    kind: Annotated[str, Field(pattern="^(physical|virtual)$")]
    product_type: Annotated[str, Field(pattern=r"^[A-Za-z]{1,20}\d{1,3},\d{1,3}$")]
    os_version: Text
    os_build: Text
    name: Text
    word: Text
    """By which its process opens it; of a virtual one also what it is told by: `virtual:iphone-16-pro`."""
    host: Name
    worker: Text
    """Dask's address of its process."""
    pid: Count
    harness_version: Text
    state: PhoneState
    note: Text = ""
    job: JobId | None = None
    """That is under way."""
    doing: Text | None = None
    """Phase of the trial, or the step before it (push, install, rest)."""
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the step, if it has a length."""
    models: Annotated[tuple[Digest, ...], Field(max_length=MAX_MODELS)] = ()
    """Files that the phone has, as far as its process knows."""
    ready_in_s: Seconds = 0.0
    """How long it will rest, as far as can be told."""
    usb_root: Text | None = None
    """Pushes to the phones of one root go one after another."""
    battery_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    battery_celsius: Annotated[float, Field(ge=-50, le=150, allow_inf_nan=False)] | None = None
    thermal: Text | None = None


class Orders(Wire):
    """The hub's answer to an announcement."""

    examine: bool = False
    """Out after three strikes: run `doctor` when free, and tell what it found by `farm_examined`."""
    cycle_usb: bool = False
    """First switch its port off and on, if the farm has said how."""


class Examined(Wire):
    """What `doctor` found of a phone that was out."""

    phone: Name
    passed: bool
    words: LongText


class Submission(Wire):
    """A suite for the farm."""

    suite_text: Annotated[str, Field(max_length=MAX_SUITE_CHARS)]
    base: Annotated[str, Field(max_length=4096)]
    """The suite file's folder on the client: it is part of the suite's digest, and never opened elsewhere."""
    words: Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000)]
    """Device words: UDID, `class:…`, `all`, `virtual:…`."""
    options: JobOptions = JobOptions()
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """The higher goes first, wherever a phone becomes free."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """At each trial, when worker, host or phone are lost under it."""
    each: bool = False
    """Every phone that the words mean runs the whole suite."""
    by: Text = ""
    """Who asks: `user@host`."""


class Submitted(Wire):
    runs: tuple[SubmittedRun, ...]
    notes: tuple[Text, ...] = ()


class SubmittedRun(Wire):
    """A run: the suite on one target (a class of phones, or one phone)."""

    run_id: Id
    target: Text
    trials: Count
    phones: Count
    """That may run it now."""
    planned_s: Seconds | None
    """From now to its end, with what is before it; None: nothing is known of how long any of its trials takes."""
    unknown: Count
    """Trials of which no record tells how long they take."""


class FollowRequest(Wire):
    run_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=1000)]
    since: Count = 0
    """Number of the last event that is known."""


class FarmEvent(Wire):
    """Something that happened to a run, for those who follow it; numbered from 1 since the hub's start."""

    number: Count
    run_id: Id
    at: Text
    """Hub's clock; ISO 8601, UTC."""
    what: Annotated[str, Field(pattern="^(begun|ended|lost|late|given_up|note)$")]
    job: JobId | None = None
    phone: Text | None = None
    outcome: Text | None = None
    expected: Text | None = None
    text: LongText = ""


class RunView(Wire):
    """How a run stands."""

    run_id: Id
    suite: Text
    target: Text
    priority: int
    by: Text
    submitted_at: Text
    state: Annotated[str, Field(pattern=f"^({'|'.join(RunStanding)})$")]
    ended_at: Text | None = None
    total: Count
    waiting: Count
    running: Count
    done: Count
    given_up: Count
    planned_s: Seconds | None = None
    """As told when it was submitted."""
    took_s: Seconds | None = None
    left_s: Seconds | None = None
    """From now to its end, as the placement sees it; None: not known."""


class PhoneView(Wire):
    """How a phone stands, with the hub's own words for it."""

    phone: Name
    host: Name
    kind: Text
    product_type: Text
    os_version: Text
    state: Text
    """free, busy, in_use, not_ready, resting, reserved, drained, out, gone."""
    note: Text = ""
    job: JobId | None = None
    doing: Text | None = None
    share: float | None = None
    strikes: Count = 0
    done: Count = 0
    """Trials since the hub's start."""
    battery_percent: int | None = None
    battery_celsius: float | None = None
    thermal: Text | None = None
    heard_s: Seconds
    """Since its last announcement."""


class Followed(Wire):
    runs: tuple[RunView, ...]
    phones: tuple[PhoneView, ...]
    """Those that may run them."""
    events: tuple[FarmEvent, ...]
    last: Count
    """Number of the newest event there is."""
    more: bool = False
    """There are further events already."""


class Status(Wire):
    hub: Text
    version: Text
    since: Text
    now: Text
    phones: tuple[PhoneView, ...]
    runs: tuple[RunView, ...]
    """Those that are active, and the newest that have ended."""
    failures: tuple[FarmEvent, ...]
    """The newest: lost, given up, late."""


class Reserve(Wire):
    """A phone for a person; `for_s` 0 lets it go."""

    phone: Name
    for_s: Annotated[float, Field(ge=0, le=30 * 86400, allow_inf_nan=False)]
    by: Text
    reason: Text = ""
    force: bool = False
    """Also when it is somebody else's."""


class Reserved(Wire):
    """It is kept, or let go."""

    was: Annotated[str, Field(max_length=2 * MAX_SHORT_CHARS + 100)]
    """Until when and whose it was before, in words; empty: nobody's."""


class Drain(Wire):
    """Finish what is under way and take no more; `undo`: take trials again."""

    what: Name
    """A phone or a host."""
    undo: bool = False
    by: Text = ""
    reason: Text = ""


class Cancel(Wire):
    run_id: Id
    by: Text = ""


class RecordsRequest(Wire):
    run_id: Id
    after: Annotated[str, Field(max_length=128)] = ""
    """Trial id of the last one that is known."""


class Records(Wire):
    """Records of a run in order of their ids, as `store.exchange.records` has them; evidence of late attempts too."""

    records: tuple[dict[str, Any], ...]
    more: bool


class GivenUpRequest(Wire):
    run_id: Id


class GivenUpTrial(Wire):
    """A trial that has no record that counts."""

    trial: Text
    """Case and ordinal: `tiny/litert_lm/cpu/cold#1`."""
    by: GivenUpBy
    reason: LongText


class GivenUp(Wire):
    trials: tuple[GivenUpTrial, ...]


class DeliveredFile(Wire):
    """A file of a trial, below `artifacts/<trial id>/`, or its telemetry."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    """`telemetry`, or a relative path below the trial's artifacts folder with `/`."""
    sha256: Digest
    size_bytes: Bytes


class Delivery(Wire):
    """A done record, once its files have arrived."""

    record: dict[str, Any]
    """Its run, case, ordinal and attempt say which job it is of."""
    phone: Name
    files: Annotated[tuple[DeliveredFile, ...], Field(max_length=MAX_TRIAL_FILES)]
    elsewhere: bool = False
    """Its files are in the farm's file store, under the names that they have in results."""


class DeliveryAnswer(Wire):
    kept: Kept
    missing: tuple[Text, ...] = ()
    """Names of files that have to be sent first; then nothing was kept yet."""


class Chunk(Wire):
    """A part of a file on its way. Of a trial's file `of` is the trial's id, of one by digest it is empty."""

    of: Annotated[str, Field(max_length=128, pattern=r"^[0-9A-Za-z-]*$")]
    name: Annotated[str, Field(max_length=MAX_NAME_CHARS)]
    sha256: Digest
    size_bytes: Bytes
    offset: Bytes
    data: Annotated[bytes, Field(max_length=MAX_CHUNK_BYTES)]


class ChunkAnswer(Wire):
    next_offset: Bytes
    """What is to be sent next; the file's size: it is whole."""


class FetchChunk(Wire):
    sha256: Digest
    offset: Bytes


class FetchedChunk(Wire):
    size_bytes: Bytes
    data: Annotated[bytes, Field(max_length=MAX_CHUNK_BYTES)]


class Hello(Wire):
    """First words of any client or host."""

    version: Text
    host: Text = ""


class Leaves(Wire):
    """A phone's process says that the phone is gone (unplugged) or that it ends."""

    phone: Name
    reason: Text


class PlanAnswer(Wire):
    runs: tuple[SubmittedRun, ...]
    phones: tuple[PhoneView, ...]
    notes: tuple[Text, ...] = ()


class Nothing(Wire):
    """No more to say."""


_ERRORS: tuple[tuple[str, type[HarnessError]], ...] = (
    ("usage", UsageError),
    ("device", DeviceError),
    ("harness", HarnessError),
)


def answer(message: Wire) -> dict[str, Any]:
    """What an operation answers with."""
    return {"ok": message.plain()}


def refusal(error: HarnessError) -> dict[str, Any]:
    """The same when it could not do what it was asked."""
    kind = next(kind for kind, of in _ERRORS if isinstance(error, of))
    return {"error": {"kind": kind, "text": str(error)[:MAX_LONG_CHARS]}}


def read_answer(plain: object) -> object:
    """The plain message of an answer; raises what the other end refused with, or Unintelligible."""
    if isinstance(plain, Mapping) and set(plain) == {"ok"}:
        return plain["ok"]
    if isinstance(plain, Mapping) and set(plain) == {"error"}:
        told = plain["error"]
        kinds = dict(_ERRORS)
        if isinstance(told, Mapping) and told.get("kind") in kinds and isinstance(told.get("text"), str):
            raise kinds[told["kind"]](told["text"][:MAX_LONG_CHARS])
    raise Unintelligible("an answer that is neither ok nor an error")
