"""Does the world move as the player moved? Judged on tokens, by how well one frame shifted gives the next.

A player who stands in the middle of the picture and moves by one cell shifts all of the map by one cell the other way.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOVES", "best_move", "clear_moves", "matches"]

Integers = NDArray[np.integer[Any]]
#: Moves of the player, (columns right, rows down), and standing still.
MOVES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"still": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
)
#: A truth is clear where its own move explains at least this share of the cells, and every other move this much less.
_CLEAR, _MARGIN = 0.9, 0.08


def matches(before: Integers, after: Integers) -> NDArray[np.float64]:
    """For each of ``MOVES`` the share of cells that it explains, float64 [N, 5].

    Args:
        before: tokens [N, rows, cols] of the map alone.
        after: those of the next frame. Cell (r, c) is compared with cell (r + down, c + right) of ``before``; cells
            that come into view and the player's own are left out.
    """
    rows, cols = before.shape[1:]
    middle = (rows // 2, cols // 2)
    shares = []
    for right, down in MOVES.values():
        r = slice(max(0, -down), rows - max(0, down))
        c = slice(max(0, -right), cols - max(0, right))
        was = before[:, r.start + down : r.stop + down, c.start + right : c.stop + right]
        same = after[:, r, c] == was
        keep = np.ones((rows, cols), bool)
        keep[middle] = False  # the player now
        keep[middle[0] - down, middle[1] - right] = False  # and where the player was seen before
        shares.append(same[:, keep[r, c]].mean(axis=1))
    return np.stack(shares, axis=1)


def best_move(before: Integers, after: Integers) -> NDArray[np.int64]:
    """The move of ``MOVES`` that explains most cells, int64 [N]; standing still wins a tie."""
    best: NDArray[np.int64] = matches(before, after).argmax(axis=1)
    return best


def clear_moves(before: Integers, after: Integers, moved: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which true steps count, bool [N]: the player moved by one cell and the picture shows it.

    Steps over one kind of ground, which look alike whatever the move, do not count.

    Args:
        before: tokens [N, rows, cols] of the map.
        after: those of the next frame.
        moved: what the game says, int [N, 2], (columns right, rows down).
    """
    share = matches(before, after)
    moves = np.array(list(MOVES.values()))
    truth = (moved[:, None, :] == moves).all(2)  # [N, 5]
    known = truth.any(1) & moved.any(1)
    mine = np.where(truth, share, 0).max(1)
    other = np.where(truth, 0, share).max(1)
    clear: NDArray[np.bool_] = known & (mine >= _CLEAR) & (mine - other >= _MARGIN)
    return clear
