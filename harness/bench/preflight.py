"""Preflight of a trial: its model's file and the phone's limits in, the record's columns out, a push stopped if asked.

What an app can have is known from its greeting. Nobody launches it only to be told that, unless the answer may save
something: with `preflight = "stop"`, or before a push that takes longer than a launch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio

from harness.analysis.preflight import (
    AppLimits,
    Judgement,
    Load,
    Prediction,
    Unpredictable,
    Verdict,
    judge,
    predict,
    worse,
)
from harness.analysis.preflight_calibration import NOT_CALIBRATED, USED_COLUMNS, Calibration, calibration
from harness.bench.listener import Listener
from harness.bench.model_files import inspect_model
from harness.bench.models import LocalModel
from harness.bench.plan import Case
from harness.bench.run_options import PreflightMode
from harness.core.errors import HarnessError
from harness.core.job import CacheState, Variant
from harness.core.model_file import ModelFile
from harness.core.outcome import Outcome
from harness.core.phone import PhoneFacts, PhoneKind
from harness.core.record import TrialRecord
from harness.device.errors import StepError
from harness.device.readiness import AppReading
from harness.device.session import PhoneSession
from harness.runner.client import RunnerClient
from harness.runner.messages import HelloEvent
from harness.store.database import ResultStore

PROBE_WORTH_BYTES = 256 << 20
"""A larger push takes longer than to launch the app and ask it (docs/preflight.md)."""
PROBE_LIMIT_S = 30.0
PROBE_END_POLL_S = 0.02
PROBE_END_LIMIT_S = 5.0
EMULATED_GPU_SETTING = "gpu=emulated"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preflight:
    """What was to be expected of a case."""

    judgement: Judgement
    prediction: Prediction | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """As fields of the record."""
        told = self.prediction
        corrected = told is not None and told.calibration.records
        return {
            "preflight": self.judgement.verdict,
            "preflight_reason": self.judgement.reason,
            "predicted_peak_footprint_bytes": told.peak_footprint_bytes if told else None,
            "predicted_address_bytes": told.address_bytes if told else None,
            "prediction_calibration": told.calibration.factor if told and corrected else None,
        }


def preflight_of(
    case: Case,
    model: ModelFile,
    limits: AppLimits,
    calibrated: Calibration = NOT_CALIBRATED,
    *,
    gpu_emulated: bool = False,
    fill: bool = False,
) -> Preflight:
    """Pure. `limits`: of the app that is to load it, as far as they are known.

    `fill`: its weight cache is filled first, by a load that must not fail either.
    """
    options = case.options
    load = Load(
        engine=case.engine,
        backend=case.backend,
        cache=case.cache,
        prompt_bytes=len(options.prompt.encode()) if options.decode_tokens else None,
        copies=options.copies,
        gpu_emulated=gpu_emulated,
    )
    told = predict(model, load, limits.base_bytes, calibrated)
    if isinstance(told, Unpredictable):
        return Preflight(Judgement(None, f"no prediction: {told.reason}"))
    judgement = judge(told, limits)
    filling = predict(model, _filling(load), limits.base_bytes) if fill else None
    if isinstance(filling, Prediction):
        of_fill = judge(filling, limits)
        words = f"while the weight cache is filled for it: {of_fill.reason}"
        judgement = worse(judgement, Judgement(of_fill.verdict, words))
    return Preflight(judgement, told)


def _filling(load: Load) -> Load:
    """As `Job.filling_the_cache`."""
    return replace(load, cache=CacheState.COLD, prompt_bytes=None, copies=1)


def limits_of(reading: AppReading, facts: PhoneFacts) -> AppLimits:
    """An app's limits from what it said before it loaded anything."""
    footprint, available = reading.footprint_bytes, reading.available_bytes
    # 0 available means no limit as well as none left
    known = footprint is not None and available
    return AppLimits(
        footprint_bytes=(footprint or 0) + (available or 0) if known else None,
        base_bytes=footprint,
        mapping_bytes=reading.largest_mapping_bytes,
        mapping_is_all=facts.kind is PhoneKind.VIRTUAL,
    )


def foretold(case: Case, path: Path | None, records: Sequence[TrialRecord], facts: PhoneFacts | None) -> Preflight:
    """A case's preflight without a phone.

    `records`: of its class of phone; the newest tell what an app of that variant may have on one with those settings.
    `path`: of the model's file, None where it is not there yet.
    """
    if path is None:
        return Preflight(Judgement(None, "no prediction: the model's file is not there yet"))
    if facts is None:
        return Preflight(Judgement(None, "no prediction: the phone is not known"))
    try:
        model = inspect_model(path)
    except HarnessError as error:
        return Preflight(Judgement(None, f"no prediction: {error}"))
    variant = case.variant or Variant.PLAIN
    same_app = [one for one in records if (one.device_settings, one.app_variant) == (facts.settings, variant)]
    footprints = [one.footprint_limit_bytes for one in same_app if one.footprint_limit_bytes is not None]
    mappings = [one.allocation_limit_bytes for one in same_app if one.allocation_limit_bytes is not None]
    limits = AppLimits(
        footprint_bytes=footprints[-1] if footprints else None,
        mapping_bytes=mappings[-1] if mappings else None,
        mapping_is_all=facts.kind is PhoneKind.VIRTUAL,
    )
    same_load = [
        one
        for one in records
        if (one.engine, one.backend_requested, one.cache_state) == (case.engine, case.backend, case.cache)
    ]
    # the app at hand is not asked: its engine is taken to be that of the newest record
    version = next((one.engine_version for one in reversed(same_load) if one.engine_version is not None), None)
    alike = [{name: getattr(one, name) for name in USED_COLUMNS} for one in same_load if one.engine_version == version]
    corrected = calibration(alike)
    return preflight_of(case, model, limits, corrected, gpu_emulated=gpu_is_emulated(facts))


def gpu_is_emulated(facts: PhoneFacts) -> bool:
    """Whether a job for the GPU gets an emulated one on this phone."""
    return facts.kind is PhoneKind.VIRTUAL and EMULATED_GPU_SETTING in facts.settings.split(",")


@dataclass
class Preflights:
    """For the trials in one app on one phone; remembers what the app said of its limits."""

    session: PhoneSession
    store: ResultStore
    listener: Listener
    mode: PreflightMode | None = None
    """Instead of the suite's."""
    _limits: AppLimits | None = None
    _heard: AppLimits = field(default_factory=AppLimits)
    """In the trial at hand."""
    _engines: Mapping[str, str] = field(default_factory=dict)
    _models: dict[str, ModelFile | str] = field(default_factory=dict)
    """By digest; a text: why it cannot be read."""
    _calibrations: dict[tuple[str | None, ...], Calibration] = field(default_factory=dict)
    _probed: bool = False
    _told: set[str] = field(default_factory=set)

    async def model_file(self, model: LocalModel) -> ModelFile | str:
        """What the file says of itself, or why it says nothing."""
        if model.sha256 not in self._models:
            try:
                self._models[model.sha256] = await asyncio.to_thread(inspect_model, model.path)
            except HarnessError as error:
                self._models[model.sha256] = str(error)
        return self._models[model.sha256]

    async def refusal(self, case: Case, model: LocalModel, *, fill: bool) -> str | None:
        """Why the trial is not begun; None: it is. A case that is expected not to load is there to be tried."""
        if self._mode(case) is not PreflightMode.STOP or case.expected is not Outcome.LOADED:
            return None
        try:
            await self.session.ensure_app()
        except StepError:
            return None  # the trial will say what is wrong
        await self._probe()
        told = await self.preflight(case, model, fill=fill)
        if told.judgement.verdict is not Verdict.WILL_NOT_LOAD:
            return None
        return f"preflight: it will not load: {told.judgement.reason}"

    async def before_push(self, case: Case, model: LocalModel, *, fill: bool) -> None:
        """Tells a person what is not going to load, while there is time to do something else instead."""
        self._heard = AppLimits()
        if self._mode(case) is PreflightMode.OFF:
            return
        if self._limits is None and model.size_bytes >= PROBE_WORTH_BYTES:
            with suppress(StepError):  # the push will say what is wrong
                missing = await self.session.missing_bytes(model.path, model.sha256, model.size_bytes)
                if missing >= PROBE_WORTH_BYTES:
                    await self._probe()
        told = await self.preflight(case, model, fill=fill)
        if told.judgement.verdict is not Verdict.WILL_NOT_LOAD or case.expected is not Outcome.LOADED:
            return
        if case.name in self._told:
            return
        self._told.add(case.name)
        self.listener.note(f"{case.name}: it will not load: {told.judgement.reason}")

    async def preflight(self, case: Case, model: LocalModel, *, fill: bool) -> Preflight:
        """By what is known now; the file is read if need be. `fill`: see `preflight_of`."""
        await self.model_file(model)
        return self._preflight(case, model, fill=fill)

    def hear(self, reading: AppReading, hello: HelloEvent | None) -> None:
        """What an app said before it loaded anything; nothing, where it did not get so far."""
        if hello is not None:
            self._engines = hello.engines
        if reading.footprint_bytes is not None:
            self._limits = self._heard = limits_of(reading, self.session.facts)

    def columns(self, case: Case, model: LocalModel, *, fill: bool) -> dict[str, Any]:
        """Fields of the record of a trial that has ended; by what its own app said, where that got so far."""
        told = {**self.model_columns(model), "allocation_limit_bytes": self._heard.mapping_bytes}
        if self._mode(case) is PreflightMode.OFF:
            return told
        return told | self._preflight(case, model, fill=fill).columns

    def model_columns(self, model: LocalModel) -> dict[str, Any]:
        """Of the record, from the model's file; empty where it has not been read, or says nothing."""
        file = self._models.get(model.sha256)
        if not isinstance(file, ModelFile):
            return {}
        return {
            "model_format": file.format,
            "model_context": file.context,
            "model_signatures": len(file.signatures) or None,
            "model_weight_bytes": file.weight_bytes,
        }

    def _mode(self, case: Case) -> PreflightMode:
        return self.mode or case.options.preflight

    def _preflight(self, case: Case, model: LocalModel, *, fill: bool) -> Preflight:
        file = self._models.get(model.sha256, "its file was not read")
        if isinstance(file, str):
            return Preflight(Judgement(None, f"no prediction: {file}"))
        facts = self.session.facts
        limits, corrected = self._limits or AppLimits(), self._calibration(case, facts)
        return preflight_of(case, file, limits, corrected, gpu_emulated=gpu_is_emulated(facts), fill=fill)

    def _calibration(self, case: Case, facts: PhoneFacts) -> Calibration:
        """By the records that were there when it was first asked: within a run it does not change."""
        kind = {
            "device_kind": facts.kind,
            "device_product_type": facts.product_type,
            "engine": case.engine,
            "engine_version": self._engines.get(case.engine),
            "backend_requested": case.backend,
            "cache_state": case.cache,
        }
        if kind["engine_version"] is None:
            # another version may need more or less
            return NOT_CALIBRATED
        key = tuple(kind.values())
        if key not in self._calibrations:
            known = {name: str(value) for name, value in kind.items()}
            self._calibrations[key] = calibration(self.store.rows(USED_COLUMNS, **known))
        return self._calibrations[key]

    async def _probe(self) -> None:
        """Launches the app, once, and reads its greeting. Not being told is no trouble: then nothing is known."""
        if self._probed or self._limits is not None:
            return
        self._probed = True
        asking = "ask the app for its limits"
        self.listener.step(asking, 0, 1)
        try:
            with anyio.fail_after(PROBE_LIMIT_S):
                hello = await ask_app(self.session)
        except (HarnessError, TimeoutError) as error:
            log.info("the app was not asked for its limits: %s", error)
        else:
            reading = AppReading(
                footprint_bytes=hello.footprint_bytes,
                available_bytes=hello.available_bytes,
                largest_mapping_bytes=hello.largest_mapping_bytes,
            )
            self.hear(reading, hello)
        self.listener.step(asking, 1, 1)


async def ask_app(session: PhoneSession) -> HelloEvent:
    """The greeting of a fresh process of the app, which is ended again. Raises StepError, RunnerGone, RunnerSilent."""
    transport = session.transport
    pid, port = await session.start_runner()
    try:
        client = RunnerClient(*await session.connect_runner(pid, port))
        try:
            return await client.hello()
        finally:
            await client.close()
    finally:
        with anyio.move_on_after(PROBE_END_LIMIT_S, shield=True), suppress(StepError):
            await transport.kill(pid)
            while await transport.is_running(pid):  # noqa: ASYNC110  # a phone is asked, there is nothing to wait for
                await asyncio.sleep(PROBE_END_POLL_S)


def with_error(columns: Mapping[str, Any], outcome: str | None, peak_bytes: int | None) -> dict[str, Any]:
    """The columns, with how far the prediction was off; None unless the model loaded."""
    predicted = columns.get("predicted_peak_footprint_bytes")
    if predicted is None or not peak_bytes or outcome != Outcome.LOADED:
        return {**columns, "prediction_error": None}
    return {**columns, "prediction_error": predicted / peak_bytes - 1}
