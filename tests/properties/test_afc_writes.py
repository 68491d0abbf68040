"""Files written to a phone in memory that goes wrong in any way: what is said to be there is there, at every moment."""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device.afc import AfcError, AfcRefused, OpenMode, Operation
from harness.device.afc_connection import AfcConnection
from harness.device.afc_pipeline import safe_offset
from harness.device.afc_writer import FileWriter, SourceChanged, WriteOptions
from harness.virtual.wire.afc import AfcDecoder, Request, Status, WriteBegin, WriteChunk, encode, encode_status

HANDLE = 7
NO_SPACE = 18
# far beyond what anything here takes: reached only by a writer that waits for what never comes
LIMIT_S = 20.0
STALL_LIMIT_S = 0.05


@dataclass
class Whim:
    """What the phone does with one write."""

    lands: int | None = None
    """So many of its bytes; None: all."""
    status: int = 0
    stray_before: bool = False
    """An answer to a number that was not asked comes first."""
    late: bool = False
    """It is done, and answered, after the next write."""
    as_data: bool = False
    silent: bool = False
    hang_up_after: int | None = None
    """So many of its bytes have come."""


@dataclass
class MemoryPhone:
    """The other end of a `Channel`: one open file, positions as AFC has them. `whims` are of the first writes."""

    source: bytes
    whims: list[Whim]
    options: WriteOptions
    delay: int = 0
    content: bytearray = field(default_factory=bytearray)
    position: int = 0
    writes: int = 0
    cuts: list[int] = field(default_factory=list)
    _decoder: AfcDecoder = field(default_factory=AfcDecoder)
    _outbox: deque[bytes] = field(default_factory=deque)
    _held: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Content and answer of what is late."""
    _late: bytes = b""
    _whim: Whim = field(default_factory=Whim)
    _brought: int = 0
    _closed: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes) -> None:
        if self._closed:
            raise ConnectionResetError("hung up")
        self._decoder.receive_data(data)
        while not self._closed and (event := self._decoder.next_event()) is not None:
            if isinstance(event, WriteBegin):
                assert event.handle == HANDLE
                self._whim = self.whims[self.writes] if self.writes < len(self.whims) else Whim()
                self.writes += 1
                self._brought = 0
            elif isinstance(event, WriteChunk):
                self._take(bytes(event.data))
            elif isinstance(event, Request):
                self._answer(event)
            else:
                self._end_write(event.number)
            self.check_killed_now()
        await asyncio.sleep(0)

    async def receive(self) -> bytes:
        for _ in range(self.delay):
            await asyncio.sleep(0)
        while not self._outbox:
            if self._closed:
                return b""
            self._news.clear()
            await self._news.wait()
        return self._outbox.popleft()

    async def close(self) -> None:
        self._closed = True

    def _take(self, data: bytes) -> None:
        limit = len(data) if self._whim.lands is None else max(0, self._whim.lands - self._brought)
        if self._whim.hang_up_after is not None:
            limit = min(limit, max(0, self._whim.hang_up_after - self._brought))
        if self._whim.late:
            self._late += data[:limit]
        else:
            self._land(data[:limit])
        self._brought += len(data)
        if self._whim.hang_up_after is not None and self._brought >= self._whim.hang_up_after:
            self._hang_up()

    def _land(self, data: bytes) -> None:
        self.content[self.position : self.position + len(data)] = data
        self.position += len(data)

    def _end_write(self, number: int) -> None:
        whim = self._whim
        answer = encode_status(number, Status.SUCCESS)
        if whim.status:
            answer = encode_status(number, Status(whim.status))
        elif whim.as_data:
            answer = encode(number, Operation.DATA, b"", b"12345678")
        if whim.stray_before:
            self._post(encode_status(number + 1_000_000, Status.SUCCESS))
        if whim.silent:
            return
        if whim.late:
            self._held.append((self._late, answer))
            self._late = b""
            return
        self._post(answer)
        for late, late_answer in self._held:
            self._land(late)
            self._post(late_answer)
        self._held.clear()

    def _answer(self, request: Request) -> None:
        value = int.from_bytes(request.body[-8:], "little")
        if request.operation == Operation.SET_SIZE:
            del self.content[value:]
            self.cuts.append(value)
        elif request.operation == Operation.SEEK:
            self.position = value
        self._post(encode_status(request.number, Status.SUCCESS))

    def _post(self, packet: bytes) -> None:
        self._outbox.append(packet)
        self._news.set()

    def _hang_up(self) -> None:
        self._closed = True
        self._news.set()

    def check_killed_now(self) -> None:
        """A host that is killed at this moment leaves a file that can be continued."""
        safe = safe_offset(len(self.content), chunk_bytes=self.options.chunk_bytes, window=self.options.window)
        assert self.content[:safe] == self.source[:safe]


@dataclass
class Outcome:
    acknowledged: list[int] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    error: Exception | None = None


def write(phone: MemoryPhone, begin: int = 0, *, on_disk: bytes | None = None) -> Outcome:
    outcome = Outcome()

    async def whole() -> None:
        connection = AfcConnection(phone)
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(phone.source if on_disk is None else on_disk)
            writer = FileWriter(
                connection,
                HANDLE,
                file.fileno(),
                progress=outcome.acknowledged.append,
                odd=outcome.oddities.append,
                options=phone.options,
            )
            try:
                async with asyncio.timeout(LIMIT_S):
                    await writer.write(begin, len(phone.source))
            except (AfcError, ConnectionError, SourceChanged, TimeoutError) as error:
                outcome.error = error
            if isinstance(outcome.error, AfcRefused):
                await connection.close_handle(HANDLE)

    asyncio.run(whole())
    return outcome


def honest(whim: Whim) -> Whim:
    """A write that is answered with success has landed: no client could notice otherwise."""
    return whim if whim.status else replace(whim, lands=None)


whims = st.builds(
    Whim,
    lands=st.none() | st.integers(0, 8),
    status=st.sampled_from([0, 0, 0, 1, NO_SPACE]),
    stray_before=st.sampled_from([False, False, False, True]),
    late=st.sampled_from([False, False, False, True]),
    as_data=st.sampled_from([False, False, False, True]),
    silent=st.sampled_from([False] * 7 + [True]),
    hang_up_after=st.none() | st.none() | st.integers(1, 8),
).map(honest)


@given(
    source=st.binary(max_size=80),
    plan=st.lists(whims, max_size=12),
    chunk=st.integers(1, 8),
    window=st.integers(1, 5),
    delay=st.integers(0, 4),
)
def test_what_is_acknowledged_is_there_whatever_happens(
    source: bytes, plan: list[Whim], chunk: int, window: int, delay: int
) -> None:
    options = WriteOptions(chunk_bytes=chunk, window=window, stall_limit_s=STALL_LIMIT_S)
    phone = MemoryPhone(source, plan, options, delay)
    outcome = write(phone)
    acknowledged = outcome.acknowledged[-1] if outcome.acknowledged else 0
    assert outcome.acknowledged == sorted(set(outcome.acknowledged)), "it only grows"
    assert phone.content[:acknowledged] == source[:acknowledged]
    assert len(outcome.oddities) <= 1
    phone.check_killed_now()
    if outcome.error is None:
        assert bytes(phone.content) == source
        assert acknowledged == len(source)


@given(source=st.binary(max_size=80), chunk=st.integers(1, 8), window=st.integers(1, 5), data=st.data())
def test_a_cut_push_continued_is_the_file(source: bytes, chunk: int, window: int, data: st.DataObject) -> None:
    """Cut anywhere, any number of times: by this process from the prefix, by another from the size."""
    options = WriteOptions(chunk_bytes=chunk, window=window, stall_limit_s=STALL_LIMIT_S)
    content, begin = bytearray(), 0
    for _ in range(data.draw(st.integers(0, 4))):
        phone = MemoryPhone(source, data.draw(st.lists(whims, max_size=6)), options, content=content, position=begin)
        del phone.content[begin:]
        outcome = write(phone, begin)
        content = phone.content
        known = outcome.acknowledged[-1] if outcome.acknowledged else begin
        begin = data.draw(st.sampled_from([known, safe_offset(len(content), chunk_bytes=chunk, window=window)]))
    del content[begin:]
    phone = MemoryPhone(source, [], replace(options, stall_limit_s=LIMIT_S), content=content, position=begin)
    assert write(phone, begin).error is None
    assert bytes(phone.content) == source


def ten_chunks(*plan: Whim) -> MemoryPhone:
    return MemoryPhone(bytes(range(100)), list(plan), WriteOptions(chunk_bytes=10, window=4, stall_limit_s=LIMIT_S))


def test_all_goes_well() -> None:
    phone = ten_chunks()
    outcome = write(phone)
    assert (outcome.error, outcome.oddities) == (None, [])
    assert outcome.acknowledged == list(range(10, 101, 10))
    assert bytes(phone.content) == phone.source


def test_an_error_among_others_is_odd_and_tried_again_alone() -> None:
    phone = ten_chunks(Whim(), Whim(), Whim(lands=4, status=1))
    phone.delay = 4
    outcome = write(phone)
    assert outcome.error is None
    assert len(outcome.oddities) == 1
    assert "status 1" in outcome.oddities[0]
    assert phone.cuts == [20]
    assert bytes(phone.content) == phone.source, "what landed behind it, too early, is gone"


def test_an_error_that_a_lone_write_gets_is_the_phones_word() -> None:
    phone = ten_chunks(*[Whim(lands=0, status=NO_SPACE)] * 20)
    phone.delay = 4
    outcome = write(phone)
    assert isinstance(outcome.error, AfcRefused)
    assert outcome.error.status == NO_SPACE
    assert (outcome.acknowledged, len(outcome.oddities)) == ([], 1)


def test_a_single_write_that_is_refused_is_not_tried_again() -> None:
    phone = MemoryPhone(b"small", [Whim(lands=0, status=NO_SPACE)], WriteOptions())
    outcome = write(phone)
    assert isinstance(outcome.error, AfcRefused)
    assert (phone.writes, outcome.oddities) == (1, [])


def test_an_answer_to_what_was_not_asked_is_odd() -> None:
    outcome = write(ten_chunks(Whim(), Whim(stray_before=True)))
    assert outcome.error is None
    assert "not asked" in outcome.oddities[0]


def test_answers_out_of_order_are_odd_and_believed_no_further() -> None:
    phone = ten_chunks(Whim(), Whim(late=True))
    phone.delay = 4
    outcome = write(phone)
    assert outcome.error is None
    assert "order" in outcome.oddities[0]
    assert outcome.acknowledged[:2] == [10, 20]
    assert bytes(phone.content) == phone.source


def test_silence_is_given_up_on_with_what_is_known() -> None:
    phone = ten_chunks(Whim(), *[Whim(silent=True)] * 10)
    phone.options = replace(phone.options, stall_limit_s=STALL_LIMIT_S)
    outcome = write(phone)
    assert isinstance(outcome.error, TimeoutError)
    assert outcome.acknowledged == [10]


def test_a_source_that_shrinks_is_noticed() -> None:
    outcome = write(ten_chunks(), on_disk=bytes(35))
    assert isinstance(outcome.error, SourceChanged)


def test_a_conversation_that_broke_off_is_not_used_again() -> None:
    phone = ten_chunks()

    async def ask_twice() -> None:
        connection = AfcConnection(phone)
        await phone.close()
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await connection.open(OpenMode.READ, "/a")
        assert not connection.usable

    asyncio.run(ask_twice())
