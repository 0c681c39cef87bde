"""The width profile: round numbers, bins, bars and a step axis."""

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
