"""The host's end of one conversation with a runner, without I/O: bytes in, events out; commands out as bytes.

Everything that affects the order of events lives here: `seq` starts at 1 and has no gaps over the life of the
process, so a gap is a loss, and what comes twice (after `resume`) is dropped.
"""

from __future__ import annotations

from harness.core.errors import DeviceError
from harness.core.job import Job
from harness.runner.framing import LineSplitter
from harness.runner.messages import VERSION, Event, encode_command, parse_event


class Session:
    """One per process of the runner; survives reconnects (`reconnected` forgets the unfinished line only)."""

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._next_seq = 1
        self._missing: list[range] = []
        self._broken: DeviceError | None = None

    def receive_data(self, data: bytes) -> list[Event]:
        """The new events in `data`, in order. Raises FramingError or MessageError on anything else.

        Events that came whole before the nonsense are given out first: the next call raises.
        """
        if self._broken is not None:
            raise self._broken
        fresh: list[Event] = []
        try:
            self._read(data, fresh)
        except DeviceError as error:
            if not fresh:
                raise
            self._broken = error
        return fresh

    @property
    def broken(self) -> bool:
        """Nonsense has come; what follows on this connection cannot be trusted to begin at a line's begin."""
        return self._broken is not None

    def _read(self, data: bytes, fresh: list[Event]) -> None:
        for line in self._lines.receive_data(data):
            event = parse_event(line)
            if event.seq < self._next_seq and not self._fills_gap(event.seq):
                continue
            if event.seq > self._next_seq:
                self._missing.append(range(self._next_seq, event.seq))
            self._next_seq = max(self._next_seq, event.seq + 1)
            fresh.append(event)

    def _fills_gap(self, seq: int) -> bool:
        for index, gap in enumerate(self._missing):
            if seq in gap:
                parts = (range(gap.start, seq), range(seq + 1, gap.stop))
                self._missing[index : index + 1] = [part for part in parts if part]
                return True
        return False

    def reconnected(self) -> bytes:
        """Call when a new connection stands; gives the command that asks for everything not yet seen."""
        self._lines = LineSplitter()
        self._broken = None
        from_seq = self._missing[0].start if self._missing else self._next_seq
        return encode_command("resume", from_seq=from_seq)

    def catch_up(self) -> bytes | None:
        """The command that asks for what the process said before this connection stood; None: nothing is missing."""
        return encode_command("resume", from_seq=self._missing[0].start) if self._missing else None

    @property
    def missing(self) -> int:
        """How many events were skipped so far."""
        return sum(len(gap) for gap in self._missing)

    def hello(self, host_t: int) -> bytes:
        return encode_command("hello", v=VERSION, host_t=host_t)

    def run(self, trial: str, job: Job) -> bytes:
        return encode_command("run", trial=trial, job=job.to_wire())

    def ping(self, host_t: int) -> bytes:
        return encode_command("ping", host_t=host_t)

    def bye(self) -> bytes:
        return encode_command("bye")
