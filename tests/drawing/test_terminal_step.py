"""One step in the terminal: marks, proxies, the table of feeds, one mask row."""

import re

import numpy as np
import pytest

from diagplan.drawing.readout import read_out, step_feeds
from diagplan.drawing.terminal import wave
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.policy import BUNDLES
from diagplan.planner.schedule import Diagonal, cell_steps
from tests.support.terminal import COSMOS, SMALL, grid, shown


@pytest.mark.parametrize("step", [0, 1, 5, 9, SMALL.steps - 1])
def test_a_step_marks_exactly_the_tokens_it_emits(step: int) -> None:
    text = shown(wave(SMALL, width=100, step=step))
    steps = cell_steps(Diagonal(k=2, d=3), SMALL.layout)
    for frame in range(3):
        cells = np.array(grid(text, f"frame {frame}", 4, 5, 2))
        np.testing.assert_array_equal(cells == "#", steps[frame] == step)
        assert set(cells[steps[frame] < step].tolist()) <= {"+", "P", "L"}
        assert set(cells[steps[frame] > step].tolist()) <= {".", "o"}


def test_a_step_names_its_proxies_and_lists_its_feeds() -> None:
    step = int(np.searchsorted(SMALL.step_offsets, np.flatnonzero(SMALL.source != SMALL.position)[0], "right")) - 1
    feeds = step_feeds(read_out(SMALL), step)
    text = shown(wave(SMALL, width=120, step=step), 120)
    assert feeds.which("proxy").size == 1
    assert "proxy: prompt frame 1 row 0 col 4 stands in for frame 0 row 0 col 4" in text
    rows = re.findall(r"^ +(\d+)  (predictor|proxy|given|late|padding) .*?   +(\d+)  ", text, re.MULTILINE)
    assert [kind for _, kind, _ in rows] == list(feeds.kinds)
    assert [int(slot) for *_, slot in rows] == feeds.slot.tolist()


def test_a_long_table_is_cut_and_counted() -> None:
    text = shown(wave(COSMOS, width=120, step=74), 120)
    feeds = int(np.diff(COSMOS.step_offsets)[74])
    rows = re.findall(r"^ +(\d+)  (?:predictor|proxy|given|late)", text, re.MULTILINE)
    assert f"and {feeds - len(rows)} more feeds" in text
    assert int(rows[-1]) == feeds - 1  # the query that is drawn


def test_the_mask_row_is_that_of_the_feed() -> None:
    layout = Layout(frames=1, rows=3, cols=3, lead=1)
    visible = compile_plan(layout, Diagonal(k=1), BUNDLES["default"])
    text = shown(wave(visible, width=80, step=2))
    mask = text[text.index("predicts") :]
    assert grid(mask, "frame 0", 3, 3, 2) == [["#", "#", "x"], ["#", ".", "Q"], ["T", ".", "."]]
    assert "It sees 1 of 1 given tokens outside the grids." in mask
    other = shown(wave(visible, width=80, step=2, feed=0))
    assert grid(other[other.index("predicts") :], "frame 0", 3, 3, 2)[0] == ["#", "Q", "T"]
