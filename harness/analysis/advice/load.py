"""Rules about the load itself: weight cache, signatures, context, formats, and failures after a load."""

from __future__ import annotations

import re
from statistics import median_low

from harness.analysis.advice.facts import Facts, Finding, quoted
from harness.core.job import CacheState, Engine
from harness.core.model_file import ModelFormat
from harness.core.outcome import EvidenceKind, Outcome
from harness.core.record import TrialRecord
from harness.core.units import format_bytes

NS_PER_MS = 1_000_000
# A cache that saves less than this is not worth a line: two loads of one case differ by as much.
WORTH_TELLING = 1.25
# Packed weights are worth a line from this share of the peak, or of the limit that was met, on.
PACKED_SHARE = 0.3
# From so many times the weights on, more than one copy of them was held.
SEVERAL_COPIES = 1.5
# The caches for keys and values dominate from this share of the footprint on …
KV_SHARE = 0.5
# … and are larger than needed when the trial had a use for at most this share of the context.
CONTEXT_SHARE = 0.5
# What the app itself and its libraries keep is no leak.
KEPT_BYTES = 128 * 1024 * 1024
KEPT_SHARE = 0.5

_FORMATS: dict[str, tuple[ModelFormat, ...]] = {
    Engine.LITERT_LM: (ModelFormat.TASK, ModelFormat.LITERTLM),
    Engine.MEDIAPIPE: (ModelFormat.TASK, ModelFormat.LITERTLM, ModelFormat.BIN),
}
_NOT_READABLE = re.compile(
    r"unable to open zip archive|invalid flatbuffer|not a valid|unknown file type|unsupported file|"
    r"invalid magic|prefill_decode not found",
    re.IGNORECASE,
)
_OF_A_PROMPT = ("prefill", "first_token", "decode")
_MEMORY_KINDS = re.compile(r"failed to allocate|cannot allocate|memory_error|out of memory", re.IGNORECASE)


def cache_was_built(facts: Facts) -> Finding | None:
    """The weight cache was built during the load, and the same load with a warm one was cheaper."""
    record = facts.record
    if record.cache_state != CacheState.COLD or not (facts.measured or facts.out_of_memory):
        return None
    warm = [other for other in facts.same_load(cache_state=CacheState.WARM) if other.outcome == Outcome.LOADED]
    if not warm:
        return None
    saved = [
        text
        for name, text in (("peak_footprint_bytes", _peaks(record, warm)), ("load_ns", _loads(record, warm)))
        if not facts.measured or _ratio(record, warm, name) >= WORTH_TELLING
    ]
    if not saved:
        return None
    return Finding(
        f"the weight cache was built during this load; with a warm one (trial {warm[0].trial_id}): "
        f"{' and '.join(saved)}",
        "Build the cache once, at a moment with room (after the download, nothing else loaded), and keep its folder "
        'between launches, outside tmp; `caches = ["warm"]` in the suite\'s [matrix] measures what users then get',
    )


def copies_for_each_signature(facts: Facts) -> Finding | None:
    """No weight cache, and the file has several signatures: the engine packs a copy of the weights for each."""
    record = facts.record
    if record.cache_state != CacheState.NONE or record.engine != Engine.LITERT_LM or facts.on_gpu:
        return None
    packed, count = _packed(facts)
    if packed is None or count is None or count < 2:
        return None
    peak, of = facts.peak_bytes, facts.wall_bytes
    if not (facts.measured or facts.out_of_memory) or of is None or packed < PACKED_SHARE * of:
        return None
    # the record alone counts the embedding for every signature: then a peak must show that copies were held
    if facts.measured and (peak is None or peak < (packed if facts.model else SEVERAL_COPIES * packed / count)):
        return None
    return Finding(
        f"no weight cache, {count} signatures: up to {format_bytes(packed)} of weights packed in memory of the app's "
        f"own; peak {_size(peak)}",
        'Let the engine keep a weight cache (`caches = ["cold", "warm"]`), or convert the model with a single prefill '
        "length",
    )


def context_larger_than_needed(facts: Facts) -> Finding | None:
    """The caches for keys and values dominate, and the trial had no use for most of them."""
    record, model = facts.record, facts.model
    if model is None or model.kv_bytes_per_token is None or facts.floor:
        return None
    context = model.context if model.context is not None else record.max_tokens
    kv_bytes = context * (model.kv_bytes_per_token + (model.mask_bytes_per_token or 0))
    of = facts.wall_bytes
    if facts.measured:
        what = "the peak footprint"
        used = None if record.prefill_tokens is None else record.prefill_tokens + (record.decoded_tokens or 0)
    elif facts.out_of_memory:
        what, used = "the limit", None
    else:
        return None
    needed, known = (record.max_tokens, "asked for") if used is None else (used, "used")
    if not of or kv_bytes < KV_SHARE * of or needed > CONTEXT_SHARE * context:
        return None
    return Finding(
        f"keys, values and mask of {context} tokens take {format_bytes(kv_bytes)}, {kv_bytes / of:.0%} of {what}; "
        f"{needed} tokens were {known}",
        "Take a file that was converted for a smaller context (`ekv…` in its name; `harness models inspect`): where "
        "shapes are fixed, `max_tokens` changes nothing. With MediaPipe's .bin lower `max_tokens`",
    )


def failed_after_the_load(facts: Facts) -> Finding | None:
    """The engine called itself ready, and the first work on a prompt found no room."""
    record = facts.record
    if facts.outcome not in (Outcome.GENERATE_ERROR, Outcome.BAD_ALLOC) or facts.last_phase not in _OF_A_PROMPT:
        return None
    words = facts.said(_MEMORY_KINDS) if facts.outcome is Outcome.GENERATE_ERROR else facts.no_room_words
    if words is None:
        return None
    limit = record.allocation_limit_bytes
    found = "" if limit is None else f", in an app that found {format_bytes(limit)} of address space at most"
    return Finding(
        f"the load ended well, then {facts.last_phase} failed: {words}{found}",
        "A load that succeeds proves nothing yet: let the app run one short prompt at start, before it tells the user "
        "that the model is ready; then treat it as a load that found no room (extended addressing, a smaller model)",
    )


def other_format(facts: Facts) -> Finding | None:
    """The engine cannot read the file, or the file is of a format that the engine does not load."""
    record = facts.record
    if facts.outcome is not Outcome.LOAD_ERROR:
        return None
    accepted = _FORMATS.get(record.engine, ())
    kind = record.model_format or (facts.model and facts.model.format)
    if kind is not None and accepted and kind not in accepted:
        return Finding(
            f"{record.model_file} is a .{kind} by its content; {record.engine} loads {', '.join(accepted)}",
            "Take the model in one of those formats, or the engine that loads this one",
        )
    words = facts.said(_NOT_READABLE)
    if words is None:
        return None
    return Finding(
        f"{words}, and {record.model_file} arrived whole (its digest was checked on the phone)",
        "The file itself is damaged or another than its name says: look at it with `harness models inspect`, and "
        "download or convert it again",
    )


def cache_was_gone(facts: Facts) -> Finding | None:
    """A warm load without a complete cache of this very file."""
    item = next((item for item in facts.record.evidence if item.kind is EvidenceKind.RUNNER_ERROR), None)
    if item is None or not item.text.startswith("cache_missing"):
        return None
    return Finding(
        quoted(item.text),
        'Run a trial with `caches = ["cold"]` first. The system may empty Library/Caches and tmp when storage is '
        "short, and a model that is pushed again has a cache no more",
    )


def memory_stays_after_unload(facts: Facts) -> Finding | None:
    """After the unload the app still holds much of what the load took."""
    left, peak = facts.record.leftover_footprint_bytes, facts.record.peak_footprint_bytes
    if not facts.measured or left is None or peak is None or left < max(KEPT_BYTES, KEPT_SHARE * peak):
        return None
    return Finding(
        f"{format_bytes(left)} of a peak of {format_bytes(peak)} are still there after the unload",
        "Release every session before the engine: each holds on to it. What then still stays is the engine's; a second "
        "load in the same process starts from there",
    )


def _packed(facts: Facts) -> tuple[int | None, int | None]:
    """Bytes that are packed without a cache at most, and the number of signatures; None: not known."""
    if facts.model is not None and facts.model.signatures:
        used = [signature.weight_bytes for signature in facts.model.signatures if signature.weight_bytes]
        return sum(used), len(used)
    weights, count = facts.record.model_weight_bytes, facts.record.model_signatures
    return (None, None) if weights is None or count is None else (weights * count, count)


def _median(records: list[TrialRecord], name: str) -> int | None:
    values = [value for record in records if (value := getattr(record, name)) is not None]
    return median_low(values) if values else None


def _ratio(record: TrialRecord, others: list[TrialRecord], name: str) -> float:
    own, other = getattr(record, name), _median(others, name)
    return 0.0 if own is None or not other else own / other


def _peaks(record: TrialRecord, warm: list[TrialRecord]) -> str:
    own, other = record.peak_footprint_bytes, _median(warm, "peak_footprint_bytes")
    return f"a peak of {'unknown' if other is None else format_bytes(other)} instead of {_size(own)}"


def _loads(record: TrialRecord, warm: list[TrialRecord]) -> str:
    other = _median(warm, "load_ns")
    took = "no load at all" if record.load_ns is None else f"{record.load_ns / NS_PER_MS:.0f} ms"
    return f"a load in {'unknown time' if other is None else f'{other / NS_PER_MS:.0f} ms'} instead of {took}"


def _size(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else format_bytes(size_bytes)
