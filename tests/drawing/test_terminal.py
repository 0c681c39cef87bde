"""The terminal views, read back as text."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from rich.console import RenderableType

from diagplan.drawing.terminal import wave, width_profile
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, NextToken, cell_steps
from tests.support.damage import damaged_plans
from tests.support.terminal import COSMOS, LONG, SMALL, grid, shown


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_plain_wave_is_the_steps_as_numbers(width: int) -> None:
    text = shown(wave(SMALL, width=width), width)
    expected = cell_steps(Diagonal(k=2, d=3), SMALL.layout)
    for frame in range(3):
        cells = grid(text, f"frame {frame}: ", 4, 5, 3)
        assert [[int(cell) for cell in row] for row in cells] == expected[frame].tolist()


def test_cells_without_room_for_numbers_become_one_character_for_some_steps() -> None:
    text = shown(wave(COSMOS, width=80), 80)
    assert "one character for 3 steps: 0 is steps 0 to 2" in text
    cells = np.array(grid(text, "frame 1: ", 40, 64, 1))
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    found = np.vectorize(alphabet.index)(cells)
    np.testing.assert_array_equal(found, cell_steps(Diagonal(k=2, d=10), COSMOS.layout)[1] // 3)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("width", [12, 40, 79, 160])
@pytest.mark.parametrize("plan", [SMALL, COSMOS, LONG], ids=["small", "cosmos", "long"])
def test_no_line_is_wider_than_asked_for(plan: Plan, width: int, colour: bool) -> None:
    views: Sequence[RenderableType] = (
        wave(plan, width=width),
        wave(plan, width=width, step=7),
        width_profile(plan, width),
    )
    for view in views:
        text = re.sub(r"\x1b\[[\d;]*m", "", shown(view, 300, colour=colour))
        grids = [line for line in text.splitlines() if not re.search(r"[a-z]{3}", line)]
        assert max(len(line.rstrip()) for line in grids) <= width


def test_the_profile_has_a_bar_for_every_step() -> None:
    text = shown(width_profile(SMALL, 80), 80)
    widths = np.bincount(SMALL.feed_steps())
    widths[0] = 1  # the prompt's prefill apart
    assert (
        f"{widths.max()} at most, {widths.mean():.1f} on average; the prompt's {2 * 22 + 1 - 1} not counted"
        in " ".join(text.split())
    )
    bars = [line.split("|")[1] for line in text.splitlines() if "|" in line]
    columns = len(text.splitlines()[-2].split("+")[1])
    times, rest = divmod(columns, len(widths))
    assert rest == 0
    eighths = np.zeros(columns, dtype=np.int64)
    for bar in bars:
        eighths += [" \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588".index(char) for char in bar.ljust(columns)]
    np.testing.assert_array_equal(eighths[::times], np.rint(widths * 48 / widths.max()))
    assert re.search(rf"^ +0 .* {len(widths) - 1} +step$", text.splitlines()[-1])


def test_a_long_profile_is_binned_and_says_so() -> None:
    plan = compile_plan(Layout(frames=1, rows=30, cols=30, lead=1), NextToken())
    assert "each column is the widest of about" in shown(width_profile(plan, 60), 60)


def test_ascii_terminals_get_ascii() -> None:
    for view in (wave(COSMOS, width=80), wave(SMALL, width=80, step=3), width_profile(SMALL, 80)):
        assert "#" in shown(view, 80, encoding="ascii") or "steps" in shown(view, 80, encoding="ascii")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"step": SMALL.steps}, f"expected a step from 0 to {SMALL.steps - 1}, got step={SMALL.steps}"),
        ({"step": -1}, "got step=-1"),
        ({"step": 1, "feed": 99}, "expected a feed from 0 to"),
        ({"frames": [3]}, "expected frames from 0 to 2, got frame=3"),
        ({"frames": []}, "got none"),
    ],
)
def test_what_does_not_exist_is_refused(asked: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        wave(SMALL, width=80, **asked)  # type: ignore[arg-type]


def test_damaged_plans_are_shown_and_called_damaged() -> None:
    for name, plan in damaged_plans(SMALL):
        for colour in (False, True):
            text = shown(wave(plan, width=80), 80, colour=colour) + shown(width_profile(plan, 80), 80, colour=colour)
            assert "frame 0" in text, name
            for step in {0, plan.steps // 2, plan.steps - 1} & set(range(plan.steps)):
                text += shown(wave(plan, width=80, step=step), 80, colour=colour)
            if name in ("nothing emitted", "all padding", "no steps", "offsets out of order", "target out of range"):
                assert "This plan is damaged" in text, name
            assert "\x1b[31m[bold]" not in text
            assert "\x00" not in text
