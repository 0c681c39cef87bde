"""The terminal views, read back as text."""

import io
import re
from collections.abc import Sequence

import numpy as np
import pytest
from rich.console import Console, RenderableType

from diagplan.drawing.colours import ramp
from diagplan.drawing.readout import read_out, step_feeds
from diagplan.drawing.terminal import wave, width_profile
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import BUNDLES
from diagplan.planner.schedule import Diagonal, NextToken, cell_steps
from tests.support.damage import damaged_plans

SMALL = compile_plan(Layout(frames=3, rows=4, cols=5, prompt_frames=2, lead=1, between_frames=2), Diagonal(k=2, d=3))
COSMOS = compile_plan(Layout(frames=3, rows=40, cols=64, prompt_frames=2), Diagonal(k=2, d=10))
LONG = compile_plan(Layout(frames=200, rows=4, cols=6, lead=1), Diagonal(k=1, d=1))


def shown(view: RenderableType, width: int = 100, *, colour: bool = False, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="truecolor" if colour else None, _environ={}
    )
    console.print(view)
    file.flush()
    assert isinstance(file.buffer, io.BytesIO)
    return file.buffer.getvalue().decode(encoding)


def grid(text: str, title: str, rows: int, cells: int, pitch: int) -> list[list[str]]:
    """The cells of one panel, found by its title among panels that stand side by side."""
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if re.search(rf"(^|  ){title}", line))
    match = re.search(rf"(^|(?<=  )){title}", lines[at])
    assert match
    left = match.start()
    below = [line.ljust(left + cells * pitch)[left : left + cells * pitch] for line in lines[at + 1 : at + 1 + rows]]
    return [[line[i : i + pitch].strip() for i in range(0, len(line), pitch)] for line in below]


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
