"""A plan's entries on a device, for speculative replay: index columns, and who sees whom.

The cache has a row for each entry, not for each position: a refreshed position has two. Rows: U of zeros, which are
seen where nothing is written yet (``causal`` visibility), the N entries, and as many as a pass may pad. A pass
of n feeds writes rows ``U + first`` to ``U + first + n - 1``; padding writes rows whose entries come later, which are
written again before anyone sees them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array, Runtime
from diagplan.backends.window import GRANULE
from diagplan.planner.rounding import rounded_up
from diagplan.planner.speculation import deciders
from diagplan.planner.training_plan import TrainingPlan

__all__ = ["LENGTHS", "Columns", "cache_rows", "columns_of", "few_lengths", "spare_rows"]

#: Cache lengths of passes are multiples of this many rows at least.
LENGTHS = 512
#: Neither a step nor a position: nobody sees such a key.
_NEVER = np.iinfo(np.int32).max

# Shapes: B samples, n feeds, N entries, W as many as a pass may reach over the end, L cache rows of a pass, R of all.


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of N entries, and W of padding behind them, which feeds the last column of the tokens.

    Args:
        source: the slot that goes in, int64 [N + W].
        place: its position, or the coordinates of it, int64 [N + W] or [N + W, axes].
        target: the slot that its logits choose, or the last column but one, int64 [N + W].
        decider: the entry that chooses the source, -1 for a given one, int64 [N + W].
        step: of the plan, int64 [N + W].
        chooses: whether it has a target, bool [N + W].
        query_step, query_position: of who sees, int32 [N + W]; -1 for padding, which sees nothing but itself.
        key_step, key_until, key_position: of what is seen, int32 [R].
        rows, slots: 0 to R - 1, int32 and int64 [R].
        in_order: whether every entry sees all before it.
        by_coordinates: whether ``place`` holds coordinates.
        zeros: U, rows of zeros before the entries.
        entries: N.
    """

    source: Array
    place: Array
    target: Array
    decider: Array
    step: Array
    chooses: Array
    query_step: Array
    query_position: Array
    key_step: Array
    key_until: Array
    key_position: Array
    rows: Array
    slots: Array
    in_order: bool
    by_coordinates: bool
    zeros: int
    entries: int

    def seen(self, take: slice | Array, slot: Array, length: int, *, padded: bool) -> Array:
        """The mask of a pass, bool [n, L] or [B, n, L].

        Args:
            take: the entries that are fed.
            slot: the cache rows that they write, int64 [n] or [B, n].
            length: L.
            padded: whether there is padding among them.
        """
        rows = self.rows[:length]
        if self.in_order and not padded:
            seen: Array = rows <= slot[..., None]
            return seen
        step, position = self.query_step[take][..., None], self.query_position[take][..., None]
        shown = (self.key_step[:length] <= step) & (step < self.key_until[:length])
        return shown & (self.key_position[:length] <= position) | (rows == slot[..., None])


def columns_of(
    entries: TrainingPlan,
    runtime: Runtime,
    places: NDArray[np.int64] | None,
    *,
    spare: int,
    length_step: int,
) -> Columns:
    """Lay entries out on a device.

    Args:
        entries: from ``plan_entries``.
        runtime: of the device.
        places: coordinates of positions, int64 [positions, axes]; ``None``: positions are slots.
        spare: W.
        length_step: R is a multiple of it.
    """
    count, positions = entries.entries, entries.positions
    unwritten = _seen_empty(entries)
    zeros = int(np.count_nonzero(unwritten))

    def padded(column: NDArray[np.int32], padding: int, dtype: type = np.int64) -> Array:
        return runtime.put(np.concatenate([column, np.full(spare, padding)]).astype(dtype))

    def keys(empty: NDArray[np.int32] | int, column: NDArray[np.int32], padding: int) -> Array:
        all_rows = np.full(rounded_up(zeros + count + spare, length_step), padding)
        all_rows[:zeros], all_rows[zeros : zeros + count] = empty, column
        return runtime.put(all_rows.astype(np.int32))

    key_position = keys(entries.unwritten[unwritten], entries.position, _NEVER)
    numbers = np.arange(len(key_position))
    place = np.concatenate([entries.position, np.zeros(spare, dtype=np.int32)]).astype(np.int64)
    chooses = entries.target >= 0
    in_order = not zeros and not entries.hidden.any() and bool((entries.until == entries.steps).all())
    return Columns(
        source=padded(entries.source, positions + 1),
        place=runtime.put(place if places is None else places[place]),
        target=padded(np.where(chooses, entries.target, positions), positions),
        decider=padded(deciders(entries)[entries.source], count),
        step=padded(entries.step, entries.steps - 1),
        chooses=padded(chooses.astype(np.int32), 0, np.bool_),
        query_step=padded(entries.step, -1, np.int32),
        query_position=padded(entries.position, -1, np.int32),
        key_step=keys(0, np.where(entries.hidden, _NEVER, entries.step), _NEVER),
        key_until=keys(entries.unwritten_until[unwritten], entries.until, 0),
        key_position=key_position,
        rows=runtime.put(numbers.astype(np.int32)),
        slots=runtime.put(numbers),
        in_order=in_order and bool((np.diff(entries.position) > 0).all()),
        by_coordinates=places is not None,
        zeros=zeros,
        entries=count,
    )


def cache_rows(entries: TrainingPlan, feeds: int, length_step: int) -> int:
    """R, the rows of the cache, for windows of so many feeds.

    Args:
        entries: from ``plan_entries``.
        feeds: of the widest window.
        length_step: R is a multiple of it.
    """
    zeros = int(np.count_nonzero(_seen_empty(entries)))
    return rounded_up(zeros + entries.entries + spare_rows(feeds), length_step)


def spare_rows(feeds: int) -> int:
    """W, as many rows as a pass of so many feeds may reach over the end."""
    return feeds + GRANULE


def _seen_empty(entries: TrainingPlan) -> NDArray[np.bool_]:
    """Which of the unwritten slots some entry sees: those below the furthest position fed before they are written."""
    furthest = np.full(entries.steps + 1, -1, dtype=np.int64)
    np.maximum.at(furthest, entries.step + 1, entries.position)
    return np.asarray(entries.unwritten <= np.maximum.accumulate(furthest)[entries.unwritten_until])


def few_lengths(runtime: Runtime) -> int:
    """Cache lengths of passes are multiples of this many rows: then the same bits come out at every length."""
    return max(LENGTHS, runtime.length_step)
