"""Suite files as pytest collectors, planned trials as items.

The trial itself runs in the item's setup: trouble with the phone or with us is then an *error*, while a model that
did not do as expected is a *failure* of the test.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from harness.bench.budget import BudgetMeter
from harness.bench.kept_suites import keep_suite
from harness.bench.plan import PlannedTrial, plan_trials
from harness.bench.suite import Suite, load_suite
from harness.core.errors import DeviceError, HarnessError
from harness.core.outcome import Family, Outcome
from harness.core.phone import Virtual, parse_device_word, with_settings
from harness.core.record import TrialRecord
from harness.core.text import printable
from harness.pytest_plugin.keys import LIVE, WORDS, group_marks

NO_DEVICE = "no --device given (try --device=virtual)"

# The record's fields that go into JUnit as properties, under these names.
PROPERTIES = (
    "trial_id",
    "case",
    "outcome",
    "reason",
    "device_kind",
    "device_udid",
    "device_product_type",
    "device_os_version",
    "device_settings",
    "build",
    "app_build",
    "app_variant",
    "engine_version",
    "backend_requested",
    "backend_effective",
    "cache_state",
    "model_sha256",
    "model_bytes",
    "load_ns",
    "ttft_ns",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "peak_footprint_bytes",
    "peak_resident_bytes",
    "kernel_peak_resident_bytes",
    "footprint_limit_bytes",
    "host_peak_footprint_bytes",
    "broken_limits",
    "telemetry_file",
)


class UnexpectedOutcome(Exception):
    """The model did not end as the suite expects."""

    def __init__(self, record: TrialRecord) -> None:
        super().__init__(explain(record))


class BrokenLimit(Exception):
    """The model ended as the suite expects, and its figures break a limit of the suite."""

    def __init__(self, record: TrialRecord) -> None:
        super().__init__(explain(record))


class DeviceTrouble(DeviceError):
    """The phone, the cable or the harness was in the way; says nothing about the model."""


def explain(record: TrialRecord) -> str:
    """The outcome, what was expected, limits that are broken, and the evidence, in plain words."""
    lines = [f"{record.case}#{record.ordinal}: {record.outcome}, expected {record.expected_outcome}: {record.reason}"]
    if record.broken_limits:
        lines.append(f"  over the limits: {record.broken_limits}")
    lines += [f"  {'→' if item.decisive else ' '} {item.kind}: {item.text}" for item in record.evidence]
    lines.append(f"  artifacts: {record.artifacts_dir}")
    return printable("\n".join(lines))


def properties(record: TrialRecord) -> Iterator[tuple[str, object]]:
    """Name and value of each figure there is; a missing one is left out, never 0."""
    for name in PROPERTIES:
        value = getattr(record, name)
        if value is not None:
            # plain, for a worker of pytest-xdist to send
            yield name, value.value if isinstance(value, Enum) else value


def judge(record: TrialRecord) -> None:
    """Raises DeviceTrouble for what says nothing about the model, UnexpectedOutcome or BrokenLimit for what does."""
    if record.outcome == record.expected_outcome:
        if record.broken_limits:
            raise BrokenLimit(record)
        return
    family = Outcome(record.outcome).family if record.outcome is not None else Family.HOST
    if family in (Family.DEVICE, Family.HOST):
        raise DeviceTrouble(explain(record))
    raise UnexpectedOutcome(record)


class TrialItem(pytest.Item):
    """One planned trial on one device; `word` None: nobody named a device."""

    def __init__(
        self, *, suite: Suite, planned: PlannedTrial, word: str | None, meter: BudgetMeter, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.suite = suite
        self.planned = planned
        self.word = word
        self.meter = meter
        """Of the suite on that device, so the same for all its items of this process."""
        self.record: TrialRecord | None = None

    def setup(self) -> None:
        if self.word is None:
            pytest.skip(NO_DEVICE)
        live = self.config.stash[LIVE]
        try:
            reason = live.refusal(self.word, self.planned, self.meter)
            if reason is not None:
                # an error and no skip: what was asked for has not been done
                raise pytest.fail.Exception(f"not run: {reason}", pytrace=False)
            keep_suite(live.results.folder, self.suite)
            self.record = live.run_trial(self.word, self.planned)
            self.user_properties.extend(properties(self.record))
            if self.planned.is_warm_up:
                if self.record.outcome != self.record.expected_outcome:
                    pytest.skip(f"a warm-up, not counted: {explain(self.record)}")
                return
            if self.record.outcome is None or not Outcome(self.record.outcome).is_about_model:
                judge(self.record)
        except HarnessError as error:
            # in words for a person: of an error in the setup pytest itself would print the whole traceback
            raise pytest.fail.Exception(str(error), pytrace=False) from None

    def runtest(self) -> None:
        assert self.record is not None, "set up by setup()"
        judge(self.record)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        if isinstance(excinfo.value, (HarnessError, UnexpectedOutcome, BrokenLimit)):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name


class SuiteFile(pytest.File):
    """A suite file; its items are ordered as the plan says, device after device."""

    def collect(self) -> Iterable[pytest.Item]:
        suite = load_suite(self.path)
        trials = plan_trials(suite)
        live = self.config.stash.get(LIVE, None)
        if live is not None:
            live.check(trials)
        asked: list[str | None] = [*self.config.stash[WORDS]] or [None]
        for asked_word in asked:
            word = _with_settings(asked_word, suite) if asked_word is not None else None
            suffix = f"[{word}]" if word is not None else ""
            meter = BudgetMeter(suite.budget)
            for planned in trials:
                name = f"{planned.name}{suffix}"
                item = TrialItem.from_parent(self, name=name, suite=suite, planned=planned, word=word, meter=meter)
                for mark in group_marks(self.config, asked_word):
                    item.add_marker(mark)
                yield item

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:  # type: ignore[override]  # pytest allows a str
        if isinstance(excinfo.value, HarnessError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))


def _with_settings(word: str, suite: Suite) -> str:
    """The word as it stands, unless the suite has settings for the virtual phone."""
    asked = with_settings(parse_device_word(word), suite.virtual)
    return asked.text if suite.virtual and isinstance(asked, Virtual) else word


def looks_like_suite(path: Path) -> bool:
    """Suites have `[[models]]`; other TOML files that pytest comes across are left alone."""
    try:
        return "models" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
