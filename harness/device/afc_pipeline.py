"""Which bytes of a file are to be written next, and which the phone certainly has. Sans-IO.

Everything that decides about writes in flight lives here. A file is written in chunks; several are under way at once,
so that the link never waits for an answer. What counts is the **acknowledged prefix**: the bytes from the file's begin
whose writes were all answered with success, in the order in which they were sent. Nothing beyond it is believed:

- AFC writes where the handle stands. When a write in the midst of others fails, those behind it may still land, and
  then they land too early: beyond the prefix the file on the phone may hold the right bytes at the wrong place.
- Whether a phone's afcd endures writes in flight at all is not known; nothing but the virtual phone has been asked.

So upon the first **oddity** (an answer out of order, an answer to a number that was not asked, an error although more
than one write was under way) nothing more is sent; once the answers under way are in, the file is cut back to the
acknowledged prefix and the rest is written with one request at a time. What goes wrong then is no oddity but a failure.
An error that a lone request gets is the phone's word: it stands in `refused_with`.

**Resuming in another process.** All it knows is the size of the unfinished file. Since nothing is sent after an
oddity and never more than a window is under way, the file never reaches further than one window beyond the
acknowledged prefix, whatever landed where. Its size less a window is therefore within the prefix (`safe_offset`). That
every push begins at a multiple of the chunk, and cuts the file there first, keeps this true however often it is cut.
A version of this program with a larger window would break it for the version before: then the digest, which the
runner checks on the phone, fails, and the file is pushed anew.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from harness.device.afc import AfcGarbage, Operation, Reply, Status, status_words

# Fills a link of 40 MB/s and 1 ms through TLS to 99 % (tests/benchmarks/bench_push.py); not yet tried on a phone.
CHUNK_BYTES = 4 * 1024 * 1024
WINDOW = 4


@dataclass(frozen=True)
class Write:
    """One request: the `size_bytes` of the source from `offset_bytes` on."""

    number: int
    offset_bytes: int
    size_bytes: int

    @property
    def end_bytes(self) -> int:
        return self.offset_bytes + self.size_bytes


class WritePipeline:
    """The writes of one file from `begin_bytes` (to which the handle has been moved) to `end_bytes`."""

    def __init__(
        self, begin_bytes: int, end_bytes: int, *, chunk_bytes: int = CHUNK_BYTES, window: int = WINDOW
    ) -> None:
        self.acknowledged_bytes = begin_bytes
        self.oddity: str | None = None
        """What was odd; None while all goes as it should, and again after `begin_alone`."""
        self.refused_with: int | None = None
        """The status that a lone write got: the phone's word, after which nothing is sent."""
        self._end_bytes = end_bytes
        self._chunk_bytes = chunk_bytes
        self._window = window
        self._sent_bytes = begin_bytes
        self._under_way: OrderedDict[int, Write] = OrderedDict()
        # whether the write under way has been the only one for its whole life
        self._lone = False

    @property
    def done(self) -> bool:
        """Everything is acknowledged."""
        return self.acknowledged_bytes == self._end_bytes and not self._under_way

    @property
    def all_sent(self) -> bool:
        """Nothing more is to be sent: all has been, or something odd was met, or the phone refused."""
        stopped = self.oddity is not None or self.refused_with is not None
        return stopped or self._sent_bytes == self._end_bytes

    @property
    def settled(self) -> bool:
        """No answer is awaited any more, and none will be unless it goes on with `begin_alone`."""
        return self.all_sent and not self._under_way

    @property
    def alone(self) -> bool:
        """One request at a time."""
        return self._window == 1

    @property
    def may_send(self) -> bool:
        """There is something to send, and room in the window."""
        return not self.all_sent and len(self._under_way) < self._window

    def next_write(self, number: int) -> Write:
        """What to send now, under that number. Only while `may_send`."""
        size_bytes = min(self._chunk_bytes, self._end_bytes - self._sent_bytes)
        write = Write(number, self._sent_bytes, size_bytes)
        self._lone = not self._under_way
        self._under_way[number] = write
        self._sent_bytes += size_bytes
        return write

    def receive_reply(self, reply: Reply) -> None:
        """Takes an answer. Raises AfcGarbage for nonsense when there is one request at a time."""
        write = self._under_way.get(reply.number)
        if write is None:
            self._note(f"an answer to request {reply.number}, which was not asked")
            return
        in_order = reply.number == next(iter(self._under_way))
        lone = self._lone and len(self._under_way) == 1
        del self._under_way[reply.number]
        if reply.operation != Operation.STATUS:
            self._note(f"a write was answered by operation {reply.operation}")
        elif (status := reply.status) != Status.SUCCESS:
            if lone and self.oddity is None:
                self.refused_with = status
                return
            self._note(f"with several writes under way {status_words(status)}")
        elif not in_order:
            self._note("answers out of order")
        elif self.oddity is None:
            self.acknowledged_bytes = write.end_bytes

    def begin_alone(self) -> None:
        """Goes on from the acknowledged prefix with one request at a time.

        Call when `settled`, after the file was cut to that size and the handle moved there.
        """
        self.oddity = None
        self._window = 1
        self._sent_bytes = self.acknowledged_bytes

    def _note(self, oddity: str) -> None:
        if self.alone:
            raise AfcGarbage(oddity)
        self.oddity = self.oddity or oddity


def safe_offset(part_bytes: int, *, chunk_bytes: int = CHUNK_BYTES, window: int = WINDOW) -> int:
    """From where an unfinished file of that size may be continued: it holds the right bytes up to there at least.

    The module's head says why.
    """
    whole_chunks = part_bytes // chunk_bytes
    return max(0, whole_chunks - window) * chunk_bytes
