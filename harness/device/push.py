"""Brings a model file into the app's container, once: the digest is in its name on the phone.

The file is written beside its final name and renamed when complete, so what bears the name is whole. The runner
checks the digest on the phone before it loads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.core.outcome import Outcome
from harness.device.errors import StepError
from harness.device.interface import Progress, Transport

MODELS_FOLDER = "/Documents/models"
DOCUMENTS = "/Documents/"
# The engine tells the formats apart by the ending; anything else in the host's name is of no use on the phone.
_ENDING = re.compile(r"\.[a-z0-9]{1,12}\Z")


@dataclass(frozen=True)
class PushedModel:
    path: str
    """Under the app's Documents folder, as a job names it."""
    pushed_bytes: int
    """0: it was there."""


async def push_model(transport: Transport, bundle_id: str, model: Path, sha256: str, progress: Progress) -> PushedModel:
    """Raises StepError (outcome push_failed) naming what went wrong."""
    ending = _ENDING.search(model.name.lower())
    target = f"{MODELS_FOLDER}/{sha256}{ending.group() if ending else ''}"
    part = f"{target}.part"
    size = model.stat().st_size
    async with transport.container(bundle_id) as container:
        if await container.size(target) == size:
            return PushedModel(target.removeprefix(DOCUMENTS), 0)
        await container.make_folder(MODELS_FOLDER)
        await container.write(part, model, lambda done: progress(f"push {model.name}", done, size))
        arrived = await container.size(part)
        if arrived != size:
            text = f"{model.name}: {arrived} of {size} bytes arrived"
            remedy = "Check the phone's free storage and the cable, and run again"
            raise StepError("push", transport.facts.udid, text, remedy, Outcome.PUSH_FAILED)
        await container.rename(part, target)
    return PushedModel(target.removeprefix(DOCUMENTS), size)
