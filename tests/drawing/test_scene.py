"""Shapes: estimates of text, hatching inside its rectangle, arrows that arrive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from diagplan.drawing.colours import rgb
from diagplan.drawing.scene import Polygon, Polyline, arrow, hatch, text_width

GREY = rgb("808080")
Point = tuple[float, float]
WHERE = st.tuples(st.floats(-50, 50), st.floats(-50, 50))


@pytest.mark.parametrize(
    "text",
    ["Step 12: 3 tokens in one forward pass", "0123456789", "Diagonal decoding, k=2 d=10", "given: 2 prompt frames"],
)
def test_the_estimate_of_a_text_is_not_below_its_width(text: str) -> None:
    for size in (9.0, 12.5, 26.0):
        true = ImageFont.load_default(size * 4).getlength(text) / 4
        assert true <= text_width(text, size) < 1.6 * true


def test_a_text_is_as_wide_as_its_parts() -> None:
    assert text_width("", 10) == 0
    assert text_width("abW", 20) == pytest.approx(2 * (text_width("a", 10) + text_width("b", 10) + text_width("W", 10)))
    assert (
        text_width("i", 10) < text_width("e", 10) < text_width("E", 10) < text_width("m", 10) < text_width("\u4e2d", 10)
    )


@given(st.floats(0, 9), st.floats(0, 9), st.floats(1, 200), st.floats(1, 200))
def test_hatching_stays_in_its_rectangle(x: float, y: float, width: float, height: float) -> None:
    lines = hatch(x, y, width, height, GREY).lines
    xs, ys = lines[:, [0, 2]], lines[:, [1, 3]]
    assert np.all((xs > x - 1e-9) & (xs < x + width + 1e-9))
    assert np.all((ys > y - 1e-9) & (ys < y + height + 1e-9))
    np.testing.assert_allclose(xs[:, 1] - xs[:, 0], ys[:, 0] - ys[:, 1], atol=1e-9)  # all slanted by 45 degrees
    assert len(lines) == len(np.arange(3, width + height, 6))


@given(WHERE, WHERE, st.floats(-0.5, 0.5))
def test_an_arrow_begins_and_ends_where_it_should(
    start: tuple[float, float], end: tuple[float, float], bend: float
) -> None:
    line, head = arrow(start, end, GREY, bend=bend)
    assert isinstance(line, Polyline)
    assert isinstance(head, Polygon)
    assert line.points[0] == pytest.approx(start)
    assert head.points[0] == end
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    if length > 1e-3:
        size = min(7.0, 0.5 * length)
        assert np.hypot(*np.subtract(line.points[-1], end)) == pytest.approx(size, rel=1e-6)  # the head's base
        assert np.hypot(*np.subtract(head.points[1], head.points[2])) == pytest.approx(0.8 * size, rel=1e-6)
