"""The journal that the runner wrote on the phone, and its union with what came over the stream.

Pure functions over bytes and events. A journal may be torn in its last line (the process died writing) and must
not make the trial fail: what is whole is used, what is not is counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.runner.framing import MAX_LINE_BYTES
from harness.runner.messages import Event, MessageError, parse_event

# Half an hour at 1 kHz and 140 bytes a line; reading takes several times as much memory.
MAX_JOURNAL_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Journal:
    events: tuple[Event, ...]
    torn_tail: bool
    """The last line has no end."""
    bad_lines: int
    """Whole lines that are no events."""


@dataclass(frozen=True)
class MergedEvents:
    events: tuple[Event, ...]
    """In order of `seq`, each once."""
    missing: int
    """Numbers between 1 and the last that neither source has."""


def parse_journal(data: bytes) -> Journal:
    """Reads a journal file; raises MessageError only when it is beyond MAX_JOURNAL_BYTES."""
    if len(data) > MAX_JOURNAL_BYTES:
        raise MessageError(f"the runner's journal has {len(data)} bytes, more than {MAX_JOURNAL_BYTES}")
    *lines, rest = data.split(b"\n")
    events: list[Event] = []
    bad = 0
    for line in lines:
        if not line:
            continue
        try:
            if len(line) > MAX_LINE_BYTES:
                raise MessageError("over-long line")
            events.append(parse_event(line))
        except MessageError:
            bad += 1
    return Journal(tuple(events), torn_tail=bool(rest), bad_lines=bad)


def merge(*sources: Iterable[Event]) -> MergedEvents:
    """The union by `seq`; where two sources have the same number the first one's event is kept."""
    by_seq: dict[int, Event] = {}
    for source in sources:
        for event in source:
            by_seq.setdefault(event.seq, event)
    events = tuple(by_seq[seq] for seq in sorted(by_seq))
    missing = (events[-1].seq - len(events)) if events else 0
    return MergedEvents(events, missing)
