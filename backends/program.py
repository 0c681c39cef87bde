"""What a runtime needs of a plan, laid out before step 0: index columns and masks of every pass.

A plan step that is wider than ``chunk`` (a long prompt) becomes several passes. The order of its feeds has no meaning,
so they are put in the order of positions, in which a rule's row sees earlier feeds of its step only; where a row sees a
later one all the same, both stay in one pass, which is then wider. Each pass attends over the part of the cache that
is in use or seen, rounded up so that few lengths occur.

Padding, of which nothing is read, sees what the first feed of its pass sees: a runtime that stops at the last slot that
anyone sees is not sent to the padding's own, the last of the cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import LENGTH_STEP
from diagplan.planner.columns import MaskRows
from diagplan.planner.masks import Held, iter_masks
from diagplan.planner.plan import Plan
from diagplan.planner.rounding import rounded_up

__all__ = ["PassColumns", "in_passes", "program", "reaches"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassColumns:
    """One forward pass.

    Args:
        step: the plan's step.
        last: whether the step is complete after this pass.
        source, position, slot: int64 [n]; padding feeds source 0.
        mask: bool [n, L]; the rows of padding are those of the first feed that is none.
        own: the slot that each row sees whatever a prompt's pads hide, int64 [n]: its own; of padding that of that
            feed.
        rows: feeds whose logits choose a token, int64 [m].
        target: the slots of those tokens, int64 [m].
    """

    step: int
    last: bool
    source: Ints
    position: Ints
    slot: Ints
    mask: NDArray[np.bool_]
    own: Ints
    rows: Ints
    target: Ints


def program(
    plan: Plan, *, chunk: int = 512, length_step: int = LENGTH_STEP, held: Held | None = None
) -> Iterator[PassColumns]:
    """The passes of a valid plan, in order.

    Args:
        plan: the plan.
        chunk: feeds of the widest pass, unless rows of one step see each other.
        length_step: cache lengths are multiples of this many slots; the cache must have room for the longest.
        held: what the cache holds before step 0, of a plan that goes on with the cache of another one.
    """
    plan, bounds = in_passes(plan, chunk)
    reach = reaches(plan)
    if held is not None:
        reach = np.maximum(reach, int(held.slot.max(initial=-1)) + 1)
    rows_of_plan = _Rows(iter_masks(plan, held=held))
    ends = plan.step_offsets[1:]
    for lo, hi in pairwise(bounds.tolist()):
        feeds = slice(lo, hi)
        step = int(np.searchsorted(ends, lo, side="right"))
        length = rounded_up(int(reach[hi - 1]), length_step)
        row = _as_first(plan.source[feeds] < 0)
        mask = rows_of_plan.take(hi - lo)[row, :length]
        target = plan.target[feeds].astype(np.int64)
        rows = np.flatnonzero(target >= 0)
        yield PassColumns(
            step=step,
            last=hi == ends[step],
            source=np.maximum(_as_int64(plan.source[feeds]), 0),
            position=_as_int64(plan.position[feeds]),
            slot=_as_int64(plan.slot[feeds]),
            own=_as_int64(plan.slot[feeds])[row],
            mask=np.pad(mask, ((0, 0), (0, length - mask.shape[1]))),
            rows=rows,
            target=target[rows],
        )


def _as_first(padding: NDArray[np.bool_]) -> Ints | slice:
    """Whose mask row each feed of a pass has: its own, padding that of the first feed that is none, if there is one."""
    if not padding.any() or padding.all():
        return slice(None)  # no copy
    return np.where(padding, padding.argmin(), np.arange(len(padding)))


class _Rows:
    """Mask rows that come in blocks, given out in other numbers."""

    def __init__(self, blocks: Iterator[tuple[int, NDArray[np.bool_]]]) -> None:
        self.blocks, self.left = blocks, np.zeros((0, 0), dtype=np.bool_)

    def take(self, count: int) -> NDArray[np.bool_]:
        """The next ``count`` rows, bool [count, cache_slots]."""
        parts = []
        while count:
            if not len(self.left):
                self.left = next(self.blocks)[1]
            parts.append(self.left[:count])
            self.left = self.left[count:]
            count -= len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def in_passes(plan: Plan, chunk: int) -> tuple[Plan, Ints]:
    """The plan with its wide steps in the order of positions, and where its passes begin and end, int64 [passes + 1].

    Args:
        plan: a valid plan.
        chunk: feeds of the widest pass, unless rows of one step see each other.
    """
    wide = np.flatnonzero(np.diff(plan.step_offsets) > chunk)
    if not len(wide):
        return plan, plan.step_offsets
    plan = _by_position(plan, wide)
    cuts = [plan.step_offsets]
    for start, end in zip(plan.step_offsets[wide].tolist(), plan.step_offsets[wide + 1].tolist(), strict=True):
        seen = np.maximum.accumulate(_last_seen(plan, start, end))  # by this feed or one before it
        at = start + chunk
        while at < end:
            at = int(max(at, seen[at - start - 1] + 1))
            if seen[at - start - 1] < at:
                cuts.append(np.array([at]))
                at += chunk
    return plan, np.unique(np.concatenate(cuts))


def _by_position(plan: Plan, wide: Ints) -> Plan:
    """The feeds of some steps in the order of positions, padding behind them; listed rows go with their feeds."""
    key = np.where(plan.source < 0, np.iinfo(np.int32).max, plan.position)
    order = np.arange(plan.feeds)
    for start, end in zip(plan.step_offsets[wide].tolist(), plan.step_offsets[wide + 1].tolist(), strict=True):
        order[start:end] = start + np.argsort(key[start:end], kind="stable")
    if (order[1:] > order[:-1]).all():
        return plan
    place = np.empty_like(order)
    place[order] = np.arange(plan.feeds)
    rows = place[plan.listed.feed]
    by_feed = np.argsort(rows, kind="stable")
    runs = [plan.listed.row(j) for j in by_feed.tolist()]
    listed = MaskRows(
        feed=rows[by_feed],
        offsets=np.cumsum([0, *map(len, runs)]),
        runs=np.concatenate([np.zeros((0, 2), dtype=np.int32), *runs]),
    )
    columns = {name: getattr(plan, name)[order] for name in ("source", "position", "slot", "target")}
    return replace(plan, listed=listed, **columns)


def _last_seen(plan: Plan, start: int, end: int) -> Ints:
    """The last feed of a step, in the order of positions, whose write each feed of the step sees, int64 [n].

    A row of the rule sees no later position, so the last one of its own position at most.
    """
    feeds = np.arange(start, end)
    position = plan.position[start:end]
    real = plan.source[start:end] >= 0
    last = feeds.copy()
    ties = np.searchsorted(position[real], position[real], side="right") - 1
    last[real] = feeds[real][ties]
    writer = np.full(plan.cache_slots, -1, dtype=np.int64)
    writer[plan.slot[start:end]] = feeds
    for j in range(*np.searchsorted(plan.listed.feed, (start, end)).tolist()):
        feed = int(plan.listed.feed[j])
        seen = [int(writer[a:b].max(initial=-1)) for a, b in plan.listed.row(j).tolist()]
        last[feed - start] = max(feed, *seen) if seen else feed
    return last


def reaches(plan: Plan) -> Ints:
    """The cache slots in use or seen once each feed is done, int64 [feeds]."""
    reach = plan.slot.astype(np.int64) + 1
    if plan.policies.visibility == "causal":
        reach = np.maximum(reach, plan.position.astype(np.int64) + 1)
    if len(plan.listed.runs):
        count = np.diff(plan.listed.offsets)
        np.maximum.at(reach, np.repeat(plan.listed.feed, count), plan.listed.runs[:, 1].astype(np.int64))
    return np.maximum.accumulate(reach)


def _as_int64(column: NDArray[Any]) -> Ints:
    return column.astype(np.int64)
