"""Some cells of the matrix of `tests/benchmarks/reliability`, one of each fault, so that all moments are among them."""

from __future__ import annotations

import pytest

from tests.benchmarks.reliability.cells import FAULTS, MOMENTS, Cell, all_cells
from tests.benchmarks.reliability.rig import run_cell

# the moments in turn, but each fault at one where it makes a difference
SAMPLE = (
    Cell("unplug:seconds=1", "push:40000000"),
    Cell("unplug:seconds=inf", "generate"),
    Cell("tunnel-drop", "launch"),
    Cell("service-refuses", "load"),
    Cell("afc-error", "push:75000000"),
    Cell("file-corrupted", "push:1"),
    Cell("kill-app", "unload"),
    Cell("reboot", "load"),
    Cell("unplug:seconds=1", "install"),
    Cell("unplug:seconds=1", "report"),
)


ALWAYS = 4
"""So many of the sample's cells are tried every time."""


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, marks=[pytest.mark.thorough] * (number >= ALWAYS)) for number, cell in enumerate(SAMPLE)],
    ids=[cell.text for cell in SAMPLE],
)
def test_the_outcome_is_right_and_the_phone_goes_on(cell: Cell) -> None:
    result = run_cell(cell)
    assert not result.wrong, f"{cell.text}: {result.outcome}"


def test_the_matrix_is_whole_and_the_sample_meets_every_moment() -> None:
    assert len(set(all_cells())) == len(FAULTS) * len(MOMENTS)
    assert {cell.moment for cell in SAMPLE} == set(MOMENTS)
    assert set(SAMPLE) <= set(all_cells())
