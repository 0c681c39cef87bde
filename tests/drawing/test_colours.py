"""Colours: a ramp from dark to bright, codes, mixtures, and text that can be read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.drawing.colours import Colour, blend, hex_code, on, ramp, rgb
from diagplan.drawing.panels import ACCENT, BLANK, MISSING
from diagplan.drawing.step_figure import KNOWN

COLOURS = st.tuples(*[st.integers(0, 255)] * 3)


def luminance(colour: Colour) -> float:
    parts = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@given(st.integers(2, 400))
def test_the_ramp_gets_brighter_with_every_step(steps: int) -> None:
    colours = ramp(np.arange(steps), steps)
    assert colours.shape == (steps, 3)
    assert colours.dtype == np.uint8
    assert np.all(np.diff(colours @ [0.299, 0.587, 0.114]) > -0.6)  # rounding alone
    assert (colours[0].tolist(), colours[-1].tolist()) == ([68, 1, 84], [253, 231, 37])


def test_the_ramp_ends_where_the_steps_end() -> None:
    assert ramp([[-5, 0], [9, 99]], 10).tolist() == ramp([[0, 0], [9, 9]], 10).tolist()
    assert ramp(0, 1).tolist() == ramp(0, 0).tolist() == [68, 1, 84]
    assert ramp(1, 3).tolist() == list(rgb("21918c"))  # the table's own middle


@given(COLOURS)
def test_a_code_is_read_back(colour: Colour) -> None:
    assert rgb(hex_code(colour)[1:]) == colour
    assert hex_code(np.array(colour)) == "#" + "".join(f"{part:02x}" for part in colour)


@given(COLOURS, COLOURS)
def test_a_mixture_lies_between(a: Colour, b: Colour) -> None:
    assert (blend(a, b, 0), blend(a, b, 1)) == (a, b)
    for mixed, *ends in zip(blend(a, b, 0.3), a, b, strict=True):
        assert min(ends) <= mixed <= max(ends)
    assert blend((0, 0, 0), (100, 200, 10), 0.5) == (50, 100, 5)


@pytest.mark.parametrize("ground", [*ramp(np.arange(64), 64).tolist(), ACCENT, KNOWN, BLANK, MISSING])
def test_text_is_readable_on_every_colour_of_a_cell(ground: list[int]) -> None:
    red, green, blue = ground
    light, dark = sorted((luminance((red, green, blue)), luminance(on(ground))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 2.5  # 1 is the same colour, 21 black on white


@pytest.mark.parametrize("code", ["", "ff", "ff80000", "zz8000"])
def test_what_is_no_code(code: str) -> None:
    with pytest.raises(ValueError, match=r"hex|unpack|values"):
        rgb(code)
