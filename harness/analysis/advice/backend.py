"""Rules about where the model ran: the GPU, the CPU, and one taken for the other."""

from __future__ import annotations

import re

from harness.analysis.advice.facts import Facts, Finding, quoted
from harness.core.outcome import EMULATED_GPU, Outcome
from harness.core.phone import PhoneKind
from harness.core.units import format_bytes

_NO_GPU = re.compile(r"no adapters found|no gpu engine|failed to initialize webgpu", re.IGNORECASE)
_METAL_BUFFER = re.compile(r"must not exceed 256 MB|maxBufferLength", re.IGNORECASE)
_FAILED = (Outcome.LOAD_ERROR, Outcome.ABORTED, Outcome.CRASHED, Outcome.GPU_FAULT, Outcome.FELL_BACK)


def made_for_another_backend(facts: Facts) -> Finding | None:
    """The file says for which backends it was made, or loads on the CPU and fails on the GPU."""
    asked = facts.record.backend_requested
    if facts.outcome not in _FAILED or _no_gpu_words(facts) is not None:
        return None
    if facts.model is not None and facts.model.backends and asked not in facts.model.backends:
        evidence = f"asked for the {asked.upper()}; the file was made for {', '.join(facts.model.backends).upper()}"
    elif facts.on_gpu and facts.outcome is not Outcome.FELL_BACK and (on_cpu := _loaded_on_cpu(facts)):
        evidence = f"{facts.outcome} on the GPU, while the same file loads on the CPU (trial {on_cpu[0]})"
    else:
        return None
    return Finding(
        evidence,
        "The backend is chosen when a model is converted: ask for the one it was made for, or take another conversion. "
        "Gemma, Falcon 1B, StableLM and Phi-2 are published for the GPU",
    )


def no_gpu_there(facts: Facts) -> Finding | None:
    """The engine found no GPU at all: nothing is wrong with the model."""
    words = _no_gpu_words(facts)
    if words is None or facts.measured:
        return None
    virtual = facts.record.device_kind == PhoneKind.VIRTUAL
    return Finding(
        f"{words}{'; a virtual phone has no GPU' if virtual else ''}",
        "Ask for the CPU, or for `--device=virtual:…,gpu=emulated`, whose figures are marked"
        if virtual
        else "Ask for the CPU; if the phone should have a GPU for this engine, update the app's engine",
    )


def ran_on_another_backend(facts: Facts) -> Finding | None:
    """The engine left the backend that was asked for, and said nothing to the user."""
    record = facts.record
    if facts.outcome is not Outcome.FELL_BACK:
        return None
    how = f": {quoted(record.backend_how)}" if record.backend_how else ""
    return Finding(
        f"asked for {record.backend_requested}, ran on {record.backend_effective}{how}",
        "Its figures belong to the backend it ran on. In an app, look which one it is (the log, the growth of Metal's "
        "memory) and tell the user; ask for that backend in the suite, or take a model made for the other",
    )


def weights_count_on_the_gpu(facts: Facts) -> Finding | None:
    """Killed on the GPU, where weights count towards the footprint; on the CPU the same model loads."""
    kill = facts.kill
    if kill is None or not facts.on_gpu or not facts.hit_the_footprint_limit:
        return None
    on_cpu = [other for other in facts.same_load(backend_requested="cpu") if other.outcome == Outcome.LOADED]
    known = [other for other in on_cpu if other.peak_footprint_bytes is not None]
    if not known:
        return None
    peak = known[0].peak_footprint_bytes or 0
    return Finding(
        f"killed at {format_bytes(kill.footprint_bytes)} on the GPU, which holds the weights in memory that counts; on "
        f"the CPU the same load had a peak of {format_bytes(peak)} (trial {known[0].trial_id})",
        "Use the CPU on this class of phone, where mapped weights do not count, or a lower quantisation on the GPU",
    )


def metal_buffer_too_large(facts: Facts) -> Finding | None:
    """Metal refused one buffer as too large."""
    words = facts.said(_METAL_BUFFER)
    if words is None or facts.measured:
        return None
    return Finding(
        words,
        "One tensor is larger than a Metal buffer may be: use the CPU, a model with a smaller vocabulary or a lower "
        "quantisation, or a newer engine, which divides it",
    )


def _no_gpu_words(facts: Facts) -> str | None:
    if not facts.on_gpu or facts.record.backend_effective == EMULATED_GPU:
        return None
    return facts.said(_NO_GPU)


def _loaded_on_cpu(facts: Facts) -> list[str]:
    others = facts.same_load(backend_requested="cpu")
    return [other.trial_id for other in others if other.outcome == Outcome.LOADED]
