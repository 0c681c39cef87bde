"""Steps of one entry that are fed one by one while guesses fail, laid out for many at once.

Next-token prediction by passes that guess nothing should cost what its replay does: masks, and guesses to compare
tokens with, are made for a run of steps instead of for each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array
from diagplan.backends.speculative_prepared import PreparedSpeculation, SpeculativeState
from diagplan.planner.rounding import rounded_up

__all__ = ["AT_ONCE", "NOTHING", "Ahead", "alone", "look_ahead"]

#: Entries whose targets are drafted, and that are laid out, at once.
AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Entries ``first`` to ``end``, each a step.

    Args:
        first, end: the entries.
        steps, sources, targets: of each the plan's step, the slot that goes in, and the one that it chooses.
        slots: the cache rows that they write, int64 [n].
        seen: their masks, bool [n, L].
        guesses: the present guess of each, int64 [B, n].
    """

    first: int
    end: int
    steps: list[int]
    sources: list[int]
    targets: list[int]
    slots: Array
    seen: Array
    guesses: NDArray[np.int64]


_NONE = np.zeros((0, 0), dtype=np.int64)
NOTHING = Ahead(first=0, end=0, steps=[], sources=[], targets=[], slots=_NONE, seen=_NONE, guesses=_NONE)


def alone(prepared: PreparedSpeculation) -> NDArray[np.intp]:
    """Up to which entry, from each on, all are steps of one entry that choose a token, intp [N].

    An entry of which that is not so itself has its own number.
    """
    entries = prepared.entries
    count = entries.entries
    own = np.ones(count, dtype=np.bool_)
    own[1:] &= entries.step[1:] != entries.step[:-1]
    own[:-1] &= entries.step[1:] != entries.step[:-1]
    broken = np.append(np.flatnonzero(~own | (entries.target < 0)), count)
    return broken[np.searchsorted(broken, np.arange(count))]


def look_ahead(prepared: PreparedSpeculation, state: SpeculativeState, first: int, end: int) -> Ahead:
    """Lay entries out, as many as attend over cache rows of one length.

    Args:
        prepared: what is replayed; all samples advance together.
        state: it has guesses for the targets of all entries before ``end``.
        first: the first entry.
        end: up to here all are steps of one entry.
    """
    columns, entries, runtime = prepared.columns, prepared.entries, prepared.runtime
    length = rounded_up(columns.zeros + first + 1, runtime.length_step)
    end = min(end, first + AT_ONCE, length - columns.zeros)
    take = slice(first, end)
    slots = columns.slots[columns.zeros + first : columns.zeros + end]
    return Ahead(
        first=first,
        end=end,
        steps=entries.step[take].tolist(),
        sources=entries.source[take].tolist(),
        targets=entries.target[take].tolist(),
        slots=slots,
        seen=columns.seen(take, slots, length, padded=False),
        guesses=runtime.numpy(state.tokens[: prepared.batch, columns.target[take]]),
    )
