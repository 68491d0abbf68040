"""A GPU that is none: for a virtual phone that says ``VIRTUAL_GPU=emulated``, and for nothing else.

The engine runs on the CPU; the weights are also held in memory of their own, as the buffers of a GPU would hold them,
so that what an app on the GPU costs can be seen. That memory is real: it counts towards the footprint and its limits.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

from .anonymous import hold_in_memory
from .engine import EngineError, Stage

GPU_VARIABLE = "VIRTUAL_GPU"
EMULATED = "emulated"
EFFECTIVE_BACKEND = "cpu (gpu emulated)"
"""The effective backend's name; the host knows it (``harness.core.outcome``) and marks such trials everywhere."""


class EmulatedGpu:
    """The graphics memory of an emulated GPU: a copy of a model's weights for each engine that uploads them."""

    def __init__(self) -> None:
        self._held_bytes = 0
        self.allocated_bytes = 0
        """What counts as graphics memory now; grows while weights are uploaded."""

    def upload(self, model: Path, stage: Stage) -> mmap.mmap:
        """Hold the model's bytes, to be given to ``release``. Raises EngineError of kind load_error, Cancelled."""
        try:
            memory = hold_in_memory(model, stage, self._told)
        except BaseException as error:
            self.allocated_bytes = self._held_bytes
            if isinstance(error, (OSError, ValueError)):
                raise EngineError("load_error", f"emulated GPU: upload of {model.name}: {error}") from error
            raise
        self._held_bytes = self.allocated_bytes
        return memory

    def release(self, memory: mmap.mmap) -> None:
        """Give one upload's memory back."""
        self._held_bytes -= len(memory)
        memory.close()
        self.allocated_bytes = self._held_bytes

    def _told(self, done_bytes: int) -> None:
        self.allocated_bytes = self._held_bytes + done_bytes


def emulated_gpu(environment: Mapping[str, str]) -> EmulatedGpu | None:
    """The GPU the phone offers; None without one. Raises ValueError for a word that is not known."""
    word = environment.get(GPU_VARIABLE)
    if word is None:
        return None
    if word != EMULATED:
        raise ValueError(f"{GPU_VARIABLE} must be {EMULATED!r} or not set, got {word!r}")
    return EmulatedGpu()
