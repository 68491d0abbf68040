"""What the host may say: commands and jobs, decoded and checked. Does no I/O and knows no engine.

Everything from the other end is untrusted: unknown fields, wrong types and values out of range are refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

PROTOCOL_VERSION = 1
MAX_TOKENS = 1 << 20
MAX_PROMPT_BYTES = 32 * 1024
MAX_SAMPLE_HZ = 1000
MAX_HOLD_MS = 3_600_000
MAX_SEED = (1 << 31) - 1
MAX_COPIES = 64
MIN_CHUNK_BYTES = 4096
MAX_CHUNK_BYTES = 1 << 30
MAX_RESERVE_BYTES = 1 << 40
MAX_MODEL_PATH_BYTES = 1024
MAX_DEPTH = 64
"""A command has a depth of three."""
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

BACKENDS = ("cpu", "gpu")
CACHES = ("cold", "warm", "none")
FLOORS = ("mmap", "read")
"""Engines that only bring the file into memory: no weight cache, no GPU, and the prompt is not used."""
PREWARM_MODES = ("off", "advise", "touch")

# It becomes a file name: no separator, no leading dot.
_TRIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PROCESS_JOURNAL_PREFIX = "process-"
"""The journal's name before a trial begins; no trial may look like one."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Refusal(Exception):
    """A command that is not carried out: ``kind`` as in the protocol, and the trial that gets no result (or None)."""

    def __init__(self, kind: str, message: str, trial: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trial = trial


class Prewarm(NamedTuple):
    """Bring the file into the page cache before the load: ``advise`` asks the kernel, ``touch`` reads each page."""

    mode: str
    chunk_bytes: int


class Guard(NamedTuple):
    """Stop the load when less than ``reserve_bytes`` is left below the footprint limit."""

    reserve_bytes: int


class Job(NamedTuple):
    """One load, as asked for.

    None: ``sha256`` not verified, ``max_tokens`` the model's own, ``prompt`` load only, ``guard`` none. ``warmup``: one
    whole load and unload before the measured one. ``copies``: engines of the file, one beside the other.
    """

    model: str
    engine: str
    backend: str
    cache: str
    sample_hz: int
    sha256: str | None
    max_tokens: int | None
    prompt: str | None
    decode_tokens: int
    hold_ms: int
    seed: int
    prewarm: Prewarm
    warmup: bool
    guard: Guard | None
    copies: int


class Hello(NamedTuple):
    """Who are you?"""

    host_t: int


class Ping(NamedTuple):
    """Clock probe; ``host_t`` is echoed."""

    host_t: int


class Run(NamedTuple):
    """Begin a trial."""

    trial: str
    job: Job


class Resume(NamedTuple):
    """Send every event from ``from_seq`` on."""

    from_seq: int


class Cancel(NamedTuple):
    """Stop the running trial as soon as possible."""


class Bye(NamedTuple):
    """Close the connection."""


Command = Hello | Ping | Run | Resume | Cancel | Bye


def decode_command(line: bytes) -> Command:
    """Decode one line from the host. Raises Refusal naming what is wrong and what would be right."""
    message = _parse(line)
    if not isinstance(message, dict):
        raise Refusal("bad_command", "a command is a JSON object")
    _check_version(message)
    name = message.get("cmd")
    if not isinstance(name, str) or name not in _FIELDS:
        raise Refusal("bad_command", f"cmd must be one of {', '.join(_FIELDS)}, got {_shown(name)}")
    unknown = sorted(set(message) - {"v", "cmd", *_FIELDS[name]})
    if unknown:
        raise Refusal("bad_command", f"{name} has no field {_shown(unknown[0])}")
    match name:
        case "hello":
            if "v" not in message:
                raise Refusal("bad_command", "hello needs v, the version of the protocol")
            return Hello(_host_t(message))
        case "ping":
            return Ping(_host_t(message))
        case "run":
            return _decode_run(message)
        case "resume":
            return Resume(_integer(message.get("from_seq"), "from_seq", 1, INT64_MAX, "bad_command"))
        case "cancel":
            return Cancel()
        case _:
            return Bye()


_FIELDS: dict[str, tuple[str, ...]] = {
    "hello": ("host_t",),
    "run": ("trial", "job"),
    "resume": ("from_seq",),
    "ping": ("host_t",),
    "cancel": (),
    "bye": (),
}


def _parse(line: bytes) -> object:
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
        _check_depth(value)
    except RecursionError:
        raise Refusal("bad_json", "the line is nested too deeply") from None
    except ValueError as error:
        # UnicodeDecodeError, JSONDecodeError and "integer too long" are all ValueErrors.
        raise Refusal("bad_json", f"the line is not JSON in UTF-8: {error}"[:500]) from None
    return value


def _check_depth(value: object) -> None:
    """Raise RecursionError beyond the bound: what the interpreter itself could still read differs between versions."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for holder in level for item in _items(holder) if isinstance(item, (dict, list))]
        if not level:
            return
    raise RecursionError


def _items(value: object) -> Iterable[object]:
    """What a JSON container holds; a plain value holds nothing."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_version(message: dict[str, object]) -> None:
    if "v" not in message:
        return
    version = message["v"]
    if not isinstance(version, int) or isinstance(version, bool):
        raise Refusal("bad_command", f"v must be an integer, got {_shown(version)}")
    if version != PROTOCOL_VERSION:
        raise Refusal(
            "bad_version", f"this runner speaks version {PROTOCOL_VERSION}, not {version}: update the older side"
        )


def _host_t(message: dict[str, object]) -> int:
    return _integer(message.get("host_t"), "host_t", INT64_MIN, INT64_MAX, "bad_command")


def _decode_run(message: dict[str, object]) -> Run:
    trial = message.get("trial")
    if not isinstance(trial, str) or not _TRIAL.fullmatch(trial) or trial.startswith(PROCESS_JOURNAL_PREFIX):
        raise Refusal(
            "bad_command",
            f"trial must be 1 to 100 letters, digits, '.', '_' or '-', begin with a letter or digit and not with "
            f"{PROCESS_JOURNAL_PREFIX!r}, got {_shown(trial)}",
        )
    if "job" not in message:
        raise Refusal("bad_command", "run needs a job", trial)
    try:
        return Run(trial, decode_job(message["job"]))
    except Refusal as refusal:
        refusal.trial = trial
        raise


def decode_job(value: object) -> Job:
    """Decode and check a job. Raises Refusal of kind ``bad_job``."""
    if not isinstance(value, dict):
        raise Refusal("bad_job", "job must be an object")
    unknown = sorted(set(value) - set(Job._fields), key=str)
    if unknown:
        raise Refusal("bad_job", f"a job has no field {_shown(unknown[0])}; it has {', '.join(Job._fields)}")
    for name in ("model", "engine", "backend", "cache", "sample_hz"):
        if name not in value:
            raise Refusal("bad_job", f"a job needs {name}")
    engine = value["engine"]
    if not isinstance(engine, str):
        raise Refusal("bad_job", f"engine must be a string, got {_shown(engine)}")
    sha256 = value.get("sha256")
    if sha256 is not None and (not isinstance(sha256, str) or not _SHA256.fullmatch(sha256)):
        raise Refusal("bad_job", f"sha256 must be 64 lower-case hex digits or null, got {_shown(sha256)}")
    max_tokens = value.get("max_tokens")
    job = Job(
        model=_model_path(value["model"]),
        engine=engine,
        backend=_choice(value["backend"], "backend", BACKENDS),
        cache=_choice(value["cache"], "cache", CACHES),
        sample_hz=_integer(value["sample_hz"], "sample_hz", 1, MAX_SAMPLE_HZ),
        sha256=sha256,
        max_tokens=None if max_tokens is None else _integer(max_tokens, "max_tokens", 1, MAX_TOKENS),
        prompt=_prompt(value.get("prompt")),
        decode_tokens=_integer(value.get("decode_tokens", 0), "decode_tokens", 0, MAX_TOKENS),
        hold_ms=_integer(value.get("hold_ms", 0), "hold_ms", 0, MAX_HOLD_MS),
        seed=_integer(value.get("seed", 0), "seed", 0, MAX_SEED),
        prewarm=_prewarm(value.get("prewarm", {"mode": "off"})),
        warmup=_boolean(value.get("warmup", False), "warmup"),
        guard=_guard(value.get("guard")),
        copies=_integer(value.get("copies", 1), "copies", 1, MAX_COPIES),
    )
    _check_together(job)
    return job


def _check_together(job: Job) -> None:
    if job.decode_tokens and job.prompt is None:
        raise Refusal("bad_job", "decode_tokens needs a prompt")
    if job.engine in FLOORS:
        for name, given, wanted in (("backend", job.backend, "cpu"), ("cache", job.cache, "none")):
            if given != wanted:
                raise Refusal("bad_job", f"engine {job.engine} only brings the file in: {name} must be {wanted}")


def _model_path(value: object) -> str:
    if not isinstance(value, str) or not value or len(value.encode("utf-8", "replace")) > MAX_MODEL_PATH_BYTES:
        raise Refusal("bad_job", f"model must be a path of 1 to {MAX_MODEL_PATH_BYTES} bytes, got {_shown(value)}")
    if value.startswith("/") or "\0" in value or any(part in ("", ".", "..") for part in value.split("/")):
        raise Refusal("bad_job", f"model must be a plain relative path below Documents, got {_shown(value)}")
    return value


def _prompt(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value.encode("utf-8", "replace")) <= MAX_PROMPT_BYTES:
        raise Refusal("bad_job", f"prompt must be a string of 1 to {MAX_PROMPT_BYTES} bytes or null")
    return value


def _prewarm(value: object) -> Prewarm:
    if not isinstance(value, dict) or set(value) - {"mode", "chunk_bytes"}:
        raise Refusal("bad_job", "prewarm must be an object with mode and chunk_bytes")
    mode = _choice(value.get("mode"), "prewarm.mode", PREWARM_MODES)
    if mode == "off":
        if "chunk_bytes" in value:
            raise Refusal("bad_job", "prewarm.chunk_bytes has no meaning when prewarm.mode is off")
        return Prewarm(mode, 0)
    return Prewarm(mode, _integer(value.get("chunk_bytes"), "prewarm.chunk_bytes", MIN_CHUNK_BYTES, MAX_CHUNK_BYTES))


def _guard(value: object) -> Guard | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) - {"reserve_bytes"}:
        raise Refusal("bad_job", "guard must be an object with reserve_bytes, or null")
    return Guard(_integer(value.get("reserve_bytes"), "guard.reserve_bytes", 0, MAX_RESERVE_BYTES))


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise Refusal("bad_job", f"{name} must be true or false, got {_shown(value)}")
    return value


def _choice(value: object, name: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise Refusal("bad_job", f"{name} must be one of {', '.join(choices)}, got {_shown(value)}")
    return value


def _integer(value: object, name: str, low: int, high: int, kind: str = "bad_job") -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refusal(kind, f"{name} must be an integer from {low} to {high}, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Show a value from outside in a message: short, on one line."""
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
