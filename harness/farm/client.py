"""A suite's way into a farm and back: its text and files go to the hub, news and records come from there.

May know files of this machine (models and apps that the suite brings along); drives no phone and keeps no results.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from harness import __version__
from harness.analysis.attempts import replaced
from harness.bench.models import find, missing
from harness.bench.suite import Suite
from harness.core.errors import HarnessError, UsageError
from harness.core.record import TrialRecord
from harness.core.standing import RunStanding
from harness.device.lease import Tell
from harness.farm.link import HubUnreachable, Link
from harness.farm.wire import (
    MAX_CHUNK_BYTES,
    MAX_FILES,
    MAX_SUITE_CHARS,
    Chunk,
    ChunkAnswer,
    FarmEvent,
    FileRef,
    FileUse,
    Followed,
    FollowRequest,
    GivenUp,
    GivenUpRequest,
    GivenUpTrial,
    Hello,
    JobOptions,
    Nothing,
    PhoneView,
    Records,
    RecordsRequest,
    RunView,
    Submission,
    Submitted,
    Wire,
)
from harness.farm.wish import Wish
from harness.runner.choice import parse_runner
from harness.store.exchange.records import plain_to_record

if TYPE_CHECKING:
    import pandas as pd

POLL_S = 0.5
AWAY_LIMIT_S = 3600.0
"""A hub that is away for so long is not waited for any more; its runs go on when it is back."""
HASH_CHUNK_BYTES = 4 * 1024 * 1024

Progress = Callable[[str, int, int], None]
_Answer = TypeVar("_Answer", bound=Wire)


@dataclass(frozen=True)
class Upload:
    """A file of this machine that the suite brings along."""

    ref: FileRef
    path: Path


@dataclass(frozen=True)
class News:
    """How the followed runs stand, and what happened since the last news."""

    runs: tuple[RunView, ...]
    phones: tuple[PhoneView, ...]
    events: tuple[FarmEvent, ...]


@dataclass(frozen=True)
class FarmResult:
    """What came of a run."""

    view: RunView
    records: tuple[TrialRecord, ...]
    """Of every attempt, in order of time."""
    given_up: tuple[GivenUpTrial, ...]
    """Trials that have no record that counts."""

    @property
    def replaced(self) -> tuple[TrialRecord, ...]:
        """Attempts that were cut short or came late, and in whose place a later one stands: evidence only."""
        told = replaced(((one.case, one.ordinal), one.attempt, one.cut_short) for one in self.records)
        return tuple(one for one, is_replaced in zip(self.records, told, strict=True) if is_replaced)

    @property
    def counted(self) -> tuple[TrialRecord, ...]:
        """The trials that figures are about: no warm-ups, no replaced attempts."""
        replaced = {record.trial_id for record in self.replaced}
        return tuple(one for one in self.records if one.ordinal >= 1 and one.trial_id not in replaced)

    @property
    def unexpected(self) -> tuple[TrialRecord, ...]:
        """The trials that did not end as the suite expects."""
        return tuple(one for one in self.counted if one.outcome != one.expected_outcome)

    @property
    def over_limits(self) -> tuple[TrialRecord, ...]:
        """The trials whose figures break a limit of the suite."""
        return tuple(one for one in self.counted if one.broken_limits)


def whoami() -> str:
    """Who asks: `user@host`; by the uid and not by the environment, which anybody can set."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:200]


def submission_of(
    suite: Suite, suite_file: Path, wish: Wish, step: Progress, *, own_paths: bool = False
) -> tuple[Submission, tuple[Upload, ...]]:
    """What goes to the hub, and the files that go before it. Digests of files are taken here.

    `own_paths`: all of the farm is on this machine, so that files are named and not sent.

    Raises UsageError for a suite that is too long, a model or an app that is not there, or too many of them.
    """
    if suite.text is None or len(suite.text) > MAX_SUITE_CHARS:
        raise UsageError(f"{suite_file}: more than {MAX_SUITE_CHARS} characters, which is the most that a farm takes")
    choice = parse_runner(wish.options.runner)
    choice.check(set(suite.matrix.variants) or {None})
    runner = wish.options.runner if choice.edition is not None else ("auto",)
    uploads = [] if own_paths else [_runner_upload(ipa.path) for ipa in choice.ipas]
    if own_paths and choice.ipas:
        runner = tuple(str(ipa.path.absolute()) for ipa in choice.ipas)
    for entry in suite.models:
        if entry.path is None:
            # made or fetched by each host itself, and the same there by its digest
            continue
        found = find(entry, step)
        if found is None:
            raise UsageError(missing(entry))
        if own_paths:
            continue
        if entry.sha256 not in (None, found.sha256):
            raise UsageError(f"model {entry.name}: {found.path} has the digest {found.sha256}, not the suite's")
        uploads.append(_upload(FileUse.MODEL, entry.name, found.path, found.sha256))
    if len(uploads) > MAX_FILES:
        raise UsageError(f"{suite_file}: brings {len(uploads)} files along, and a farm takes {MAX_FILES} at most")
    preflight = wish.options.preflight
    options = JobOptions(
        build=wish.options.build,
        runner=runner,
        transport=wish.options.transport,
        keep=wish.options.keep,
        preflight=None if preflight is None else preflight.value,
        files=tuple(upload.ref for upload in uploads),
    )
    submission = made(
        Submission,
        suite_text=suite.text,
        base=str(suite_file.parent.resolve()),
        words=wish.words,
        options=options,
        priority=wish.priority,
        attempts=wish.attempts,
        each=wish.each,
        by=whoami(),
    )
    return submission, tuple(uploads)


def _runner_upload(path: Path) -> Upload:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"--runner={path}: cannot be read: {error.strerror}") from error
    return _upload(FileUse.RUNNER, path.name, path, digest)


def _upload(use: FileUse, name: str, path: Path, sha256: str) -> Upload:
    ref = FileRef(use=use, name=name, file_name=path.name, sha256=sha256, size_bytes=path.stat().st_size)
    return Upload(ref, path)


def made(kind: type[_Answer], **values: object) -> _Answer:
    """A message of what a person has typed. Raises UsageError naming what is wrong with it."""
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or kind.__name__
        raise UsageError(f"{place} {str(values.get(place, ''))[:100]!r}: {first['msg']}") from None


async def greet(link: Link) -> None:
    """First words: whether there is a hub, and one that takes our certificate. Raises HubUnreachable."""
    await link.ask("hello", Hello(version=__version__, host=socket.gethostname()[:200]), Nothing)


async def submit(link: Link, submission: Submission, uploads: Sequence[Upload], step: Progress) -> Submitted:
    """Brings the files that the hub lacks, then the suite. Raises what the hub refuses with."""
    for upload in uploads:
        await send_file(link, upload, step)
    return await link.ask("submit", submission, Submitted, limit_s=300.0)


async def send_file(link: Link, upload: Upload, step: Progress) -> None:
    """By its digest, from where an earlier try ended; nothing is sent of a file that the hub has."""
    ref = upload.ref
    # an empty chunk only asks how much is there
    offset = await _send(link, ref, 0, b"")
    stuck = 0
    while offset < ref.size_bytes:
        data = await asyncio.to_thread(_read, upload.path, offset)
        if not data:
            raise UsageError(f"{upload.path}: became shorter while it was sent; run the command again")
        after = await _send(link, ref, offset, data)
        stuck = stuck + 1 if after <= offset else 0
        if stuck > 1:
            raise HarnessError(f"the hub does not take {upload.path}: it has {after} of {ref.size_bytes} bytes")
        offset = after
        step(f"send {ref.file_name} to the hub", min(offset, ref.size_bytes), ref.size_bytes)


async def _send(link: Link, ref: FileRef, offset: int, data: bytes) -> int:
    chunk = Chunk(of="", name="", sha256=ref.sha256, size_bytes=ref.size_bytes, offset=offset, data=data)
    return (await link.ask("chunk", chunk, ChunkAnswer)).next_offset


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(MAX_CHUNK_BYTES)


async def follow(
    link: Link, run_ids: Sequence[str], tell: Tell, *, poll_s: float = POLL_S, away_limit_s: float = AWAY_LIMIT_S
) -> AsyncIterator[News]:
    """News of the runs, every `poll_s`, until all of them are over; the last news has their end.

    A hub that is away is told of once, and asked again until it is back: hosts go on without it meanwhile. Raises
    HubUnreachable when it stays away for `away_limit_s`, and what it refuses with.
    """
    since, last_events = 0, _Seen()
    while True:
        asked = FollowRequest(run_ids=tuple(run_ids), since=since)
        answer = await ask_patiently(link, "follow", asked, Followed, tell, away_limit_s)
        if answer.last < since:
            # a hub that was started again counts its events from 1
            since = 0
            continue
        events = last_events.new(answer.events)
        since = answer.events[-1].number if answer.more and answer.events else answer.last
        yield News(answer.runs, answer.phones, events)
        if answer.more:
            continue
        if all(run.state != RunStanding.ACTIVE for run in answer.runs):
            return
        await asyncio.sleep(poll_s)


class _Seen:
    """Tells events that were told before, also after the hub was started again."""

    def __init__(self) -> None:
        self._seen: set[tuple[object, ...]] = set()

    def new(self, events: Sequence[FarmEvent]) -> tuple[FarmEvent, ...]:
        found = []
        for event in events:
            key = (event.run_id, event.at, event.what, event.job, event.text)
            if key not in self._seen:
                self._seen.add(key)
                found.append(event)
        return tuple(found)


async def ask_patiently(
    link: Link, operation: str, message: Wire, answer: type[_Answer], tell: Tell, away_limit_s: float = AWAY_LIMIT_S
) -> _Answer:
    """The answer, however often it takes; a hub that is away is told of once, and when it is back."""
    clock = asyncio.get_running_loop().time
    away_since: float | None = None
    while True:
        try:
            found = await link.ask(operation, message, answer)
        except HubUnreachable as error:
            if away_since is None:
                away_since = clock()
                tell(f"{error} Asking again; what is under way on the phones goes on meanwhile")
            elif clock() - away_since > away_limit_s:
                raise
            await asyncio.sleep(1.0)
            continue
        if away_since is not None:
            tell(f"the hub is back after {clock() - away_since:.0f} s")
        return found


async def results_of(link: Link, views: Mapping[str, RunView], tell: Tell) -> list[FarmResult]:
    """Records and given-up trials of runs that are over, checked like anything from outside."""
    found = []
    for run_id, view in views.items():
        records = await _records(link, run_id, tell)
        given_up = await ask_patiently(link, "given_up", GivenUpRequest(run_id=run_id), GivenUp, tell)
        found.append(FarmResult(view, tuple(records), given_up.trials))
    return found


async def _records(link: Link, run_id: str, tell: Tell) -> list[TrialRecord]:
    records: list[TrialRecord] = []
    after = ""
    while True:
        asked = RecordsRequest(run_id=run_id, after=after)
        page = await ask_patiently(link, "records", asked, Records, tell)
        records += [plain_to_record(plain, f"run {run_id}", absent=True) for plain in page.records]
        if not page.more or not page.records:
            return records
        last = records[-1].trial_id
        if last <= after:
            raise HarnessError(f"run {run_id}: the hub's records do not go on after {after}")
        after = last


def frame_of(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """The records as `ResultStore.frame` gives them; they are in no store of this machine."""
    from tempfile import TemporaryDirectory

    from harness.store.database import ResultStore
    from harness.store.schema import record_to_row, trials

    with TemporaryDirectory(prefix="iphone-load-harness-") as folder, ResultStore.open(Path(folder)) as store:
        with store.writing() as connection:
            for record in records:
                connection.execute(trials.insert(), record_to_row(record))
        return store.frame()
