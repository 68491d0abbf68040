"""The app's framing and decoder under any bytes in any pieces."""

from __future__ import annotations

import contextlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.runner.app.job import Refusal, decode_command
from harness.runner.app.lines import LineSplitter

BOUND = 16


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def expected(data: bytes) -> list[bytes | None]:
    """What the bound means, said in another way."""
    *whole, rest = data.split(b"\n")
    lines = [line if len(line) < BOUND else None for line in whole]
    return lines + ([None] if len(rest) >= BOUND else [])


sizes = st.sampled_from([0, 1, BOUND - 2, BOUND - 1, BOUND, BOUND + 1, 40])
lines = sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size))


@given(st.lists(lines, max_size=6).map(b"\n".join), st.lists(st.integers(min_value=0), max_size=10))
def test_any_split_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    splitter = LineSplitter(BOUND)
    found = [line for piece in split_at(data, cuts) for line in splitter.feed(piece)]
    assert found == expected(data)


@given(st.binary(max_size=200))
def test_any_line_is_a_command_or_a_refusal(line: bytes) -> None:
    with contextlib.suppress(Refusal):
        decode_command(line)
