"""What a runtime needs of a plan, laid out before step 0: index columns and masks of every pass.

A plan step that is wider than ``chunk`` (a long prompt) becomes several passes in the order of positions, which changes
nothing: within a step a feed sees feeds at smaller positions only. Each pass attends over the part of the cache that
is in use, rounded up so that few lengths occur.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import LENGTH_STEP
from diagplan.planner.masks import iter_masks
from diagplan.planner.plan import Plan

__all__ = ["PassColumns", "program", "reaches"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassColumns:
    """One forward pass.

    Args:
        step: the plan's step.
        last: whether the step is complete after this pass.
        source, position, slot: int64 [n]; padding feeds source 0.
        mask: bool [n, L].
        rows: feeds whose logits choose a token, int64 [m].
        target: the slots of those tokens, int64 [m].
    """

    step: int
    last: bool
    source: Ints
    position: Ints
    slot: Ints
    mask: NDArray[np.bool_]
    rows: Ints
    target: Ints


def program(plan: Plan, *, chunk: int = 512, length_step: int = LENGTH_STEP) -> Iterator[PassColumns]:
    """The passes of a valid plan, in order.

    Args:
        plan: the plan; feeds of one step are in the order of positions, as the compiler makes them.
        chunk: feeds of the widest pass.
        length_step: cache lengths are multiples of this many slots; the cache must have room for the longest.
    """
    reach = reaches(plan)
    offsets = plan.step_offsets
    for first, mask in iter_masks(plan):
        step = int(np.searchsorted(offsets, first, side="right")) - 1
        end = int(offsets[step + 1])
        for lo in range(first, first + len(mask), chunk):
            hi = min(lo + chunk, first + len(mask))
            feeds = slice(lo, hi)
            length = -(-int(reach[hi - 1]) // length_step) * length_step
            rows_of_pass = mask[lo - first : hi - first, :length]
            target = plan.target[feeds].astype(np.int64)
            rows = np.flatnonzero(target >= 0)
            yield PassColumns(
                step=step,
                last=hi == end,
                source=np.maximum(_as_int64(plan.source[feeds]), 0),
                position=_as_int64(plan.position[feeds]),
                slot=_as_int64(plan.slot[feeds]),
                mask=np.pad(rows_of_pass, ((0, 0), (0, length - rows_of_pass.shape[1]))),
                rows=rows,
                target=target[rows],
            )


def reaches(plan: Plan) -> Ints:
    """The cache slots in use once each feed is done, int64 [feeds]."""
    reach = np.maximum.accumulate(plan.slot.astype(np.int64)) + 1
    if plan.policies.visibility == "causal":
        reach = np.maximum(reach, np.maximum.accumulate(plan.position.astype(np.int64)) + 1)
    return reach


def _as_int64(column: NDArray[Any]) -> Ints:
    return column.astype(np.int64)
