"""The checker's slot arithmetic against the layout's table of slots, which it may not use itself."""

import numpy as np
from hypothesis import given

from diagplan.planner.checker.slots import Slots
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import NextToken
from tests.support.strategies import layouts


@given(layouts(frames=3, side=4))
def test_cells_and_slots_give_each_other(layout: Layout) -> None:
    slots = Slots(compile_plan(layout, NextToken()))
    table = layout.cell_slots(prompt=True).astype(np.int64)
    cells = np.indices(table.shape)
    frame, row, col = cells[0], cells[1], cells[2]
    assert np.array_equal(slots.at(frame, row, col), table)
    assert np.array_equal(slots.frame(table), frame)
    assert np.array_equal(slots.row(table), row)
    assert np.array_equal(slots.col(table), col)
    assert (slots.h, slots.w, slots.total, slots.lead) == (layout.rows, layout.cols, layout.positions, layout.lead)


def test_frames_count_from_the_first_prompt_frame() -> None:
    layout = Layout(frames=1, rows=2, cols=2, prompt_frames=1, lead=3, between_frames=5, between_rows=1)
    slots = Slots(compile_plan(layout, NextToken()))
    frame, row, col = np.array([[0, 1], [0, 1], [0, 0]], dtype=np.int64)
    assert slots.at(frame, row, col).tolist() == [3, 3 + 5 + 5 + 3]
    assert (slots.line, slots.picture) == (3, 10)
