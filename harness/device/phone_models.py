"""The models that a phone has: a folder in the app's container whose files say by their names what they hold.

`<sha256><ending>` is a model, `<sha256><ending>.part` one that has not arrived whole, `<sha256>.json` the manifest that
tells people (and the eviction) what it is. Manifests are a convenience: they come from a phone, so they are bounded
and checked, and one that makes no sense only makes its model the first to go. Other files are none of ours.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from harness.core.errors import HarnessError
from harness.device.errors import BrokenConnection, StepError
from harness.device.interface import Container

MODELS_FOLDER = "/Documents/models"
PART_ENDING = ".part"
MANIFEST_ENDING = ".json"
MAX_MANIFEST_BYTES = 4096
MAX_NAME_CHARACTERS = 255
# Hosts that share a phone have clocks of their own; what lies further ahead says nothing.
CLOCK_TOLERANCE = timedelta(days=1)

_NAME = re.compile(r"(?P<sha256>[0-9a-f]{64})(?P<ending>(?:\.[a-z0-9]{1,12})?)(?P<part>(?:\.part)?)\Z")
# The engine tells the formats apart by the ending; anything else in the host's name is of no use on the phone.
_ENDING = re.compile(r"\.[a-z0-9]{1,12}\Z")


class ManifestError(HarnessError):
    """A manifest that makes no sense; the message says why."""


@dataclass(frozen=True)
class Manifest:
    """What stands beside a model. Times are ISO 8601 in UTC, by the clock of the host that wrote them."""

    name: str
    """The file's name on the host that pushed it."""
    size_bytes: int
    sha256: str
    pushed_at: str | None
    """None: it was on the phone before this manifest."""
    last_used: str

    def encode(self) -> bytes:
        told = {
            "name": self.name,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
            "pushed_at": self.pushed_at,
            "last_used": self.last_used,
        }
        return (json.dumps(told, indent=2) + "\n").encode()

    def used_at(self, now: datetime) -> datetime:
        """Raises ManifestError for a time that cannot be."""
        used = _time(self.last_used, "last_used")
        if used > now + CLOCK_TOLERANCE:
            raise ManifestError(f"last_used is {self.last_used}, which lies ahead")
        return used


def parse_manifest(data: bytes, sha256: str) -> Manifest:
    """The manifest of that model. Raises ManifestError."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"more than {MAX_MANIFEST_BYTES} bytes")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"no JSON: {error!s:.100}") from error
    if not isinstance(told, dict):
        raise ManifestError("no JSON object")
    name, size, pushed_at, last_used = (told.get(key) for key in ("name", "bytes", "pushed_at", "last_used"))
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise ManifestError(f"name is {name!r:.80}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestError(f"bytes is {size!r:.80}")
    if told.get("sha256") != sha256:
        raise ManifestError(f"sha256 is {told.get('sha256')!r:.80}, the file's name says {sha256}")
    if pushed_at is not None:
        _time(pushed_at, "pushed_at")
    _time(last_used, "last_used")
    return Manifest(name, size, sha256, pushed_at, str(last_used))


def _time(text: object, key: str) -> datetime:
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ManifestError(f"{key} is {text!r:.80}")
    return time


@dataclass(frozen=True)
class StoredModel:
    """What the phone has of one digest: the file, or a part of it, or both."""

    sha256: str
    files: tuple[str, ...]
    """Names in the folder, the manifest among them when there is one."""
    size_bytes: int
    """Of all of them together."""
    name: str | None
    """By its manifest; None without one that makes sense."""
    used_at: datetime | None
    whole: bool
    """False: there is nothing but a part."""

    @property
    def text(self) -> str:
        """For people."""
        return self.name or f"{self.sha256[:12]}…"

    def is_kept(self, keep: tuple[str, ...]) -> bool:
        """Whether one of the words names it: its file's name, with or without the ending, or the digest's begin."""
        names = set() if self.name is None else {self.name, self.name.rpartition(".")[0] or self.name}
        return any(word in names or (word and self.sha256.startswith(word.lower())) for word in keep)

    @property
    def rank(self) -> tuple[bool, datetime]:
        """The smallest goes first: parts, then what says nothing of its use, then what was used longest ago."""
        return self.whole, self.used_at or datetime.min.replace(tzinfo=UTC)


class PhoneModels:
    """The folder of one app, through a container that is open."""

    def __init__(self, container: Container) -> None:
        self._container = container

    async def note_use(self, sha256: str, name: str, size_bytes: int, *, pushed: bool) -> None:
        """Writes the manifest. A phone that refuses it has no less of a model; a broken connection is raised."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        before = None if pushed else await self._manifest(sha256)
        pushed_at = now if pushed else before.pushed_at if before is not None else None
        name = "".join(letter for letter in name if letter.isprintable())[:MAX_NAME_CHARACTERS]
        manifest = Manifest(name or "unnamed", size_bytes, sha256, pushed_at, now)
        try:
            await self._container.write_bytes(f"{MODELS_FOLDER}/{sha256}{MANIFEST_ENDING}", manifest.encode())
        except BrokenConnection:
            raise
        except StepError:
            return

    async def stored(self) -> list[StoredModel]:
        """Everything in the folder that is ours, in the order in which it would be removed."""
        files: dict[str, list[str]] = {}
        for name in await self._container.names(MODELS_FOLDER):
            if match := _NAME.match(name):
                files.setdefault(match["sha256"], []).append(name)
        return sorted([await self._look_at(sha256, names) for sha256, names in files.items()], key=lambda one: one.rank)

    async def remove(self, model: StoredModel) -> None:
        # the manifest last: what remains after a cut in between still says what it is
        for name in sorted(model.files, key=lambda name: name.endswith(MANIFEST_ENDING)):
            await self._container.remove(f"{MODELS_FOLDER}/{name}")

    async def forget(self, sha256: str) -> None:
        """Removes all that the phone has of that digest."""
        for model in await self.stored():
            if model.sha256 == sha256:
                await self.remove(model)

    async def _look_at(self, sha256: str, names: list[str]) -> StoredModel:
        sizes = [await self._container.size(f"{MODELS_FOLDER}/{name}") for name in names]
        manifest = await self._manifest(sha256) if f"{sha256}{MANIFEST_ENDING}" in names else None
        used_at = None
        if manifest is not None:
            try:
                used_at = manifest.used_at(datetime.now(UTC))
            except ManifestError:
                manifest = None
        whole = any(not name.endswith((PART_ENDING, MANIFEST_ENDING)) for name in names)
        size = sum(size for size in sizes if size is not None)
        return StoredModel(sha256, tuple(names), size, manifest.name if manifest else None, used_at, whole)

    async def _manifest(self, sha256: str) -> Manifest | None:
        path = f"{MODELS_FOLDER}/{sha256}{MANIFEST_ENDING}"
        try:
            contents = await self._container.read(path, MAX_MANIFEST_BYTES + 1)
        except BrokenConnection:
            raise
        except StepError:
            return None
        try:
            return None if contents is None else parse_manifest(contents.data, sha256)
        except ManifestError:
            return None


def model_path(sha256: str, host_name: str) -> str:
    """Where a model lies on the phone. An ending that means something else in this folder is left off."""
    match = _ENDING.search(host_name.lower())
    ending = match.group() if match and match.group() not in (PART_ENDING, MANIFEST_ENDING) else ""
    return f"{MODELS_FOLDER}/{sha256}{ending}"
