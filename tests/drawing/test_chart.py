"""The width profile: round numbers, bins, bars and a step axis."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.drawing.chart import binned, nice, profile_chart
from diagplan.drawing.panels import BLANK
from diagplan.drawing.pictures import plan_scene
from diagplan.drawing.readout import read_out
from diagplan.drawing.scene import Rect, Strokes, Text
from tests.support.pictured import SMALL, compiled


def test_the_bars_are_the_widths_of_the_steps() -> None:
    widths = read_out(SMALL).widths
    bars = [item.height for item in plan_scene(SMALL).items if isinstance(item, Rect) and item.kind == "bar"]
    np.testing.assert_allclose(np.array(bars) / max(bars), widths / widths.max())
    expected = np.bincount(SMALL.feed_steps())
    expected[0] -= SMALL.layout.first_generated - 1
    np.testing.assert_array_equal(widths, expected)


@given(st.floats(1e-3, 1e9))
def test_a_nice_number_is_the_next_of_one_two_five(size: float) -> None:
    number = nice(size)
    assert number >= size
    assert str(number).rstrip("0") in ("1", "2", "5")
    below = {"1": number // 2, "2": number // 2, "5": number * 2 // 5}[str(number)[0]]
    assert below < size or number == 1


@given(st.lists(st.integers(0, 99), min_size=1, max_size=80), st.integers(1, 90))
def test_bins_are_even_and_hold_the_widest(widths: list[int], most: int) -> None:
    edges, tallest = binned(np.array(widths, dtype=np.int64), most)
    assert (edges[0], edges[-1], len(tallest)) == (0, len(widths), min(len(widths), most))
    sizes = np.diff(edges)
    assert 1 <= sizes.min() <= sizes.max() <= sizes.min() + 1
    assert tallest.tolist() == [max(widths[a:b]) for a, b in pairwise(edges)]


def test_no_steps_have_no_bins() -> None:
    edges, tallest = binned(np.zeros(0, dtype=np.int64), 5)
    assert (edges.tolist(), tallest.tolist()) == ([0], [])


@pytest.mark.parametrize("name", ["tiny", "cosmos", "next-token", "one-cell"])
def test_the_chart_stays_in_its_box(name: str) -> None:
    readout = read_out(compiled(name))
    items = profile_chart(readout, 10, 20, 300, 120)
    bars = [item for item in items if isinstance(item, Rect) and item.kind == "bar"]
    assert 250 < len(bars) < 300 if len(readout.widths) > 300 else len(bars) == len(readout.widths)
    for bar in bars:
        assert 10 <= bar.x <= bar.x + bar.width <= 310
        assert 20 <= bar.y <= bar.y + bar.height <= 140
    labels = [item.text for item in items if isinstance(item, Text) and item.anchor == "middle"]
    assert labels[-1] == str(len(readout.widths) - 1)
    numbers = [int(label) for label in labels]
    assert numbers == sorted(set(numbers))


def test_later_steps_are_grey_and_one_is_pointed_at() -> None:
    readout = read_out(SMALL)
    plain, marked = (profile_chart(readout, 0, 0, 300, 120, until=3, mark=mark) for mark in (None, 5))
    bars = [item.fill for item in plain if isinstance(item, Rect) and item.kind == "bar"]
    assert [fill == BLANK for fill in bars] == [step > 3 for step in range(len(bars))]
    (line,) = [item for item in marked[len(plain) :] if isinstance(item, Strokes)]
    bar = [item for item in marked if isinstance(item, Rect) and item.kind == "bar"][5]
    assert bar.x <= line.lines[0, 0] <= bar.x + bar.width + 3
