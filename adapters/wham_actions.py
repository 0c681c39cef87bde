"""WHAM's actions: the state of a game controller as 16 tokens, 12 buttons and 4 stick axes of 11 bins.

Recorded actions are rows of 16 whole numbers: buttons 0 or 1, axes as bins 0 to 10, where 5 is the middle. What the 12
buttons are is not published; the axes are taken to be left x, left y, right x, right y.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagplan.planner.errors import SpecError

__all__ = [
    "ACTION_IDS",
    "BINS",
    "BLOCK",
    "BUTTONS",
    "FIRST_ACTION",
    "STICKS",
    "bins_from_sticks",
    "decode_actions",
    "encode_actions",
    "sticks_from_bins",
]

#: Buttons, axes, and bins of an axis.
BUTTONS, STICKS, BINS = 12, 4, 11
#: Tokens of one action.
BLOCK = BUTTONS + STICKS
#: Ids of actions: two for a button, eleven for an axis.
ACTION_IDS = 2 * BUTTONS + BINS * STICKS
#: The first of them: image ids come before.
FIRST_ACTION = 16384

_EDGES = np.array([-1.05, -0.95, -0.75, -0.5, -0.25, -0.05, 0.05, 0.25, 0.5, 0.75, 0.95, 1.05])
_VALUES = np.array([-1, -0.85, -0.625, -0.375, -0.15, 0, 0.15, 0.375, 0.625, 0.85, 1])
_WIDTHS = np.array([2] * BUTTONS + [BINS] * STICKS)
_FIRST = FIRST_ACTION + np.cumsum(_WIDTHS) - _WIDTHS


def bins_from_sticks(values: ArrayLike) -> NDArray[np.int64]:
    """Bins 0 to 10 of stick positions, int64 of the same shape; positions beyond -1 and 1 are cut off there.

    Raises:
        SpecError: a position that is no finite number.

    >>> bins_from_sticks([-1.0, 0.0, 0.05, 2.0])
    array([ 0,  5,  6, 10])
    """
    try:
        positions = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError):
        positions = np.array(np.nan)
    if not np.isfinite(positions).all():
        raise SpecError("expected stick positions as finite numbers from -1 to 1, got others.")
    return np.asarray(np.digitize(np.clip(positions, -1, 1), _EDGES) - 1, dtype=np.int64)


def sticks_from_bins(bins: ArrayLike) -> NDArray[np.float64]:
    """The stick positions that bins stand for, float64 of the same shape.

    Raises:
        SpecError: a bin that is none.

    >>> sticks_from_bins([0, 5, 8])
    array([-1.   ,  0.   ,  0.625])
    """
    array = np.asarray(bins)
    if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() < BINS):
        raise SpecError(f"expected bins as integers from 0 to {BINS - 1}, got others.")
    positions: NDArray[np.float64] = _VALUES[array]
    return positions


def encode_actions(actions: ArrayLike) -> NDArray[np.int64]:
    """The token ids of actions, int64 [..., 16].

    Args:
        actions: whole numbers [..., 16], of any dtype: 12 buttons, 0 or 1, then 4 axes as bins 0 to 10.

    Raises:
        SpecError: not such actions; the message names the first place that is wrong.

    >>> encode_actions([[1] + 11 * [0] + [6, 10, 5, 5]])[0, [0, 1, 12]]
    array([16385, 16386, 16414])
    """
    try:
        array = np.asarray(actions, dtype=np.float64)
    except (ValueError, TypeError):
        array = np.zeros(0)
    if array.ndim < 1 or array.shape[-1] != BLOCK:
        raise SpecError(f"expected actions as numbers [..., {BLOCK}], got shape {list(array.shape)}.")
    wrong = ~((array >= 0) & (array < _WIDTHS) & (array == np.floor(array)))
    if wrong.any():
        *_, place = np.argwhere(wrong)[0].tolist()
        kind = f"0 or 1 for button {place}" if place < BUTTONS else f"a bin 0 to {BINS - 1} for axis {place - BUTTONS}"
        raise SpecError(f"expected {kind}, got {array[wrong][0]:g}. Actions are binned before: see bins_from_sticks.")
    return np.asarray(array.astype(np.int64) + _FIRST)


def decode_actions(ids: ArrayLike) -> NDArray[np.int64]:
    """The actions of token ids, int64 [..., 16]: the other way round.

    Args:
        ids: int [..., 16].

    Raises:
        SpecError: not such ids; the message names the first place that is wrong.
    """
    array = np.asarray(ids)
    if array.ndim < 1 or array.shape[-1] != BLOCK or array.dtype.kind not in "iu":
        raise SpecError(f"expected ids of actions as integers [..., {BLOCK}], got {array.dtype} {list(array.shape)}.")
    actions = array.astype(np.int64) - _FIRST
    wrong = (actions < 0) | (actions >= _WIDTHS)
    if wrong.any():
        *_, place = np.argwhere(wrong)[0].tolist()
        raise SpecError(
            f"expected an id from {_FIRST[place]} to {_FIRST[place] + _WIDTHS[place] - 1} at place {place} of an "
            f"action, got id={array[wrong][0]}. Every place has ids of its own."
        )
    return np.asarray(actions)
