"""LiteRT-LM as an engine of the runner: load, prefill, decode, unload, through its C interface."""

from __future__ import annotations

import ctypes
import hashlib
import math
import mmap
import threading
import time
from pathlib import Path

from .emulated_gpu import EFFECTIVE_BACKEND, EmulatedGpu
from .engine import Cancelled, EngineError, EngineKind, Generation, Stage
from .job import Job
from .litert_lm_abi import Handle, LibraryMissing, LiteRtLm, StreamCallback, find_library
from .weight_cache import WeightCache

LOG_WARNING = 3
INPUT_TEXT = 0
SAMPLER_TOP_P = 2
"""Type 1 (TOP_K) fails at decode on the CPU at 0.18.1; TOP_P with k = 1 is greedy and works."""
NO_CACHE = b":nocache"
POLL_S = 0.05
MAX_TOKENS_REACHED = b"Max number of tokens reached"
"""The engine's "error" for the ordinary end of the context."""


class LiteRtLmEngine:
    """One LiteRT-LM engine with one session. ``gpu``: what a job for the GPU gets where the phone emulates one."""

    def __init__(self, library: Path, job: Job, model: Path, home: Path, gpu: EmulatedGpu | None) -> None:
        self._library_path = library
        self._gpu = gpu if job.backend == "gpu" else None
        self._uploaded: mmap.mmap | None = None
        self._job = job
        self._model = model
        self._cache = WeightCache(job, model, home)
        self._api: LiteRtLm | None = None
        self._engine: int | None = None
        self._session: int | None = None

    @property
    def _loaded_api(self) -> LiteRtLm:
        if self._api is None:
            raise EngineError("load_error", "the engine's library is not loaded")
        return self._api

    def load(self, stage: Stage) -> None:
        """Load the library, the model and a session. Raises EngineError."""
        if self._job.cache == "cold":
            with stage.phase("cache_clear"):
                self._cache.clear()
        with stage.phase("load_library"):
            try:
                self._api = LiteRtLm(self._library_path)
            except LibraryMissing as error:
                raise EngineError("load_error", str(error)) from error
            self._api.call("set_min_log_level", LOG_WARNING)
        stage.check()
        if self._gpu is not None:
            with stage.phase("gpu_upload"):
                self._uploaded = self._gpu.upload(self._model, stage)
            stage.check()
        if self._job.cache == "cold":
            self._cache.begin_build()
        before = self._cache.listing()
        with stage.phase("create_engine"):
            self._create_engine(self._api)
            if self._job.cache == "warm" and self._cache.listing() != before:
                raise EngineError("cache_missing", "the load was not warm: the engine wrote a weight cache of its own")
        stage.check()
        with stage.phase("create_session"):
            self._create_session(self._api)
        if self._job.cache == "cold":
            self._cache.complete_build()

    def _create_engine(self, api: LiteRtLm) -> None:
        backend = self._job.backend if self._gpu is None else "cpu"
        settings = api.handle("engine_settings_create", bytes(self._model), backend.encode(), None, None)
        if settings is None:
            raise EngineError("load_error", api.last_error())
        try:
            cache = NO_CACHE if self._job.cache == "none" else bytes(self._cache.directory)
            api.call("engine_settings_set_cache_dir", settings, cache)
            if self._job.max_tokens is not None:
                api.call("engine_settings_set_max_num_tokens", settings, self._job.max_tokens)
            api.call("engine_settings_enable_benchmark", settings)
            self._engine = api.handle("engine_create", settings)
        finally:
            api.call("engine_settings_delete", settings)
        if backend == "gpu":
            self._refuse_gpu(api)
        if self._engine is None:
            raise EngineError("load_error", api.last_error())

    def _refuse_gpu(self, api: LiteRtLm) -> None:
        """A load on the GPU is refused here whatever the engine says: nothing would prove that no CPU took over."""
        if self._engine is None:
            raise EngineError("load_error", f"this host has no GPU engine; the engine's words: {api.last_error()}")
        self.unload()
        raise EngineError("load_error", "the engine took the GPU, but here nothing proves which device then executes")

    def _create_session(self, api: LiteRtLm) -> None:
        config = api.handle("session_config_create")
        sampler = api.handle("sampler_params_create", SAMPLER_TOP_P)
        try:
            api.call("sampler_params_set_top_k", sampler, 1)
            api.call("sampler_params_set_top_p", sampler, 1.0)
            api.call("sampler_params_set_temperature", sampler, 1.0)
            api.call("sampler_params_set_seed", sampler, self._job.seed)
            api.call("session_config_set_sampler_params", config, sampler)
            api.call("session_config_set_max_output_tokens", config, max(1, self._job.decode_tokens))
            # The prompt is the host's, to the letter.
            api.call("session_config_set_apply_prompt_template", config, False)
            self._session = api.handle("engine_create_session", self._engine, config)
        finally:
            api.call("sampler_params_delete", sampler)
            api.call("session_config_delete", config)
        if self._session is None:
            raise EngineError("load_error", api.last_error())

    def effective_backend(self) -> tuple[str | None, str]:
        """The engine has no question for it; on the CPU the request and a successful load are the proof."""
        if self._gpu is not None:
            return EFFECTIVE_BACKEND, (
                f"no GPU executed anything: this phone only emulates one. The engine ran on the CPU, and "
                f"{self._gpu.allocated_bytes} bytes of weights were also held as graphics memory"
            )
        return self._job.backend, f"engine settings: {self._job.backend} was requested and engine_create succeeded"

    def generate(self, stage: Stage) -> Generation | None:
        """Prefill and decode the job's prompt. Raises EngineError, Cancelled."""
        if self._job.prompt is None or self._job.decode_tokens == 0:
            return None
        api = self._loaded_api
        with stage.phase("prefill"):
            self._prefill(api, self._job.prompt.encode("utf-8", "replace"))
        stage.check()
        stream = _Stream(api)
        self._decode(api, stage, stream)
        return self._generation(api, stream)

    def _prefill(self, api: LiteRtLm, prompt: bytes) -> None:
        text = ctypes.create_string_buffer(prompt, len(prompt))
        item = api.handle("input_data_create", INPUT_TEXT, text, len(prompt))
        try:
            status = api.integer("session_run_prefill", self._session, (Handle * 1)(item), 1)
        finally:
            api.call("input_data_delete", item)
        if status != 0:
            raise EngineError("generate_error", api.last_error())

    def _decode(self, api: LiteRtLm, stage: Stage, stream: _Stream) -> None:
        with stage.phase("first_token") as first:
            if api.integer("session_run_decode_async", self._session, stream.callback, None) != 0:
                raise EngineError("generate_error", api.last_error())
            # From here on the engine's thread may call us: never leave before it is done.
            cancelled = self._follow(api, stage, stream, stream.started)
            first.ended_ns = stream.first_ns
            if stream.first_ns is None:
                first.detail = "no text came"
        if stream.first_ns is not None:
            with stage.phase("decode") as rest:
                rest.began_ns = stream.first_ns
                cancelled = self._follow(api, stage, stream, stream.finished) or cancelled
                rest.ended_ns = stream.last_ns
        if stream.error is not None and not cancelled:
            raise EngineError("generate_error", stream.error)
        if cancelled:
            raise Cancelled

    def _follow(self, api: LiteRtLm, stage: Stage, stream: _Stream, until: threading.Event) -> bool:
        """Wait for the stream; when the trial is cancelled stop the engine and wait for it. Tells whether it was."""
        while not until.wait(POLL_S):
            stage.pieces(stream.count)
            if stage.cancelled(0):
                api.call("session_cancel_process", self._session)
                stream.finished.wait()
                return True
        stage.pieces(stream.count)
        return False

    def _generation(self, api: LiteRtLm, stream: _Stream) -> Generation:
        info = api.handle("session_get_benchmark_info", self._session)
        rates: dict[str, tuple[int | None, float | None]] = {"prefill": (None, None), "decode": (None, None)}
        if info is not None:
            for part in rates:
                rates[part] = _last_turn(api, info, part)
            api.call("benchmark_info_delete", info)
        return Generation(
            *rates["prefill"],
            *rates["decode"],
            stream.digest.hexdigest(),
            stream.bytes,
            stream.count,
        )

    def unload(self) -> None:
        """Delete the session and the engine, and what an emulated GPU holds."""
        if self._session is not None:
            self._loaded_api.call("session_delete", self._session)
            self._session = None
        if self._engine is not None:
            self._loaded_api.call("engine_delete", self._engine)
            self._engine = None
        if self._gpu is not None and self._uploaded is not None:
            self._gpu.release(self._uploaded)
            self._uploaded = None


class _Stream:
    """What the engine's thread reports while it decodes: times, counts and a digest; the text itself is not kept."""

    def __init__(self, api: LiteRtLm) -> None:
        self._api = api
        self.callback = StreamCallback(self._chunk)
        self.started = threading.Event()
        self.finished = threading.Event()
        self.digest = hashlib.sha256()
        self.bytes = 0
        self.count = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.error: str | None = None

    def _chunk(self, _data: object, chunk: object) -> None:
        """Called on the engine's thread; nothing may escape into C, and the end must be noticed even without memory."""
        try:
            self._take(chunk, time.monotonic_ns())
        except MemoryError:
            self.error = self.error or "the runner ran out of memory while it decoded"
        if self._api.call("stream_chunk_is_final", chunk) or self.error is not None:
            self.started.set()
            self.finished.set()

    def _take(self, chunk: object, now: int) -> None:
        error = self._api.text("stream_chunk_get_error", chunk)
        text = self._api.text("stream_chunk_get_text", chunk)
        if text:
            self.digest.update(text)
            self.bytes += len(text)
            self.count += 1
            self.first_ns = self.first_ns or now
            self.last_ns = now
            self.started.set()
        if error is not None and not error.startswith(MAX_TOKENS_REACHED):
            self.error = error.decode("utf-8", "replace")


def _last_turn(api: LiteRtLm, info: int, part: str) -> tuple[int | None, float | None]:
    """Return token count and tokens per second of the last turn; None where the engine has none."""
    turns = api.integer(f"benchmark_info_get_num_{part}_turns", info)
    if turns < 1:
        return None, None
    rate = api.number(f"benchmark_info_get_{part}_tokens_per_sec_at", info, turns - 1)
    count = api.integer(f"benchmark_info_get_{part}_token_count_at", info, turns - 1)
    return count, rate if math.isfinite(rate) else None


def _refuse(job: Job, model: Path, home: Path) -> None:
    if job.cache == "warm":
        WeightCache(job, model, home).require()


def litert_lm_kind(gpu: EmulatedGpu | None) -> EngineKind | None:
    """Return the engine if its library is installed for this interpreter, else None. ``gpu``: see LiteRtLmEngine."""
    found = find_library()
    if found is None:
        return None
    library, version = found

    def create(job: Job, model: Path, home: Path) -> LiteRtLmEngine:
        return LiteRtLmEngine(library, job, model, home, gpu)

    return EngineKind(version, _refuse, create)
