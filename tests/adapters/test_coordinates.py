"""Tables of coordinates by hand, and their names."""

import numpy as np
import pytest

from diagplan import DocumentError, Layout
from diagplan.adapters.coordinates import COORDINATES, coordinates_name, coordinates_named, row_column


def test_cells_have_their_row_and_column() -> None:
    layout = Layout(frames=1, rows=2, cols=3, lead=2, between_rows=1)
    cells = [[0, 0, 1], [0, 1, 1], [0, 2, 1]], [[1, 0, 1], [1, 1, 1], [1, 2, 1]]
    nowhere = [0, 0, 0]
    np.testing.assert_array_equal(row_column(layout), [nowhere, nowhere, *cells[0], nowhere, *cells[1]])


def test_frames_lie_one_below_the_other() -> None:
    table = row_column(Layout(frames=1, rows=2, cols=1, prompt_frames=1, lead=1, between_frames=1))
    np.testing.assert_array_equal(table, [[0, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0], [2, 0, 1], [3, 0, 1]])


def test_grids_of_a_chain_keep_their_own() -> None:
    first = Layout(frames=1, rows=2, cols=2, lead=1)
    second = Layout(frames=1, rows=1, cols=2, lead=5)
    table = row_column(first, second)
    np.testing.assert_array_equal(table[:5], row_column(first))
    np.testing.assert_array_equal(table[5:], [[0, 0, 1], [0, 1, 1]])


def test_names() -> None:
    for name, (function, axes) in COORDINATES.items():
        assert coordinates_name(function) == name
        assert function(Layout(frames=1, rows=2, cols=2, lead=1)).shape == (5, axes)
    assert coordinates_name(lambda *_: None) is None
    assert coordinates_name(None) is None
    assert coordinates_named("row-column", "a file") == (row_column, 3)
    assert coordinates_named(None, "a file") == (None, 0)
    with pytest.raises(DocumentError, match="expected coordinates out of row-column, got 'other' in a file"):
        coordinates_named("other", "a file")
