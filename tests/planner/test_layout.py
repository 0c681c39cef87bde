"""The flat sequence of slots: numbers, runs, and what a layout refuses."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from diagplan.planner.errors import SpecError
from diagplan.planner.layout import MAX_POSITIONS, Layout
from tests.support.strategies import layouts

SMALL = {"frames": 1, "rows": 2, "cols": 3, "lead": 1}


def slots_in_order(layout: Layout) -> list[tuple[int, int, int] | None]:
    """Slot by slot the cell it holds, frames counted from the first prompt frame; ``None`` for the other tokens."""
    sequence: list[tuple[int, int, int] | None] = [None] * layout.lead
    frames = layout.prompt_frames + layout.frames
    for f in range(frames):
        for r in range(layout.rows):
            sequence += [(f, r, c) for c in range(layout.cols)]
            if r + 1 < layout.rows:
                sequence += [None] * layout.between_rows
        if f + 1 < frames:
            sequence += [None] * layout.between_frames
    return sequence


@given(layouts())
def test_slots_are_the_sequence_written_out(layout: Layout) -> None:
    sequence = slots_in_order(layout)
    assert layout.positions == len(sequence)
    assert layout.tokens == layout.frames * layout.rows * layout.cols
    every = layout.cell_slots(prompt=True)
    assert every.shape == (layout.prompt_frames + layout.frames, layout.rows, layout.cols)
    assert every.dtype == np.int32
    for cell, slot in np.ndenumerate(every):
        assert sequence[slot] == cell
    generated = layout.cell_slots()
    assert np.array_equal(generated, every[layout.prompt_frames :])
    assert layout.first_generated == generated[0, 0, 0]
    assert generated[-1, -1, -1] == layout.positions - 1
    if layout.rows > 1:
        assert generated[0, 1, 0] - generated[0, 0, 0] == layout.row_stride
    if layout.frames > 1:
        assert generated[1, 0, 0] - generated[0, 0, 0] == layout.frame_stride


@given(layouts())
def test_given_runs_are_the_rest(layout: Layout) -> None:
    runs = layout.given_runs()
    assert runs.dtype == np.int32
    inside = [slot for start, end in runs.tolist() for slot in range(start, end)]
    assert sorted(inside + layout.cell_slots().ravel().tolist()) == list(range(layout.positions))
    # Sorted, not empty, not adjacent: one way to write them.
    flat = runs.ravel().tolist()
    assert all(a < b for a, b in itertools.pairwise(flat))


def test_given_runs_by_hand() -> None:
    layout = Layout(frames=2, rows=2, cols=2, prompt_frames=1, lead=1, between_frames=3, between_rows=1)
    # lead 0 | prompt 1 2 (3) 4 5 (6 7 8) | 9 10 (11) 12 13 (14 15 16) | 17 18 (19) 20 21
    assert layout.given_runs().tolist() == [[0, 9], [11, 12], [14, 17], [19, 20]]
    assert layout.cell_slots().tolist() == [[[9, 10], [12, 13]], [[17, 18], [20, 21]]]
    assert (layout.row_stride, layout.frame_stride, layout.first_generated, layout.positions) == (3, 8, 9, 22)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "expected frames >= 1, got frames=0. Give a whole number >= 1."),
        ({"rows": -1}, "expected rows >= 1, got rows=-1. Give a whole number >= 1."),
        ({"cols": 0}, "expected cols >= 1, got cols=0. Give a whole number >= 1."),
        ({"lead": -1}, "expected lead >= 0, got lead=-1. Give a whole number >= 0."),
        ({"prompt_frames": -2}, "expected prompt_frames >= 0, got prompt_frames=-2. Give a whole number >= 0."),
        ({"between_frames": -1}, "expected between_frames >= 0, got between_frames=-1. Give a whole number >= 0."),
        ({"between_rows": -1}, "expected between_rows >= 0, got between_rows=-1. Give a whole number >= 0."),
        ({"rows": 2.0}, "expected rows to be an integer, got rows=2.0. Give a whole number >= 1."),
        ({"cols": True}, "expected cols to be an integer, got cols=True. Give a whole number >= 1."),
        ({"frames": "3"}, "expected frames to be an integer, got frames='3'. Give a whole number >= 1."),
        ({"lead": None}, "expected lead to be an integer, got lead=None. Give a whole number >= 0."),
        (
            {"lead": 0},
            (
                "expected a given token before the first cell, got lead=0 and prompt_frames=0. The first token has "
                "nothing to be predicted from. Give prompt_frames >= 1 or lead >= 1."
            ),
        ),
        (
            {"frames": 1 << 12, "rows": 1 << 6, "cols": 1 << 6},
            f"expected at most {1 << 24} slots, got positions={(1 << 24) + 1}. Generate fewer frames in one plan.",
        ),
        # With one frame or row these do not lengthen the sequence, but slot arithmetic multiplies them.
        (
            {"between_frames": 1 << 26},
            "expected between_frames <= 16777216, got between_frames=67108864. Give fewer tokens.",
        ),
        ({"between_rows": 1 << 25}, "expected between_rows <= 16777216, got between_rows=33554432. Give fewer tokens."),
    ],
)
def test_layout_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Layout(**(SMALL | changes))


def test_longest_sequence_is_accepted() -> None:
    layout = Layout(frames=1, rows=1, cols=MAX_POSITIONS - 1, lead=1)
    assert layout.positions == MAX_POSITIONS


def test_longest_gaps_are_accepted() -> None:
    layout = Layout(frames=1, rows=1, cols=2, lead=1, between_frames=MAX_POSITIONS, between_rows=MAX_POSITIONS)
    assert layout.cell_slots().tolist() == [[[1, 2]]]
