"""Positions as data: tables of axes from layouts, slot by slot."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan import Layout, SpecError
from diagplan.planner.coordinates import AXES, Coordinates

GLM = Coordinates(("base", "base+row", "base+col"))


@given(
    grids=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3),
    lead=st.integers(1, 4),
)
def test_a_chain_of_grids_is_counted_slot_by_slot(grids: list[tuple[int, int, int]], lead: int) -> None:
    """As GLM-Image's release counts: text by one, a grid by its longer side."""
    layouts: list[Layout] = []
    expected: list[list[int]] = []
    base = 0
    for rows, cols, text in grids:
        between = lead if not layouts else text
        expected += [[base + i] * 3 for i in range(between)]
        base += between
        layouts.append(Layout(frames=1, rows=rows, cols=cols, lead=len(expected)))
        expected += [[base, base + row, base + col] for row in range(rows) for col in range(cols)]
        base += max(rows, cols)
    table = GLM(*layouts)
    assert table.dtype == np.int64
    np.testing.assert_array_equal(table, expected)


def test_cells_alone_have_rows_and_columns() -> None:
    table = Coordinates(("cell", "col", "row"))(Layout(frames=1, rows=2, cols=2, lead=1))
    np.testing.assert_array_equal(table, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]])


@pytest.mark.parametrize(("axes", "got"), [((), "none"), (("row", "depth"), "'depth'")])
def test_other_axes_are_refused(axes: tuple[str, ...], got: str) -> None:
    message = f"expected axes from {', '.join(AXES)}, got {got}. Name what each axis counts."
    with pytest.raises(SpecError, match=re.escape(message)):
        Coordinates(axes)
