"""The host's end of AFC, with the virtual phone's end as its peer: any split of the bytes gives the same replies."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device import afc
from harness.device.afc import AfcGarbage, Operation, Reply, ReplyDecoder
from harness.virtual.wire import afc as phone_end

numbers = st.integers(0, 2**64 - 1)
replies = st.builds(Reply, numbers, st.sampled_from(Operation), st.binary(max_size=80))
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def wire_of(reply: Reply, cut: int) -> bytes:
    """As the phone sends it; where parameters end and the payload begins is its own business."""
    return phone_end.encode(reply.number, reply.operation, reply.body[:cut], reply.body[cut:])


def decode(pieces: list[bytes]) -> list[Reply]:
    decoder, found = ReplyDecoder(), []
    for piece in pieces:
        decoder.receive_data(piece)
        while (reply := decoder.next_reply()) is not None:
            found.append(reply)
    assert decoder.at_boundary
    return found


@given(st.lists(replies, max_size=5), st.data())
def test_any_split_gives_the_same_replies(sent: list[Reply], data: st.DataObject) -> None:
    wire = b"".join(wire_of(reply, data.draw(st.integers(0, len(reply.body)))) for reply in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert decode(pieces) == sent


@given(numbers, st.sampled_from(Operation), st.binary(max_size=100))
def test_a_request_is_what_the_phone_reads(number: int, operation: Operation, parameters: bytes) -> None:
    if operation is Operation.WRITE:
        return
    decoder = phone_end.AfcDecoder()
    decoder.receive_data(afc.request(number, operation, parameters))
    assert decoder.next_event() == phone_end.Request(number, operation, parameters)
    assert decoder.at_boundary


@given(numbers, numbers, st.binary(min_size=1, max_size=100))
def test_a_write_is_what_the_phone_reads(number: int, handle: int, data: bytes) -> None:
    decoder = phone_end.AfcDecoder()
    decoder.receive_data(afc.write_header(number, handle, len(data)) + data)
    assert decoder.next_event() == phone_end.WriteBegin(number, handle, len(data))
    assert decoder.next_event() == phone_end.WriteChunk(memoryview(data))
    assert decoder.next_event() == phone_end.WriteEnd(number)


@given(st.binary(max_size=300))
def test_garbage_is_refused_with_a_typed_error_or_is_incomplete(garbage: bytes) -> None:
    decoder = ReplyDecoder()
    decoder.receive_data(garbage)
    with contextlib.suppress(AfcGarbage):
        while (reply := decoder.next_reply()) is not None:
            assert reply.status >= 0


@pytest.mark.parametrize(
    ("magic", "whole", "own"),
    [
        (b"CFA6LPAB", 40, 40),
        (b"CFA6LPAA", 39, 39),
        (b"CFA6LPAA", 40, 41),
        (b"CFA6LPAA", 48, 39),
        (b"CFA6LPAA", 1 << 30, 40),
        (b"CFA6LPAA", 1 << 63, 40),
    ],
)
def test_impossible_headers_are_refused_before_their_body_comes(magic: bytes, whole: int, own: int) -> None:
    decoder = ReplyDecoder()
    decoder.receive_data(struct.pack("<8sQQQQ", magic, whole, own, 1, Operation.DATA))
    with pytest.raises(AfcGarbage):
        decoder.next_reply()


def test_what_is_no_afc_is_refused_by_its_first_byte() -> None:
    decoder = ReplyDecoder()
    decoder.receive_data(b"<")
    with pytest.raises(AfcGarbage):
        decoder.next_reply()


@given(st.dictionaries(texts, texts, max_size=5))
def test_facts_come_as_they_were_sent(facts: dict[str, str]) -> None:
    body = b"".join(word.encode() + b"\0" for pair in facts.items() for word in pair)
    assert afc.read_dictionary(body) == facts


@given(st.binary(max_size=100))
def test_garbage_in_a_body_is_refused_with_a_typed_error(body: bytes) -> None:
    for read in (afc.read_names, afc.read_dictionary):
        with contextlib.suppress(AfcGarbage):
            read(body)
    with contextlib.suppress(AfcGarbage):
        afc.read_handle(Reply(1, Operation.OPEN_RESULT, body))


def test_names_that_lead_elsewhere_are_left_out() -> None:
    assert afc.read_names(b".\0..\0a.task\0../b\0/c\0\0") == ["a.task"]


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "9" * 21, "size"])
def test_a_count_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(AfcGarbage):
        afc.read_count({"st_size": text}, "st_size")


def test_an_unknown_status_keeps_its_number() -> None:
    assert "4711" in afc.status_words(4711)
    assert afc.status_words(18) == "no space (AFC status 18)"


def test_a_path_cannot_smuggle_in_another() -> None:
    with pytest.raises(ValueError, match="NUL"):
        afc.path_parameters("/a\0/b")
