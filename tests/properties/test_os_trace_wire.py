"""Records of os_trace_relay, read by a foreign decoder."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from pymobiledevice3.services.os_trace import parse_syslog_entry

from harness.virtual.wire.os_trace import STRING_LIMIT_BYTES, TraceRecord, encode_record

UINT32 = st.integers(0, 2**32 - 1)
# names of processes and images: pymobiledevice3 stops a path at its NUL
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)


def split(frame: bytes) -> bytes:
    marker, length = struct.unpack_from("<BI", frame)
    assert marker == 2
    assert length == len(frame) - 5
    return frame[5:]


@given(
    pid=UINT32,
    seconds=UINT32,
    microseconds=st.integers(0, 999_999),
    level=st.sampled_from([0, 1, 2, 0x10, 0x11]),
    texts=st.tuples(TEXT, TEXT, TEXT),
    label=st.tuples(TEXT, TEXT),
    ticks=st.integers(0, 2**64 - 1),
)
def test_a_foreign_decoder_reads_what_was_written(
    pid: int,
    seconds: int,
    microseconds: int,
    level: int,
    texts: tuple[str, str, str],
    label: tuple[str, str],
    ticks: int,
) -> None:
    record = TraceRecord(pid, seconds, microseconds, level, *texts, ticks, 7, *label)
    entry = parse_syslog_entry(split(encode_record(record)))
    assert (entry.pid, entry.procid, entry.thread_id, entry.mach_timestamp) == (pid, pid, 7, ticks)
    assert entry.level == level
    assert (entry.filename, entry.image_name, entry.message) == texts
    assert round(entry.timestamp.timestamp() * 1_000_000) == seconds * 1_000_000 + microseconds
    if all(label):
        assert entry.label is not None
        assert (entry.label.subsystem, entry.label.category) == label
    else:
        assert entry.label is None


def test_what_is_too_long_is_cut_at_a_character() -> None:
    record = TraceRecord(1, 0, 0, 0, "/sbin/launchd", "/sbin/launchd", "é" * STRING_LIMIT_BYTES + "\0")
    entry = parse_syslog_entry(split(encode_record(record)))
    assert entry.message == "é" * (STRING_LIMIT_BYTES // 2)
