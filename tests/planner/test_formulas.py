import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner import formulas
from diagplan.planner.errors import SpecError

SIZES = st.integers(1, 6)
DELAYS = st.integers(1, 45)  # beyond w and beyond F, so that both are clamped


def steps_by_hand(frames: int, rows: int, cols: int, k: int, d: int | None) -> list[int]:
    """Starts every row and frame by its delay, walks through the cells, and notes the step of each."""
    steps: list[int] = []
    frame_start = 0
    for _ in range(frames):
        row_start, last = frame_start, frame_start
        for _ in range(rows):
            steps.extend(range(row_start, row_start + cols))
            last = row_start + cols - 1
            row_start = min(row_start + k, last + 1)
        frame_start = last + 1 if d is None else min(frame_start + d, last + 1)
    return steps


def zipar_release_by_hand(frames: int, rows: int, cols: int, window: int) -> list[int]:
    steps: list[int] = []
    start = 0
    for _ in range(frames):
        for row in range(rows):
            steps.extend(range(start, start + cols))
            start += cols if row in (0, rows - 1) else min(window, cols)
    return steps


@given(SIZES, SIZES, SIZES, DELAYS, st.none() | DELAYS)
def test_total_is_the_number_of_different_steps(frames: int, rows: int, cols: int, k: int, d: int | None) -> None:
    steps = steps_by_hand(frames, rows, cols, k, d)
    total = formulas.total_steps(frames, rows, cols, k, d)
    assert set(steps) == set(range(total))
    assert formulas.frame_steps(rows, cols, k) == len(set(steps[: rows * cols]))
    if rows > 1:
        assert formulas.row_delay(k, cols) == steps[cols] - steps[0]
    if frames > 1:
        assert formulas.frame_delay(d, rows, cols, k) == steps[rows * cols] - steps[0]


@given(SIZES, SIZES, SIZES, DELAYS)
def test_zipar_release_total_is_the_number_of_different_steps(frames: int, rows: int, cols: int, window: int) -> None:
    steps = zipar_release_by_hand(frames, rows, cols, window)
    assert set(steps) == set(range(formulas.zipar_llamagen_steps(frames, rows, cols, window)))


@given(SIZES, SIZES, SIZES, DELAYS)
def test_r_spa_is_the_ratio_of_steps_and_its_bound_holds(frames: int, rows: int, cols: int, k: int) -> None:
    steps = steps_by_hand(frames, rows, cols, k, None)
    exact = Fraction(frames * rows * cols, max(steps) + 1)
    assert formulas.r_spa(rows, cols, k) == exact
    approx = formulas.r_spa_approx(rows, cols, k)
    assert approx == rows / (Fraction(rows, cols) * min(k, cols) + 1)
    bound = formulas.r_spa_error_bound(rows, cols, k)
    assert 0 < exact - approx <= bound < 1
    assert (exact - approx == bound) == (k >= cols)


@given(SIZES, SIZES, SIZES)
def test_r_diag_is_the_ratio_of_steps_and_its_error_is_the_bound(frames: int, rows: int, cols: int) -> None:
    steps = steps_by_hand(frames, rows, cols, 1, rows)
    exact = Fraction(frames * rows * cols, max(steps) + 1)
    assert formulas.r_diag(frames, rows, cols) == exact
    assert formulas.r_diag_approx(cols) - exact == formulas.r_diag_error_bound(frames, rows, cols) >= 0


@given(SIZES, SIZES, SIZES, st.integers(0, 5))
def test_next_token_is_the_special_case(frames: int, rows: int, cols: int, more: int) -> None:
    assert formulas.total_steps(frames, rows, cols, cols + more, rows * cols + more) == frames * rows * cols
    assert formulas.total_steps(frames, rows, cols, cols + more, None) == frames * rows * cols


@pytest.mark.parametrize(
    ("frames", "rows", "cols", "k", "d", "steps"),
    [
        (3, 40, 64, 64, 2560, 7680),
        *((3, 40, 64, 1, d, steps) for d, steps in ((2, 107), (3, 109), (5, 113), (9, 121), (1, 105))),
        *((3, 40, 64, 2, d, steps) for d, steps in ((4, 150), (6, 154), (10, 162), (18, 178), (40, 222))),
        *((3, 40, 64, 4, d, steps) for d, steps in ((8, 236), (12, 244), (20, 260), (36, 292))),
        (3, 40, 64, 1, None, 309),
        (15, 14, 24, 24, None, 5040),
        (15, 14, 24, 2, None, 750),
        (15, 14, 24, 4, None, 1140),
    ],
)
def test_steps_of_the_published_settings(frames: int, rows: int, cols: int, k: int, d: int | None, steps: int) -> None:
    assert formulas.total_steps(frames, rows, cols, k, d) == steps


def test_results_are_exact() -> None:
    huge = 10**30
    assert formulas.total_steps(huge, huge, huge, huge, None) == huge**3
    assert type(formulas.r_diag_approx(3)) is Fraction
    assert formulas.r_spa(3, huge, 1) == Fraction(3 * huge, huge + 2)


def test_arguments_are_checked() -> None:
    message = "expected k >= 1, got k=0. Give a whole number >= 1."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        formulas.total_steps(1, 1, 1, 0, None)
    message = "expected d to be an integer, got d=1.5. Give a whole number >= 1."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        formulas.frame_delay(1.5, 1, 1, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in formulas.__all__ if name[0].islower()])
def test_every_argument_of_every_form_is_checked(name: str) -> None:
    form = getattr(formulas, name)
    arguments = form.__code__.co_varnames[: form.__code__.co_argcount]
    for broken in arguments:
        with pytest.raises(SpecError, match=f"got {broken}=0"):
            form(**{argument: 0 if argument == broken else 2 for argument in arguments})
