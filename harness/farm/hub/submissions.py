"""From a submission to the runs that it asks for: the suite read and checked, its targets, what each trial takes.

May know suites, records and what the board says of phones; changes nothing. `read` and `durations` block.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from harness.bench.forecast import push_bytes_per_s, typical_times
from harness.bench.plan import PlannedTrial, plan_trials
from harness.bench.suite import Suite, read_suite
from harness.core.errors import UsageError
from harness.core.phone import AnyAttached, ByUdid, PhoneKind, Virtual, parse_device_word, with_settings
from harness.core.record import TrialRecord
from harness.core.record import TrialState as RecordState
from harness.farm.board.words import (
    BoardTrial,
    Target,
    both_kinds,
    class_text,
    is_attached,
    said_word,
    same_udid,
    virtual_word,
)
from harness.farm.wire import MAX_TRIALS, SUITE_FILE, Announcement, FileUse, JobOptions, Submission
from harness.store.database import ResultStore
from harness.store.schema import row_to_record, trials

MAX_RUNS = 200
"""Of one submission."""
NEWEST_RECORDS = 2000
"""Of a class of phones; so many tell what a trial takes."""
PUSH_BYTES_PER_S = 25e6
"""Of a model over USB 2, as long as too few pushes were measured."""
MAX_TOLD = 12
"""Phones that an error names."""

TrialKey = tuple[str, int]


@dataclass(frozen=True)
class SubmittedSuite:
    """A suite whose every trial is known."""

    suite: Suite
    planned: tuple[PlannedTrial, ...]
    digests: Mapping[str, str]
    """Model → digest of its file, where it is known before a host has it."""
    sizes: Mapping[str, int]
    """Model → bytes."""


@dataclass(frozen=True)
class KnownOfSuite:
    """What records of a class of phones tell of a suite's trials."""

    seconds: Mapping[str, float | None]
    """Case → what a trial takes."""
    digests: Mapping[str, str]
    sizes: Mapping[str, int]
    push_bytes_per_s: float = PUSH_BYTES_PER_S


def read(text: str, base: str, options: JobOptions, *, own_paths: bool = False) -> SubmittedSuite:
    """Raises UsageError: no suite, too many trials, a model's path without its file (allowed where all is local)."""
    suite = read_suite(text, Path(base) / SUITE_FILE)
    matrix = suite.matrix
    axes = (matrix.engines, matrix.backends, matrix.caches, matrix.variants, matrix.max_tokens, matrix.loads)
    cases = len(suite.models) * math.prod(max(1, len(axis)) for axis in (*axes, matrix.prompts))
    count = cases * (suite.options.trials + suite.options.warmup_trials)
    if count > MAX_TRIALS:
        raise UsageError(f"suite {suite.name}: {count} trials are more than a run may have ({MAX_TRIALS}); split it")
    files = {ref.name: ref for ref in options.files if ref.use is FileUse.MODEL}
    for model in suite.models:
        if model.path is not None and model.name not in files and not own_paths:
            raise UsageError(
                f"model {model.name}: its file {model.path} did not come with the suite, and the path means nothing on "
                "the farm's hosts"
            )
    digests = {model.name: model.sha256 for model in suite.models if model.sha256 is not None}
    digests |= {name: ref.sha256 for name, ref in files.items()}
    sizes = {name: ref.size_bytes for name, ref in files.items()}
    return SubmittedSuite(suite, tuple(plan_trials(suite)), digests, sizes)


def targets_of(asked: Submission, suite: Suite, phones: Iterable[Announcement]) -> list[Target]:
    """A target for each run. `phones`: those that are there. Raises UsageError naming them when none fits a word."""
    there = list(phones)
    found: dict[str, None] = {}
    for text in asked.words:
        word = _word(text, suite, there)
        targets = _targets(word, suite, there)
        fitting = [phone for phone in there if any(target.means(phone) for target in targets)]
        if not fitting:
            raise UsageError(_nobody(text, word, there))
        _check_settings(suite, fitting)
        words = [phone.phone for phone in fitting] if asked.each else [target.word for target in targets]
        found |= dict.fromkeys(words)
    if len(found) > MAX_RUNS:
        raise UsageError(f"{len(found)} runs at once are more than a farm takes ({MAX_RUNS}); submit fewer phones")
    return [Target(word) for word in found]


def _word(text: str, suite: Suite, there: Sequence[Announcement]) -> str:
    """In the one form of it that a target has; the name of a phone, and a target itself, stay as they are."""
    if any(text in (phone.phone, class_text(phone.product_type, phone.kind)) for phone in there if is_attached(phone)):
        return text
    if any(text == phone.phone for phone in there):
        return text
    word = parse_device_word(text)
    if isinstance(word, Virtual):
        # a virtual phone is joined with its settings, and a suite that has some wants such phones
        return with_settings(word, suite.virtual).text
    if isinstance(word, AnyAttached) and not word.every and word.product_type is None:
        raise UsageError(
            "--device=any means whatever phone is attached here; in a farm say class:<product type>, all, or a UDID"
        )
    return word.text


def _targets(word: str, suite: Suite, there: Sequence[Announcement]) -> list[Target]:
    """What a word means; one that nobody answers to becomes a target as well."""
    if word == "all":
        return _every_class(suite, there)
    read = said_word(word)
    words: set[str] = set()
    if isinstance(read, AnyAttached) and read.product_type is not None:
        words = {class_text(read.product_type, phone.kind) for phone in there if is_attached(phone)}
        words = {text for text in words if any(Target(text).means(phone) for phone in there)}
    elif isinstance(read, ByUdid):
        # virtual phones of two hosts may have one UDID: each is meant, and runs the whole suite
        words = {
            phone.phone if phone.kind == PhoneKind.VIRTUAL else word
            for phone in there
            if is_attached(phone) and same_udid(read.udid, phone.udid)
        }
    return [Target(text) for text in sorted(words)] or [Target(word)]


def _every_class(suite: Suite, there: Sequence[Announcement]) -> list[Target]:
    """`all`: each class of attached phones, kinds apart, and each word of other virtual ones."""
    words = (
        class_text(phone.product_type, phone.kind) if is_attached(phone) else virtual_word(phone.word)
        for phone in there
        if _has_settings(phone, suite)
    )
    return [Target(word) for word in sorted(set(words))]


def _has_settings(phone: Announcement, suite: Suite) -> bool:
    if not suite.virtual:
        return True
    word = said_word(phone.word)
    return (
        phone.kind == PhoneKind.VIRTUAL
        and isinstance(word, Virtual)
        and suite.virtual.items() <= dict(word.settings).items()
    )


def _check_settings(suite: Suite, fitting: Sequence[Announcement]) -> None:
    other = [phone for phone in fitting if not _has_settings(phone, suite)]
    if other:
        settings = ",".join(f"{key}={value}" for key, value in sorted(suite.virtual.items()))
        raise UsageError(
            f"suite {suite.name} has settings of a virtual phone ([virtual]: {settings}), and {other[0].phone} was not "
            "joined with them; a physical phone has none"
        )


def _nobody(text: str, word: str, there: Sequence[Announcement]) -> str:
    told = [
        f"{phone.phone} ({_class_of(phone) if is_attached(phone) else virtual_word(phone.word)})"
        for phone in sorted(there, key=lambda phone: phone.phone)[:MAX_TOLD]
    ]
    more = f" and {len(there) - MAX_TOLD} more" if len(there) > MAX_TOLD else ""
    meant = f" (as {word})" if word != text else ""
    have = f"there is: {', '.join(told)}{more}" if told else "no phone has joined yet: harness farm join"
    return f"--device={text[:200]}{meant}: the farm has no such phone; {have}"


def _class_of(phone: Announcement) -> str:
    return class_text(phone.product_type, phone.kind).removeprefix("class:")


def nothing_known(submitted: SubmittedSuite) -> KnownOfSuite:
    """Beside what the suite brings along."""
    return KnownOfSuite({}, submitted.digests, submitted.sizes)


def known_of(store: ResultStore, submitted: SubmittedSuite, kind: str, product_type: str) -> KnownOfSuite:
    """What the newest records of a class of phones tell. Raises StoreError."""
    names = [model.name for model in submitted.suite.models]
    query = (
        select(trials)
        .where(
            trials.c.device_kind == kind,
            trials.c.device_product_type == product_type,
            trials.c.state == RecordState.DONE.value,
            trials.c.model_name.in_(names),
        )
        .order_by(trials.c.trial_id.desc())
        .limit(NEWEST_RECORDS)
    )
    with store.reading() as connection:
        rows = connection.execute(query).mappings().all()
    records: list[TrialRecord] = [row_to_record(dict(row)) for row in rows]
    digests, sizes = dict(submitted.digests), dict(submitted.sizes)
    for record in records:
        # the newest first; a recipe makes the same file again
        digests.setdefault(record.model_name, record.model_sha256)
        if digests[record.model_name] == record.model_sha256:
            sizes.setdefault(record.model_name, record.model_bytes)
    cases = {planned.case.name: planned.case for planned in submitted.planned}
    times = typical_times(cases.values(), records, digests)
    seconds = {name: time.seconds for name, time in times.items()}
    return KnownOfSuite(seconds, digests, sizes, push_bytes_per_s(records) or PUSH_BYTES_PER_S)


def board_trials(
    submitted: SubmittedSuite, known: KnownOfSuite, attempts: Mapping[TrialKey, int] | None = None
) -> list[BoardTrial]:
    """Those of `attempts` (None: all), each with the number of its next attempt, in the suite's order."""
    found = []
    for number, planned in enumerate(submitted.planned, start=1):
        key = (planned.case.name, planned.ordinal)
        if attempts is not None and key not in attempts:
            continue
        model = planned.case.model.name
        size_bytes = known.sizes.get(model)
        found.append(
            BoardTrial(
                planned.case.name,
                planned.ordinal,
                number,
                known.seconds.get(planned.case.name),
                known.digests.get(model, model),
                None if size_bytes is None else size_bytes / known.push_bytes_per_s,
                planned.case.options.pause_s,
                1 if attempts is None else attempts[key],
            )
        )
    return found


def notes_on(suite: Suite, targets: Sequence[Target] = ()) -> list[str]:
    """What of the suite does not hold in a farm, and of the targets what may surprise."""
    notes = []
    budget = suite.budget
    given = [name for name in ("max_s", "max_push") if getattr(budget, name) is not None]
    if given:
        notes.append(f"[budget] {' and '.join(given)}: bounds a run on one phone; in a farm all trials are run")
    classes = [target.of_class for target in targets if target.of_class is not None]
    product_types = Counter(product_type for _, product_type in classes)
    notes += [both_kinds(product_type) for product_type, kinds in sorted(product_types.items()) if kinds > 1]
    return notes
