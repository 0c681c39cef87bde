"""The shapes of a plan's passes, without laying any out: feeds, chosen tokens and cache slots of each.

What an executor makes of a plan (backends/program.py) follows from the plan alone; this counts it for many plans.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.columns import prefill_feeds
from diagplan.planner.layout import require_int
from diagplan.planner.lowering import pad_steps
from diagplan.planner.plan import Plan
from diagplan.planner.rounding import rounded_up

__all__ = ["PassShapes", "pass_shapes"]

Ints = NDArray[np.int64]


class PassShapes(NamedTuple):
    """The passes of a plan in order.

    Attributes:
        width, target, length: feeds, feeds that choose a token, and cache slots that are attended over, int64 [passes].
        first_frame: passes until the first generated frame is complete.
        widest: feeds of the widest step, the prompt's not counted.
        prompt: feeds of step 0 that only write the prompt.
        prompt_passes: passes of step 0.
        feed_reach: cache slots in use once each real feed is done, in the order of (step, position), int64 [feeds].
        first_frame_feed: the last of these feeds that chooses a token of the first frame.
    """

    width: Ints
    target: Ints
    length: Ints
    first_frame: int
    widest: int
    prompt: int
    prompt_passes: int
    feed_reach: Ints
    first_frame_feed: int


def pass_shapes(
    plan: Plan, *, chunk: int = 512, length_step: int = 64, static_widths: tuple[int, ...] = ()
) -> PassShapes:
    """The shapes of a valid plan's passes.

    Args:
        plan: the plan. Rows of a step that see each other although its policies do not say so keep the step in one
            pass; that is not looked at here.
        chunk: feeds of the widest pass; wider steps are cut in the order of positions.
        length_step: cache lengths are multiples of this many slots.
        static_widths: widths to which an executor pads the steps of a plan that has no padding.

    Raises:
        SpecError: a number below 1.
    """
    chunk, length_step = require_int("chunk", chunk, 1), require_int("length_step", length_step, 1)
    if static_widths and plan.trash_slot is None and not len(plan.listed):
        plan = pad_steps(plan, static_widths)
    offsets = plan.step_offsets
    step = plan.feed_steps()
    padding = plan.source < 0
    order = np.lexsort((np.where(padding, np.iinfo(np.int32).max, plan.position), step))
    reach = np.maximum.accumulate(_reach(plan)[order])
    chooses = plan.target[order] >= 0
    step_width = np.diff(offsets)
    pieces = -(-step_width // chunk)
    begins = np.repeat(offsets[:-1], pieces) + chunk * _ramp(pieces)
    ends = np.append(begins[1:], offsets[-1])
    chosen = np.concatenate([[0], np.cumsum(chooses)])
    of_first = np.isin(plan.target[order], plan.layout.cell_slots()[0])
    last_of_first = int(np.flatnonzero(of_first)[-1])
    prompt = prefill_feeds(plan)
    step_width = step_width.copy()
    step_width[0] -= prompt
    real = ~padding[order]
    return PassShapes(
        width=ends - begins,
        target=chosen[ends] - chosen[begins],
        length=rounded_up(reach[ends - 1], length_step),
        first_frame=int(np.searchsorted(ends, last_of_first, side="right")) + 1,
        widest=int(step_width.max()),
        prompt=prompt,
        prompt_passes=int(pieces[0]),
        feed_reach=reach[real],
        first_frame_feed=int(np.count_nonzero(real[:last_of_first])),
    )


def _ramp(counts: Ints) -> Ints:
    """0, 1, ... of each count, one after the other."""
    ends = np.cumsum(counts)
    return np.asarray(np.arange(ends[-1]) - np.repeat(ends - counts, counts))


def _reach(plan: Plan) -> Ints:
    """The cache slots up to the last one that each feed writes or sees, int64 [feeds]."""
    reach = plan.slot.astype(np.int64) + 1
    if plan.policies.visibility == "causal":
        reach = np.maximum(reach, plan.position.astype(np.int64) + 1)
    if len(plan.listed.runs):
        count = np.diff(plan.listed.offsets)
        np.maximum.at(reach, np.repeat(plan.listed.feed, count), plan.listed.runs[:, 1].astype(np.int64))
    return reach
