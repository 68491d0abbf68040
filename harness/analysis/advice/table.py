"""All rules, in the order in which they are told: what decided first, what only spoils a figure last."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.analysis.advice import backend, load, phone, sources, walls
from harness.analysis.advice.facts import Facts, Finding
from harness.core.model_file import ModelFile
from harness.core.outcome import Outcome
from harness.core.record import TrialRecord, TrialState


@dataclass(frozen=True)
class Advice:
    """What to do about a trial, and why one may say so."""

    rule: str
    evidence: str
    """What in the trial shows it, with figures; one line, may quote what an engine or a phone said."""
    remedy: str
    source: str
    """A page, an issue, or a page of this project."""


@dataclass(frozen=True)
class Rule:
    """A rule: None where the trial has no evidence for it."""

    find: Callable[[Facts], Finding | None]
    source: str

    @property
    def name(self) -> str:
        return self.find.__name__.replace("_", "-")

    @property
    def speaks_when(self) -> str:
        """In words: the first line of what finds it."""
        return (self.find.__doc__ or "").strip().splitlines()[0]


RULES: tuple[Rule, ...] = (
    # why it did not begin
    Rule(phone.developer_mode_off, sources.PHONE_PAGE),
    Rule(phone.developer_image_missing, sources.PHONE_PAGE),
    Rule(phone.phone_locked, sources.PHONE_PAGE),
    Rule(phone.too_hot_to_begin, sources.THERMAL_PAGE),
    Rule(phone.storage_full, sources.PHONE_PAGE),
    Rule(phone.phone_lost_by_restart, sources.OUTCOMES_PAGE),
    # why it did not load
    Rule(walls.extended_addressing_would_do, f"{sources.BAD_ALLOC_ISSUE} and {sources.EXTENDED_ADDRESSING_PAGE}"),
    Rule(walls.mapping_failed, sources.FAILED_TO_MAP_ISSUE),
    Rule(walls.too_large_even_so, sources.EXTENDED_ADDRESSING_PAGE),
    Rule(walls.increased_limit_would_do, sources.INCREASED_LIMIT_PAGE),
    Rule(walls.increased_limit_has_no_effect, sources.INCREASED_LIMIT_PAGE),
    Rule(walls.system_is_short_of_memory, sources.JETSAM_PAGE),
    Rule(walls.guard_stopped_it, sources.SUITES_PAGE),
    Rule(backend.no_gpu_there, sources.VIRTUAL_PAGE),
    Rule(backend.made_for_another_backend, sources.BAD_ALLOC_ISSUE),
    Rule(backend.metal_buffer_too_large, sources.METAL_BUFFER_ISSUE),
    Rule(backend.weights_count_on_the_gpu, sources.GPU_FIGURES),
    Rule(load.other_format, sources.SUITES_PAGE),
    Rule(load.failed_after_the_load, sources.READY_WITHOUT_WEIGHTS_ISSUE),
    Rule(phone.cache_could_not_be_written, sources.CACHE_FIGURES),
    Rule(load.cache_was_gone, sources.CACHE_FIGURES),
    # what would take less
    Rule(load.copies_for_each_signature, sources.CACHE_FIGURES),
    Rule(load.cache_was_built, sources.CACHE_FIGURES),
    Rule(load.context_larger_than_needed, sources.PREFLIGHT_PAGE),
    Rule(walls.memory_warning_came, sources.MEMORY_WARNING_PAGE),
    Rule(walls.little_head_room, sources.MEMORY_WARNING_PAGE),
    Rule(walls.foreseen, sources.PREFLIGHT_PAGE),
    Rule(load.memory_stays_after_unload, sources.OUTCOMES_PAGE),
    # what spoils its figures
    Rule(backend.ran_on_another_backend, sources.SILENT_CPU_ISSUE),
    Rule(phone.throttled, sources.THERMAL_PAGE),
    Rule(phone.low_power_mode, sources.LOW_POWER_PAGE),
    Rule(phone.peak_may_be_missed, sources.OUTCOMES_PAGE),
)


_KNOWN = frozenset(outcome.value for outcome in Outcome)


def advise(record: TrialRecord, neighbours: Iterable[TrialRecord] = (), model: ModelFile | None = None) -> list[Advice]:
    """What the trial's evidence advises; nothing for one that has not ended, or ended in a way not known here.

    `neighbours` are any other trials: those on another class of phone are left out. `model` is what the trial's model
    file says of itself, where the file is at hand; rules that need it are silent without.
    """
    if record.state != TrialState.DONE or record.outcome not in _KNOWN:
        return []
    facts = Facts.of(record, neighbours, model)
    found = ((rule, rule.find(facts)) for rule in RULES)
    return [
        Advice(rule.name, finding.evidence, finding.remedy, rule.source)
        for rule, finding in found
        if finding is not None
    ]
