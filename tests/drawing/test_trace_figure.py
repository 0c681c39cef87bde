"""The picture of a trace: cells by their pass, bars for what each pass fed."""

from dataclasses import replace

import numpy as np
import pytest

from diagplan.drawing.colours import ramp
from diagplan.drawing.panels import ACCENT, BLANK
from diagplan.drawing.scene import Rect, Scene, Text
from diagplan.drawing.trace_figure import BEHIND, FIRST, WRONG, trace_figure
from diagplan.drawing.trace_readout import read_trace_out
from tests.support.invalid_traces import BASE, PLAN, with_pass
from tests.support.pictured import CASES, cells, compiled
from tests.support.speculation import speculate

READOUT = read_trace_out(PLAN, BASE)


def words(scene: Scene) -> list[str]:
    return [item.text for item in scene.items if isinstance(item, Text)]


def bars(scene: Scene) -> list[tuple[str, tuple[int, int, int] | None]]:
    kinds = ("accepted", "wrong", "behind", "first")
    return [(item.kind, item.fill) for item in scene.items if isinstance(item, Rect) and item.kind in kinds]


def test_cells_have_the_colour_and_the_number_of_their_pass() -> None:
    scene = trace_figure(READOUT, [0])
    (grid,) = cells(scene, "cells")
    np.testing.assert_array_equal(grid.colours, ramp(READOUT.passes[0], 3))
    assert [text for text in words(scene) if text in "0122"][:6] == ["0", "0", "1", "2", "2", "2"]
    assert scene.title == "One image of 2 x 3 tokens: 6 steps in 3 passes"
    assert "2.0 tokens a pass" in words(scene)[1]


def test_bars_show_what_each_pass_made_of_its_tokens() -> None:
    colour = [tuple(ramp(number, 3).tolist()) for number in range(3)]
    assert bars(trace_figure(READOUT, [0])) == [
        ("first", FIRST), ("accepted", colour[0]), ("wrong", WRONG),
        ("first", FIRST), ("behind", BEHIND), ("accepted", colour[1]), ("wrong", WRONG),
        ("accepted", colour[2]),
    ]  # fmt: skip
    wrong = bars(trace_figure(read_trace_out(PLAN, with_pass(1, guesses={3: 8, 4: 9})), [0]))
    assert wrong[3:7] == [("first", FIRST), ("accepted", colour[1]), ("wrong", WRONG), ("wrong", WRONG)]


def test_a_pass_of_an_animation() -> None:
    scene = trace_figure(READOUT, [0], until=1)
    (grid,) = cells(scene, "cells")
    early = tuple(ramp(0, 3).tolist())
    assert [tuple(cell) for cell in grid.colours.reshape(-1, 3).tolist()] == [
        early, early, ACCENT, BEHIND, FIRST, BLANK,
    ]  # fmt: skip
    assert "Pass 1: 1 more, 3 of 6" in words(scene)[1]
    assert len(bars(scene)) == 7
    assert scene.height == trace_figure(READOUT, [0], until=3).height


def test_an_invalid_trace_says_so() -> None:
    broken = read_trace_out(PLAN, with_pass(2, guesses={4: 4, 5: 9}))
    assert "This trace is not valid: DT105, 1 time(s)." in words(trace_figure(broken, [0]))


@pytest.mark.parametrize("name", [name for name, (layout, _) in CASES.items() if layout.tokens < 1000])
@pytest.mark.parametrize("width", [1, 40])
def test_every_shape_stays_within_its_edges(name: str, width: int) -> None:
    plan = compiled(name)
    seen = read_trace_out(plan, speculate(plan, width=width, easy=80).trace)
    frames = list(range(min(plan.layout.frames, 8)))
    scene = trace_figure(seen, frames)
    for item in scene.items:
        if isinstance(item, Rect):
            assert item.x >= 0
            assert item.x + item.width <= scene.width + 1, item
            assert item.y + item.height <= scene.height, item
    marks = [item.y for item in scene.items if isinstance(item, Text) and item.text.startswith("given: ")]
    (chart,) = (item.y for item in scene.items if isinstance(item, Text) and item.text.startswith("Which tokens"))
    assert max(marks) + 12 < chart - 10
    if len(frames) < plan.layout.frames:
        assert any("frames not shown" in text for text in words(scene))


def test_a_batch_names_the_sample() -> None:
    both = replace(BASE, samples=(BASE.samples[0], replace(BASE.samples[0], number=1)))
    assert "(sample 1 of 2)" in words(trace_figure(read_trace_out(PLAN, both, 1), [0]))[1]
