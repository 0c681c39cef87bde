"""Mask rows, expanded from the rule: which cache slots each feed sees.

A feed at step s and position p sees the slots that hold the newest write, made at a step <= s, of a position
q <= p; under ``proxy_kv="hidden"`` not those whose newest write is a proxy's; its own slot always. Under
``visibility="causal"`` slots that were never written are seen too. Padding sees the trash slot only.

A plan that goes on with the cache of another one (planner/chain.py) finds some positions written, by their own tokens.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.columns import MaskRows, PlanColumns

__all__ = ["Held", "follow_rule", "iter_masks", "mask_rows", "step_mask", "to_runs"]

_NOBODY = np.iinfo(np.int32).max  # the key of a slot that no query sees
_CHUNK = 1 << 26  # mask bits held at a time
_COMPARED = 1 << 22  # the same where each is compared: as many as stay in the processor's cache


class Held(NamedTuple):
    """Positions whose own tokens' keys and values lie in the cache before step 0, and the slots of them, int32 [n]."""

    position: NDArray[np.int32]
    slot: NDArray[np.int32]


class _Cache:
    """Per cache slot the smallest position that sees it (its key), as the writes come in."""

    def __init__(self, plan: PlanColumns, held: Held | None = None) -> None:
        self.plan = plan
        self.home = np.full(plan.positions, -1, dtype=np.int32)  # position -> cache slot of its newest write
        self.owner = np.full(plan.cache_slots, -1, dtype=np.int32)  # cache slot -> position it was written for
        self.key = np.full(plan.cache_slots, _NOBODY, dtype=np.int32)
        if plan.policies.visibility == "causal":
            unwritten = min(plan.positions, plan.cache_slots)
            self.key[:unwritten] = np.arange(unwritten, dtype=np.int32)
            self.home[:unwritten] = self.owner[:unwritten] = self.key[:unwritten]
        if held is not None:
            self.home[held.position] = held.slot
            self.owner[held.slot] = self.key[held.slot] = held.position

    def write(self, first: int, last: int) -> None:
        """Apply the writes of feeds ``first : last``, in order."""
        plan = self.plan
        real = np.flatnonzero(plan.source[first:last] >= 0) + first
        position, slot = plan.position[real], plan.slot[real]
        before = self.home[position]
        self.key[before[(before >= 0) & (self.owner[before] == position)]] = _NOBODY
        self.home[position] = slot
        self.owner[slot] = position
        seen = self.home[position] == slot
        if plan.policies.proxy_kv == "hidden":
            seen &= plan.source[real] == position
        self.key[slot] = np.where(seen, position, _NOBODY)

    def rows(self, feeds: slice | NDArray[np.int64]) -> NDArray[np.bool_]:
        """The rule's mask rows of some feeds of the step written last, bool [n, cache_slots]."""
        plan = self.plan
        reach = np.where(plan.source[feeds] < 0, np.int32(-1), plan.position[feeds])
        mask = np.asarray(self.key[None, :] <= reach[:, None])
        mask[np.arange(len(reach)), plan.slot[feeds]] = True
        return mask


def _list_exceptions(plan: PlanColumns, mask: NDArray[np.bool_], first: int, last: int) -> NDArray[np.bool_]:
    for j in range(*np.searchsorted(plan.listed.feed, (first, last))):
        row = mask[plan.listed.feed[j] - first]
        row[:] = False
        for start, end in plan.listed.row(j).tolist():
            row[start:end] = True
    return mask


def step_mask(plan: PlanColumns, step: int) -> NDArray[np.bool_]:
    """The mask rows of one step's feeds, bool [n, cache_slots]."""
    first, last = plan.step_offsets[step : step + 2].tolist()
    cache = _Cache(plan)
    cache.write(0, last)
    return _list_exceptions(plan, cache.rows(slice(first, last)), first, last)


def iter_masks(
    plan: PlanColumns, *, listed: bool = True, held: Held | None = None
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """All mask rows in order of feeds, as (number of the first feed, bool [n, cache_slots]).

    A wide step comes in several parts, so that memory stays bounded. ``listed=False`` gives the rule's rows alone.
    ``held`` is what the cache of a chain holds before step 0.
    """
    cache = _Cache(plan, held)
    at_once = max(1, _CHUNK // max(1, plan.cache_slots))
    for start, end in zip(plan.step_offsets[:-1].tolist(), plan.step_offsets[1:].tolist(), strict=True):
        cache.write(start, end)
        for first in range(start, end, at_once):
            last = min(first + at_once, end)
            mask = cache.rows(slice(first, last))
            yield first, _list_exceptions(plan, mask, first, last) if listed else mask


def to_runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The runs of true bits of each row: (number of runs [n], half-open runs [R, 2])."""
    framed = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.bool_)
    framed[:, 1:-1] = mask
    edges = np.flatnonzero(framed[:, 1:] != framed[:, :-1])  # far faster than the two columns of nonzero
    row, edge = edges // (mask.shape[1] + 1), edges % (mask.shape[1] + 1)
    count = np.bincount(row[::2], minlength=mask.shape[0]).astype(np.int64)
    return count, edge.astype(np.int32).reshape(-1, 2)


def follow_rule(plan: PlanColumns, rows: MaskRows) -> NDArray[np.bool_]:
    """Whether each of some rows is the rule's, spelled as ``to_runs`` spells it, bool [M].

    Takes time in proportion to the rows times cache slots, and a little for every step.

    Args:
        plan: a well-formed plan; its own listed rows are not read.
        rows: rows of its feeds, in rising order of feeds.
    """
    follows = np.zeros(len(rows), dtype=np.bool_)
    counts = np.diff(rows.offsets)
    cache = _Cache(plan)
    of_step = np.searchsorted(rows.feed, plan.step_offsets).tolist()
    at_once = max(1, _COMPARED // max(1, plan.cache_slots))
    for step, (start, end) in enumerate(pairwise(plan.step_offsets.tolist())):
        cache.write(start, end)
        for first in range(of_step[step], of_step[step + 1], at_once):
            part = slice(first, min(first + at_once, of_step[step + 1]))
            count, runs = to_runs(cache.rows(rows.feed[part]))
            given = rows.runs[rows.offsets[first] : rows.offsets[part.stop]]
            alike = count == counts[part]
            if not alike.all():
                runs, given = runs[np.repeat(alike, count)], given[np.repeat(alike, counts[part])]
            other = np.repeat(np.arange(len(alike))[alike], count[alike])[(runs != given).any(axis=1)]
            alike[other] = False
            follows[part] = alike
    return follows


def mask_rows(plan: PlanColumns) -> MaskRows:
    """Every feed's mask row as runs. Takes time and memory in proportion to feeds times cache slots."""
    counts, runs = [np.zeros(1, dtype=np.int64)], [np.zeros((0, 2), dtype=np.int32)]
    for _, mask in iter_masks(plan):
        count, run = to_runs(mask)
        counts.append(count)
        runs.append(run)
    return MaskRows(feed=np.arange(plan.feeds), offsets=np.cumsum(np.concatenate(counts)), runs=np.concatenate(runs))
