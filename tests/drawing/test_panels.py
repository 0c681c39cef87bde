"""Where panels stand, and what all pictures share."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.drawing.colours import ramp
from diagplan.drawing.panels import (
    BLANK,
    CAPTION,
    CONTENT,
    GREY,
    HATCH_LINE,
    RED,
    Entry,
    cell_numbers,
    fitted,
    given_block,
    hatched,
    legend,
    numbers_fit,
    spread,
    wrapped,
)
from diagplan.drawing.scene import Rect, Strokes, Text, text_width
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout


@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_panels_do_not_overlap_and_fill_their_rows(count: int, rows: int, cols: int) -> None:
    panels = spread(count, rows, cols)
    places = [panels.place(index) for index in range(count)]
    boxes = [(x, y - CAPTION, x + panels.box, y + panels.panel_height) for x, y in places]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= panels.width
        assert 0 <= top < bottom <= panels.height
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
    assert panels.panel_width <= panels.box
    assert panels.empty == -count % panels.per_row
    assert panels.width <= CONTENT or panels.pitch == 1


def test_more_panels_have_smaller_cells() -> None:
    pitches = [spread(count, 10, 10).pitch for count in (1, 2, 4, 8, 16, 32, 64)]
    assert pitches == sorted(pitches, reverse=True)
    assert pitches[0] > 5 * pitches[-1]
    assert (spread(1, 10, 10).gap, spread(1, 100, 400).gap) == (1, 0)


@pytest.mark.parametrize(
    ("size", "remedy"), [((1, 3000, 3), "Use the text view."), ((99, 90, 90), "Show fewer frames")]
)
def test_grids_without_a_place(size: tuple[int, int, int], remedy: str) -> None:
    with pytest.raises(SpecError, match=re.escape(remedy)):
        spread(*size)


def test_numbers_stand_on_their_cells_where_they_fit() -> None:
    steps = np.array([[0, 12], [-1, 7]], dtype=np.int32)
    texts = [item for item in cell_numbers(steps, ramp(steps, 13), 20, 100, 50) if isinstance(item, Text)]
    assert [(text.text, text.x // 20, text.y // 20) for text in texts] == [("0", 5, 3), ("12", 6, 3), ("7", 6, 4)]
    assert texts[0].colour == (255, 255, 255)  # on the dark end of the ramp
    assert texts[1].colour != (255, 255, 255)
    for text in texts:
        assert text_width(text.text, text.size) < 20
    assert numbers_fit(13, 20)
    assert not numbers_fit(13, 12)
    assert not numbers_fit(1000, 20)


@given(st.text("abc W", max_size=60), st.floats(30, 300))
def test_a_fitted_text_fits(text: str, width: float) -> None:
    shown, size = fitted(text, 20, width)
    assert text_width(shown, size) <= width
    assert 9 <= size <= 20
    if shown != text:
        assert size == 9
        assert shown.endswith("...")
        assert text.startswith(shown.removesuffix("..."))
    elif size < 20:
        assert text_width(text, size + 1) > width


@given(st.lists(st.text("abcW", min_size=1, max_size=9), min_size=1, max_size=12), st.floats(100, 300))
def test_wrapped_lines_fit_and_lose_no_word(words: list[str], width: float) -> None:
    lines = wrapped(" ".join(words), 12, width)
    assert all(text_width(line, 12) <= width for line in lines)
    assert " ".join(lines).split(" ") == words
    for line, later in pairwise(lines):
        assert text_width(f"{line} {later.split(' ')[0]}", 12) > width


def test_hatching_has_a_ground_lines_and_an_edge() -> None:
    ground, lines, edge = hatched(5, 6, 20, 10)
    assert isinstance(ground, Rect)
    assert isinstance(lines, Strokes)
    assert isinstance(edge, Rect)
    assert (edge.x, edge.y, edge.width, edge.height, edge.stroke, edge.fill) == (5, 6, 20, 10, HATCH_LINE, None)
    assert (ground.x, ground.y, ground.width, ground.height, ground.stroke) == (5, 6, 20, 10, None)


@pytest.mark.parametrize(
    ("layout", "blocks"),
    [
        (Layout(frames=1, rows=2, cols=2, lead=3), 1),
        (Layout(frames=1, rows=2, cols=2, prompt_frames=2), 2),
        (Layout(frames=1, rows=2, cols=2, prompt_frames=9, lead=1), 4),  # three cards stand for all
        (Layout(frames=1, rows=2, cols=2, prompt_frames=1, between_frames=4), 2),
    ],
)
def test_the_prompt_is_a_strip_and_a_stack_of_cards(layout: Layout, blocks: int) -> None:
    items, width = given_block(10, 20, 80, layout, 40)
    edges = [item for item in items if isinstance(item, Rect) and item.stroke]
    assert len(edges) == blocks
    assert max(edge.x + edge.width for edge in edges) <= 10 + width
    assert all(edge.y >= 20 and edge.y + edge.height <= 100 for edge in edges)


def test_a_legend_takes_the_lines_it_needs() -> None:
    entries: list[Entry] = [
        ("fill", BLANK, "to come"), ("hatch", HATCH_LINE, "given"), ("outline", RED, "fed late"),
        ("arrow", RED, "proxy"), ("lines", RED, "a line every 5 steps"), ("note", GREY, "2 frames not shown"),
    ]  # fmt: skip
    wide, low = legend(entries, 10, 20, 900)
    narrow, high = legend(entries, 10, 20, 160)
    words = [item for item in wide if isinstance(item, Text)]
    assert [item.text for item in words] == [text for *_, text in entries]
    assert (len({item.y for item in words}), low) == (1, 39)
    assert high > low + 2 * 19
    for item in narrow:
        if isinstance(item, Text):
            assert item.x + text_width(item.text, item.size) <= 170 + 1e-9
    assert legend([], 10, 20, 900) == ([], 20)
