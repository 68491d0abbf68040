"""LiteRT-LM's C interface as ctypes, and nothing else of it.

The library is found beside the ``litert_lm`` Python package, which is not imported: its own imports would be part of
every reading. Signatures: the wheel's ``_ffi.py`` at 0.18.1; ``get_last_error_message`` is exported, not listed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path

PACKAGE = "litert_lm"
LIBRARY = "liblitert-lm.so"
DISTRIBUTION = "litert_lm_api"

Handle = ctypes.c_void_p
StreamCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)

_INT, _TEXT, _BOOL, _FLOAT, _DOUBLE = ctypes.c_int, ctypes.c_char_p, ctypes.c_bool, ctypes.c_float, ctypes.c_double
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "set_min_log_level": (None, (_INT,)),
    "get_last_error_message": (_TEXT, ()),
    "engine_settings_create": (Handle, (_TEXT, _TEXT, _TEXT, _TEXT)),
    "engine_settings_delete": (None, (Handle,)),
    "engine_settings_set_max_num_tokens": (None, (Handle, _INT)),
    "engine_settings_set_cache_dir": (None, (Handle, _TEXT)),
    "engine_settings_enable_benchmark": (None, (Handle,)),
    "engine_create": (Handle, (Handle,)),
    "engine_delete": (None, (Handle,)),
    "engine_create_session": (Handle, (Handle, Handle)),
    "session_delete": (None, (Handle,)),
    "session_config_create": (Handle, ()),
    "session_config_delete": (None, (Handle,)),
    "session_config_set_max_output_tokens": (None, (Handle, _INT)),
    "session_config_set_apply_prompt_template": (None, (Handle, _BOOL)),
    "session_config_set_sampler_params": (None, (Handle, Handle)),
    "sampler_params_create": (Handle, (_INT,)),
    "sampler_params_delete": (None, (Handle,)),
    "sampler_params_set_top_k": (None, (Handle, _INT)),
    "sampler_params_set_top_p": (None, (Handle, _FLOAT)),
    "sampler_params_set_temperature": (None, (Handle, _FLOAT)),
    "sampler_params_set_seed": (None, (Handle, _INT)),
    "input_data_create": (Handle, (_INT, Handle, ctypes.c_size_t)),
    "input_data_delete": (None, (Handle,)),
    "session_run_prefill": (_INT, (Handle, ctypes.POINTER(Handle), ctypes.c_size_t)),
    "session_run_decode_async": (_INT, (Handle, StreamCallback, Handle)),
    "session_cancel_process": (None, (Handle,)),
    "session_get_benchmark_info": (Handle, (Handle,)),
    "stream_chunk_get_text": (_TEXT, (Handle,)),
    "stream_chunk_is_final": (_BOOL, (Handle,)),
    "stream_chunk_get_error": (_TEXT, (Handle,)),
    "benchmark_info_delete": (None, (Handle,)),
    "benchmark_info_get_num_prefill_turns": (_INT, (Handle,)),
    "benchmark_info_get_num_decode_turns": (_INT, (Handle,)),
    "benchmark_info_get_prefill_token_count_at": (_INT, (Handle, _INT)),
    "benchmark_info_get_decode_token_count_at": (_INT, (Handle, _INT)),
    "benchmark_info_get_prefill_tokens_per_sec_at": (_DOUBLE, (Handle, _INT)),
    "benchmark_info_get_decode_tokens_per_sec_at": (_DOUBLE, (Handle, _INT)),
}


class LibraryMissing(Exception):
    """LiteRT-LM is not installed for this interpreter, or is not the version this file was written for."""


class LiteRtLm:
    """The loaded library. ``call("engine_create", …)`` calls ``litert_lm_engine_create``."""

    def __init__(self, path: Path) -> None:
        """Load the library and look up every function used. Raises LibraryMissing."""
        try:
            library = ctypes.CDLL(str(path), handle=_dlopen(path))
            self._functions = {}
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(library, f"litert_lm_{name}")
                function.restype = result
                function.argtypes = list(arguments)
                self._functions[name] = function
        except (OSError, AttributeError) as error:
            raise LibraryMissing(f"{path.name}: {error}") from error

    def call(self, name: str, *arguments: object) -> object:
        """Call a function; without arguments of its own opinion about NULL (None) or failure."""
        return self._functions[name](*arguments)

    def handle(self, name: str, *arguments: object) -> int | None:
        """Call a function that returns a handle; None is NULL."""
        value = self.call(name, *arguments)
        return value if isinstance(value, int) else None

    def integer(self, name: str, *arguments: object) -> int:
        """Call a function that returns an int."""
        value = self.call(name, *arguments)
        if not isinstance(value, int):
            raise TypeError(f"litert_lm_{name} returned {value!r}")
        return value

    def number(self, name: str, *arguments: object) -> float:
        """Call a function that returns a double."""
        value = self.call(name, *arguments)
        if not isinstance(value, float):
            raise TypeError(f"litert_lm_{name} returned {value!r}")
        return value

    def text(self, name: str, *arguments: object) -> bytes | None:
        """Call a function that returns a string; bytes, because a piece may end inside a character."""
        value = self.call(name, *arguments)
        return value if isinstance(value, bytes) else None

    def last_error(self) -> str:
        """The library's own words about what went wrong last."""
        return (self.text("get_last_error_message") or b"(the engine gave no reason)").decode("utf-8", "replace")


def _dlopen(path: Path) -> int:
    """Load a library through a foreign call: ctypes' own loading would hold the interpreter and so the sampler."""
    loader = ctypes.CDLL(None)
    loader.dlopen.restype = Handle
    loader.dlopen.argtypes = [_TEXT, _INT]
    loader.dlerror.restype = _TEXT
    handle = loader.dlopen(bytes(path), os.RTLD_NOW | os.RTLD_LOCAL)
    if not isinstance(handle, int):
        raise OSError((loader.dlerror() or b"dlopen gave no reason").decode("utf-8", "replace"))
    return handle


def find_library() -> tuple[Path, str] | None:
    """Return the library's path and version, or None if it is not installed for this interpreter."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    library = package / LIBRARY
    if not library.is_file():
        return None
    # The version is in the name of the metadata's directory; importlib.metadata would cost 3 MB to say the same.
    for metadata in package.parent.glob(f"{DISTRIBUTION}-*.dist-info"):
        return library, metadata.name.removeprefix(f"{DISTRIBUTION}-").removesuffix(".dist-info")
    return library, "unknown"
