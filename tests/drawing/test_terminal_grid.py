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


def panel(rows: int, cols: int, *, title: str = "frame 0", rank: Sequence[tuple[int, int]] = ()) -> GridPanel:
    labels = np.arange(rows * cols).reshape(rows, cols)
    ranks = np.zeros((rows, cols), dtype=np.int64)
    for place in rank:
        ranks[place] = 1
    glyphs = np.where(ranks > 0, "#", ".")
    colours = np.where(ranks[..., None] > 0, rgb("ff0000"), rgb("000000")).astype(np.uint8)
    return GridPanel(name="0", title=title, labels=labels.astype(np.str_), glyphs=glyphs, colours=colours, rank=ranks)


def test_numbers_where_they_fit_and_letters_where_not() -> None:
    view = GridPanels([panel(2, 12)], 60, glyph_words="a letter for a cell")
    assert shown(view, 60).splitlines()[1].split() == [str(number) for number in range(12)]
    lines = shown(GridPanels([panel(2, 12)], 20, glyph_words="a letter for a cell"), 20).splitlines()
    assert [line.rstrip() for line in lines] == ["frame 0", "." * 12, "." * 12, "a letter for a cell"]


def test_the_most_telling_cell_stands_for_its_block() -> None:
    marked = [(0, 5), (3, 11), (4, 0)]
    text = shown(GridPanels([panel(5, 12, title="now", rank=marked)], 6), 60)
    assert grid(text, "now", 3, 6, 1) == [list("..#..."), list(".....#"), list("#.....")]
    assert "each cell shown stands for 2 x 2 cells: the most telling one of them" in " ".join(text.split())


def test_two_rows_of_cells_share_a_line_where_there_are_colours() -> None:
    text = shown(GridPanels([panel(3, 40, rank=[(1, 0), (2, 1)])], 40), 40, colour=True)
    lines = [line for line in text.splitlines() if "\u2580" in line]
    assert len(lines) == 2
    assert lines[0].startswith("\x1b[38;2;0;0;0;48;2;255;0;0m\u2580")  # black above red
    assert "38;2;255;0;0m\u2580" in lines[1]  # the last row has no lower neighbour


def test_panels_stand_side_by_side_as_far_as_they_fit() -> None:
    panels = [panel(2, 3, title=f"frame {number}") for number in range(5)]
    for width, each in ((7, 1), (16, 2), (99, 5)):
        lines = shown(GridPanels(panels, width), 99).splitlines()
        assert lines[0].count("frame") == each
        assert sum(line.count("frame") for line in lines) == 5


def test_a_long_title_is_cut() -> None:
    assert shown(GridPanels([panel(1, 2, title="frame 0: never generated")], 12), 12).splitlines()[0] == "frame 0: ..."


def test_keys_are_explained_below_in_lines_that_fit() -> None:
    keys = [Key(glyph=glyph, colour=rgb("808080"), text=f"meaning {glyph}") for glyph in "abc"]
    lines = shown(GridPanels([panel(1, 2)], 30, keys=keys), 30).splitlines()
    assert [line.rstrip() for line in lines[-2:]] == [" a  meaning a  b  meaning b", " c  meaning c"]
