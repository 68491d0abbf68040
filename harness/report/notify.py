"""`harness verdicts notify`: tells a webhook which verdicts changed since it was last told.

What was told is kept in a small file in the results' folder. Not in the database: it is no result, goes with no merge
and no export, is the business of the one host that sends, and must be possible with records that this host only reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError
from harness.report.notify_news import Told, message, news, told_now
from harness.report.notify_post import check_webhook, post_json
from harness.store.owner import exclusive
from harness.store.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Collection

    from harness.analysis.series import CaseKey
    from harness.analysis.verdict import Verdict

STATE_NAME = "notified.json"
LOCK_NAME = ".notify.lock"
VERSION = 1
MAX_STATE_BYTES = 64 * 1024**2
_DIGEST_CHARS = 16


class NotifyStateError(HarnessError):
    """What was told before cannot be read or kept."""


@dataclass(frozen=True)
class Notified:
    """What came of it."""

    changed: int
    sent: bool
    message: bytes | None
    """What was sent, or would have been; None: nothing is new."""


def would_say(
    folder: Path, verdicts: Sequence[Verdict], webhook: str | None, *, demo: Collection[CaseKey] = ()
) -> Notified:
    """What `notify` would send; sends and keeps nothing. Without a webhook: as if nothing had ever been told."""
    before = {} if webhook is None else _told(_read(folder), _target(check_webhook(webhook)))
    found = news(verdicts, before)
    return Notified(len(found), sent=False, message=message(found, demo=demo) if found else None)


def notify(
    folder: Path,
    verdicts: Sequence[Verdict],
    webhook: str,
    *,
    retry_for_s: float,
    demo: Collection[CaseKey] = (),
) -> Notified:
    """Sends what is new in one message, and keeps that it was told, once the webhook has taken it.

    Each address has a memory of its own. Raises NotDelivered (nothing is kept then), UsageError for an address that is
    none, NotifyStateError.
    """
    target = _target(check_webhook(webhook))
    try:
        # two at once would both find the same news
        with exclusive(folder / LOCK_NAME):
            state = _read(folder)
            before = _told(state, target)
            found = news(verdicts, before)
            body = message(found, demo=demo) if found else None
            if body is not None:
                post_json(webhook, body, retry_for_s=retry_for_s)
            now = told_now(verdicts, before)
            if now != before:
                state["targets"][target] = {name: asdict(told) for name, told in now.items()}
                _write(folder, state, sent=body is not None)
    except OSError as error:
        raise NotifyStateError(f"{folder}: what was told cannot be kept here: {error.strerror}") from error
    return Notified(len(found), sent=body is not None, message=body)


def _target(webhook: str) -> str:
    """Tells addresses apart without holding one."""
    return hashlib.sha256(webhook.encode()).hexdigest()[:_DIGEST_CHARS]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / STATE_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_STATE_BYTES + 1)
    except FileNotFoundError:
        return {"version": VERSION, "targets": {}}
    except OSError as error:
        raise NotifyStateError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        state = json.loads(data)
        if state["version"] == VERSION and isinstance(state["targets"], dict):
            for target in state["targets"]:
                _told(state, target)
            return dict(state)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise NotifyStateError(f"{path}: is not what this version writes; move it away, and everything is told anew")


def _told(state: Mapping[str, Any], target: str) -> dict[str, Told]:
    """Raises TypeError for what is none."""
    return {str(name): Told(**told) for name, told in state["targets"].get(target, {}).items()}


def _write(folder: Path, state: dict[str, Any], *, sent: bool) -> None:
    path = folder / STATE_NAME
    try:
        write_whole(path, json.dumps(state, indent=1).encode())
    except OSError as error:
        again = "it was sent, and will be sent again: " if sent else ""
        raise NotifyStateError(f"{path}: {again}cannot be written: {error.strerror}") from error
