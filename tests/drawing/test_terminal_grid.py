"""Grids of cells as text: numbers, letters or half blocks, and what does not fit."""

import re
from collections.abc import Sequence

import numpy as np

from diagplan.drawing.colours import ramp, rgb
from diagplan.drawing.terminal import wave
from diagplan.drawing.terminal_grid import GridPanel, GridPanels, Key
from diagplan.planner.schedule import Diagonal, cell_steps
from tests.support.terminal import COSMOS, LONG, grid, shown


def test_a_smaller_grid_says_so_and_takes_every_nth_cell() -> None:
    text = shown(wave(COSMOS, width=40, frames=[2]), 40)
    assert "each cell shown stands for 2 x 2 cells: the first one" in " ".join(text.split())
    cells = np.array(grid(text, "frame 2: ", 20, 32, 1))
    full = np.array(grid(shown(wave(COSMOS, width=80), 80), "frame 2: ", 40, 64, 1))
    np.testing.assert_array_equal(cells, full[::2, ::2])


def test_half_blocks_have_the_colours_of_the_steps() -> None:
    text = shown(wave(COSMOS, width=80), 80, colour=True)
    blocks = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m\u2580", text)
    found = np.array(blocks, dtype=np.int64).reshape(3, 20, 64, 2, 3).swapaxes(2, 3).reshape(3, 40, 64, 3)
    np.testing.assert_array_equal(found, ramp(cell_steps(Diagonal(k=2, d=10), COSMOS.layout), 162))


def test_frames_that_do_not_fit_are_named() -> None:
    text = shown(wave(LONG, width=60), 60, colour=True)
    hidden = re.search(r"frames (\d+)\.\.199 not shown; --frame N shows one", text)
    assert hidden
    assert len(re.findall(r"frame \d+: steps", text)) == int(hidden[1])
    alone = shown(wave(LONG, width=60, frames=[150]), 60, colour=True)
    assert "frame 150: steps 150-158" in alone
    assert "not shown" not in alone
