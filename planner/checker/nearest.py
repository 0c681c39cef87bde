"""The nearest earlier entry that is small enough, for many questions at once, in time n log n at worst."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["last_at_most"]

Int64 = NDArray[np.int64]

_NONE = np.iinfo(np.int64).max  # fills up a level, and is never found: larger than every step and slot


def last_at_most(values: Int64, start: Int64, bound: Int64) -> Int64:
    """For each question the largest index i <= ``start`` with ``values[i] <= bound``; -1 where there is none.

    Args:
        values: int64 [n].
        start: where each question begins, from -1 (nothing to look at) to n - 1, int64 [m].
        bound: int64 [m].

    Returns:
        int64 [m].
    """
    nearest = np.full(len(start), -1, dtype=np.int64)
    asking = np.flatnonzero(start >= 0)
    node = start[asking]
    minima: list[Int64] = []  # minima[k][i] is the least of the 2^k values from i * 2^k on
    met: list[tuple[Int64, Int64]] = []  # by level: the questions whose answer lies below a node, and the node
    least = values
    while len(asking):
        level = np.append(least, _NONE) if len(least) % 2 else least
        minima.append(level)
        # A right child's parent ends where it ends, so only a left child is looked at before climbing; level 0 looks
        # at both, for nearly all questions are answered by their first entry.
        left = node % 2 == 0
        hit = (left | (len(minima) == 1)) & (level[node] <= bound[asking])
        met.append((asking[hit], node[hit]))
        asking, node = asking[~hit], (node - left)[~hit]
        asking, node = asking[node >= 0], node[node >= 0] // 2
        if len(asking):
            least = level.reshape(-1, 2).min(axis=1)
    asking = node = np.zeros(0, dtype=np.int64)
    for depth in range(len(met) - 1, -1, -1):
        asking, node = np.concatenate([asking, met[depth][0]]), np.concatenate([node, met[depth][1]])
        if depth:
            node = 2 * node + (minima[depth - 1][2 * node + 1] <= bound[asking])
    nearest[asking] = node
    return nearest
