"""Motion on tokens: the shift that explains a picture is the move, and dull pictures do not count."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.evaluation.motion import MOVES, best_move, clear_moves, matches


def step(seed: int, move: str, rows: int = 7, cols: int = 9, kinds: int = 60) -> tuple[Any, Any]:
    """Two looks at one random field, before and after a move; [1, rows, cols] each."""
    field = np.random.default_rng(seed).integers(0, kinds, (1, rows + 2, cols + 2))
    right, down = MOVES[move]
    return field[:, 1 : 1 + rows, 1 : 1 + cols], field[:, 1 + down : 1 + down + rows, 1 + right : 1 + right + cols]


@given(st.integers(0, 99), st.sampled_from(sorted(MOVES)), st.integers(3, 9), st.integers(3, 9))
def test_the_move_explains_every_cell(seed: int, move: str, rows: int, cols: int) -> None:
    before, after = step(seed, move, rows, cols)
    shares = dict(zip(MOVES, matches(before, after)[0].tolist(), strict=True))
    assert shares[move] == 1
    assert all(0 <= share <= 1 for share in shares.values())


@pytest.mark.parametrize("move", MOVES)
def test_the_share_is_that_of_cells_in_both_pictures_without_the_players(move: str) -> None:
    """Counted cell by cell; the player's place is overpainted and changes nothing."""
    before, after = step(3, move, kinds=3)
    after = after.copy()
    after[0, ::2, ::3] = 99
    for picture in (before, after):
        picture[0, 3, 4] = 1000
    (right, down), agree = MOVES[move], []
    for r, c in np.ndindex(7, 9):
        inside = 0 <= r + down < 7 and 0 <= c + right < 9
        if inside and (r, c) != (3, 4) and (r + down, c + right) != (3, 4):
            agree.append(after[0, r, c] == before[0, r + down, c + right])
    assert matches(before, after)[0, list(MOVES).index(move)] == pytest.approx(np.mean(agree))


def test_the_best_of_several_steps_and_standing_still_on_a_tie() -> None:
    pairs = [step(7, move) for move in MOVES]
    before, after = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    assert best_move(before, after).tolist() == [0, 1, 2, 3, 4]
    flat = np.zeros((2, 5, 5), int)
    assert best_move(flat, flat).tolist() == [0, 0]


def test_steps_that_count() -> None:
    cases = [step(2, "right"), step(2, "right"), step(2, "still"), step(2, "right", kinds=1), step(2, "right")]
    noisy = cases[4][1].copy()
    noisy[0, ::2] = 77  # more than a tenth of the cells are another's
    before = np.concatenate([pair[0] for pair in cases])
    after = np.concatenate([*(pair[1] for pair in cases[:4]), noisy])
    moved = np.array([[1, 0], [-1, 0], [0, 0], [1, 0], [1, 0]])
    assert clear_moves(before, after, moved).tolist() == [True, False, False, False, False]
    assert not clear_moves(before[:1], after[:1], np.array([[2, 0]])).any()  # two cells are no move


def test_motion_is_judged_by_what_explains_the_picture() -> None:
    random = np.random.default_rng(0)
    field = random.integers(0, 50, (1, 20, 20))
    before = field[:, 5:12, 4:16]
    for name, (right, down) in MOVES.items():
        after = field[:, 5 + down : 12 + down, 4 + right : 16 + right]
        assert list(MOVES)[best_move(before, after)[0]] == name
        assert matches(before, after)[0].max() == 1
        counted = clear_moves(before, after, np.array([[right, down]]))
        assert counted[0] == (name != "still")
        assert not clear_moves(before, after, np.array([[-right, -down]])).any() or name == "still"
    grass = np.zeros((1, 7, 12), int)
    assert not clear_moves(grass, grass, np.array([[1, 0]])).any()  # looks alike whatever the move
