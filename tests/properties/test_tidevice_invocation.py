"""Reading a DTX invocation past what tidevice stumbles over: whatever comes, it reads or says that it cannot."""

from __future__ import annotations

import struct
import warnings

from hypothesis import given
from hypothesis import strategies as st

with warnings.catch_warnings():
    # tidevice, unchanged since 2023, is imported with old names of datetime
    warnings.simplefilter("ignore", DeprecationWarning)
    from tidevice import bplist  # type: ignore[import-untyped]  # tidevice ships no types

    from harness.device.tidevice_.instruments import read_invocation

arguments = st.lists(st.none() | st.integers(0, 2**31) | st.text(max_size=20), max_size=6)


def invocation(method: str, values: list[object]) -> bytes:
    """As a phone sends it: null is an object of no bytes."""
    entries = b""
    for value in values:
        archived = b"" if value is None else bytes(bplist.objc_encode(value))
        entries += struct.pack("<III", 10, 2, len(archived)) + archived
    selector = bytes(bplist.objc_encode(method))
    auxiliary = struct.pack("<QQ", 0x1F0, len(entries)) + entries if values else b""
    return struct.pack("<IIQ", 2, len(auxiliary), len(auxiliary) + len(selector)) + auxiliary + selector


@given(st.text(min_size=1, max_size=40), arguments)
def test_what_was_written_is_read(method: str, values: list[object]) -> None:
    assert read_invocation(invocation(method, values)) == (method, values)


@given(st.binary(max_size=300))
def test_anything_else_is_no_method(data: bytes) -> None:
    method, values = read_invocation(data)
    assert method is None or isinstance(values, list)


@given(arguments, st.data())
def test_a_torn_one_never_raises(values: list[object], data: st.DataObject) -> None:
    whole = invocation("a:b:", values)
    cut = data.draw(st.integers(0, len(whole)))
    flip = data.draw(st.integers(0, len(whole) - 1))
    read_invocation(whole[:cut])
    read_invocation(whole[:flip] + bytes([whole[flip] ^ 0xFF]) + whole[flip + 1 :])
