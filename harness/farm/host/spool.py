"""A host's own results: what its phones measured stays here until the hub has it, and some time longer.

An ordinary results folder, which `harness results list --results …` shows like any other.
"""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import platformdirs
from sqlalchemy import select

from harness import APP_NAME
from harness.core.phone import PhoneKind
from harness.core.record import TrialRecord
from harness.store.database import ResultStore
from harness.store.deliveries import remove_old
from harness.store.salvage import salvage
from harness.store.schema import deliveries

KEEP_DAYS = 14
"""A delivered trial stays so long on its host as well."""
BATCH = 200
"""Records that are read at once."""
MAX_HOST_CHARS = 100
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z._-]+")


def default_spool() -> Path:
    """In the user's state folder; one for all phones of a host."""
    return platformdirs.user_state_path(APP_NAME) / "farm-spool"


def host_word(text: str) -> str:
    """A host's name as it crosses the wire: letters, digits, dots and dashes."""
    return _NOT_IN_NAMES.sub("-", text).strip("-._")[:MAX_HOST_CHARS] or "host"


def record_host(name: str) -> str | None:
    """The host's name for its records, where `--host-name` gave it another; None: the machine's own, as it is."""
    return None if name == host_word(socket.gethostname()) else name


def phone_key(udid: str, kind: str, host: str) -> str:
    """The farm's name for a phone: virtual ones of two hosts may have one UDID."""
    return f"{udid}@{host}" if kind == PhoneKind.VIRTUAL else udid


def close_abandoned(store: ResultStore) -> list[TrialRecord]:
    """Closes the trials of phones' processes that are gone: they are delivered like the others, as evidence."""
    return salvage(store)


def forget_old(store: ResultStore, days: int = KEEP_DAYS) -> int:
    """Removes the trials that the hub has had for so long; their number."""
    return len(remove_old(store, datetime.now(UTC) - timedelta(days=days)))


def is_delivered(store: ResultStore, trial_id: str) -> bool:
    """Whether the hub is known to have the trial."""
    with store.reading() as connection:
        return (
            connection.execute(select(deliveries.c.trial_id).where(deliveries.c.trial_id == trial_id)).first()
            is not None
        )
