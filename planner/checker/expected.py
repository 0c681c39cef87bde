"""What a plan's names promise: the feeds that its layout, schedule and policies call for, derived anew.

Written for the checker from the specification alone, in other terms than the compiler's: slot arithmetic instead of
grids, keys instead of searches, a queue instead of cuts.
"""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.checker.nearest import last_at_most
from diagplan.planner.checker.slots import NEVER, Slots
from diagplan.planner.plan import Plan

__all__ = ["ExpectedFeeds", "expected_feeds"]

Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]
ExpectedFeeds = dict[str, Int64]

_AGES = 1 << 32  # more than there are steps, NEVER included


def expected_feeds(plan: Plan, given: Bool, known: Int64, *, capped: bool) -> ExpectedFeeds:
    """The feeds that the names call for: columns step, position, source, target, in the order of (step, position).

    The source is -2 where no image token could stand in, and where the proxy policy is custom. If the policy
    ``row_end`` is custom nothing says which tokens are fed without a target, so there are predictors only.

    Args:
        plan: a plan whose positions are those of its layout; its feeds are not read.
        given: the given positions, bool [positions].
        known: the step in which the schedule chooses each token, -1 for given ones, int64 [positions].
        capped: whether ``plan.max_width`` delays the feeds.

    Returns:
        the columns, int64 [n] each.
    """
    target = np.flatnonzero(~given)
    position = target - 1
    source = np.where(known[position] < known[target], position, -2)
    proxied = source == -2
    if proxied.any() and plan.policies.proxy != "custom":
        source[proxied] = _stand_ins(plan, known, target[proxied])
    extra_position, extra_step = target[:0], target[:0]
    if plan.policies.row_end != "custom":
        extra_position, extra_step = _cache_only(plan, given, known)
    feeds = {
        "step": np.concatenate([known[target], extra_step]),
        "position": np.concatenate([position, extra_position]),
        "source": np.concatenate([source, extra_position]),
        "target": np.concatenate([target, np.full(len(extra_step), -1)]),
    }
    order = np.lexsort((feeds["position"], feeds["step"]))
    feeds = {name: column[order] for name, column in feeds.items()}
    if capped:
        assert plan.max_width is not None
        feeds["step"] = _delayed(feeds, plan.max_width, int(np.argmin(given)))
    return feeds


def _cache_only(plan: Plan, given: Bool, known: Int64) -> tuple[Int64, Int64]:
    """Positions fed without a target, and when: given tokens, and generated ones that their predictor cannot carry."""
    last_step = int(known[known != NEVER].max())
    successor = np.append(known[1:], NEVER)
    # Walk backwards: the block of given tokens before a cell is fed when the cell's frame (or row) starts.
    slots = Slots(plan)
    generated = np.flatnonzero(~given)
    frame, row = slots.frame(generated), slots.row(generated)
    first_frame = int(frame[0]) if len(frame) else 0
    frame_begin = np.full(plan.layout.frames + first_frame, NEVER, dtype=np.int64)
    np.minimum.at(frame_begin, frame, known[generated])
    row_begin = np.full((len(frame_begin), slots.h), NEVER, dtype=np.int64)
    np.minimum.at(row_begin, (frame, row), known[generated])
    begin = np.where((row == 0) & (slots.col(generated) == 0), frame_begin[frame], row_begin[frame, row])
    begin[0] = 0
    behind = np.searchsorted(generated, np.arange(plan.positions))  # the first generated position at or after each
    has_behind = behind < len(generated)
    block_begin = np.where(has_behind, begin[np.minimum(behind, len(generated) - 1)], NEVER)
    positions = np.arange(plan.positions)
    fed_given = given & has_behind & ((successor < 0) | (successor > block_begin))
    fed_given &= positions < plan.positions - 1
    extra = [(positions[fed_given], block_begin[fed_given])]
    token = ~given & (positions < plan.positions - 1)
    if plan.policies.row_end == "refresh":
        again = token & (known + 1 <= last_step) & (successor != known + 1)
        extra.append((positions[again], known[again] + 1))
    else:
        next_begin = np.append(block_begin[1:], NEVER)
        fed = token & (successor < 0) & (known < next_begin) & (next_begin != NEVER)
        extra.append((positions[fed], next_begin[fed]))
    return np.concatenate([p for p, _ in extra]), np.concatenate([s for _, s in extra])


def _stand_ins(plan: Plan, known: Int64, target: Int64) -> Int64:
    """The proxy of each target by the named policy, [n]; -2 where nothing is known."""
    slots = Slots(plan)
    before = target - 1
    now = known[target]
    frame, row, col = slots.frame(target), slots.row(target), slots.col(target)
    p_frame, p_row, p_col = slots.frame(before), slots.row(before), slots.col(before)
    frames = plan.layout.prompt_frames + plan.layout.frames
    grid = slots.at(*np.indices((frames, slots.h, slots.w)))  # [frames, h, w]

    # Each of these answers for a part of the targets, -2 where it has no answer.

    def newest(part: Int64, size: int, group: Int64, limit: Int64) -> Int64:
        """The cell of largest (step, slot) of its group of ``size`` cells, known and not behind ``limit``."""
        cell = grid.ravel()
        age = np.arange(len(cell)) // size * _AGES + known[cell] + 1
        by_age = np.argsort(age, kind="stable")
        cell, age = cell[by_age], age[by_age]
        at = last_at_most(cell, np.searchsorted(age, group * _AGES + now[part] + 1) - 1, limit)
        return np.where(at >= group * size, cell[at], -2)

    def in_row(part: Int64) -> Int64:
        return newest(part, slots.w, p_frame[part] * slots.h + p_row[part], before[part])

    def in_frame(part: Int64) -> Int64:
        return newest(part, slots.h * slots.w, p_frame[part], before[part])

    def earlier_frame(part: Int64) -> Int64:
        cell = grid.transpose(1, 2, 0).ravel()  # the frames of one cell side by side
        oldest = (p_row[part] * slots.w + p_col[part]) * frames
        at = last_at_most(known[cell], oldest + p_frame[part] - 1, now[part] - 1)
        return np.where(at >= oldest, cell[at], -2)

    def prompt(part: Int64) -> Int64:
        first = slots.at(np.zeros_like(part), p_row[part], p_col[part])
        return first if plan.layout.prompt_frames else np.full_like(first, -2)

    def above(part: Int64) -> Int64:
        same = row[part] > 0
        up = slots.at(np.where(same, frame[part], frame[part] - 1), np.where(same, row[part] - 1, 0), col[part])
        exists = same | (frame[part] > 0)
        return np.where(exists & (known[np.where(exists, up, 0)] < now[part]), up, -2)

    def above_predecessor(part: Int64) -> Int64:
        """In the frame before: its cell in an earlier frame; else of the row above it, only up to its column."""
        up = np.maximum(p_row[part] - 1, 0)
        limit = slots.at(p_frame[part], up, p_col[part])
        inner = newest(part, slots.w, p_frame[part] * slots.h + up, limit)
        inner[p_row[part] == 0] = -2
        return np.where(p_frame[part] == frame[part], inner, earlier_frame(part))

    latest = (in_row, in_frame, earlier_frame)
    choices = {
        "latest": latest,
        "prompt": (prompt,),
        "previous-frame": (earlier_frame, *latest),
        "above": (above, *latest),
        "above-predecessor": (above_predecessor, *latest),
    }
    chosen = np.full(len(target), -2, dtype=np.int64)
    for choice in choices[plan.policies.proxy]:
        part = np.flatnonzero(chosen < 0)
        if len(part):
            chosen[part] = choice(part)
    return chosen


def _delayed(feeds: ExpectedFeeds, max_width: int, prompt: int) -> Int64:
    """The steps under a width cap: wide steps are cut, and their last part takes in the next step's first feeds."""
    step, position = feeds["step"], feeds["position"]
    starts = np.searchsorted(step, np.arange(int(step[-1]) + 2)).tolist()
    places = position.tolist()
    prefill = int(np.count_nonzero((step == 0) & (feeds["target"] < 0) & (position < prompt)))
    result = np.zeros(len(step), dtype=np.int64)
    now = 0
    waiting = (prefill, starts[1])  # feeds of the current step still to be placed
    current = 0
    untouched = True
    while current + 1 < len(starts):
        first, end = waiting
        if first == end:
            current += 1
            if current + 1 < len(starts):
                waiting, untouched = (starts[current], starts[current + 1]), True
            continue
        taken = min(max_width, end - first)
        result[first : first + taken] = now
        waiting = (first + taken, end)
        free = max_width - taken
        if free and not untouched and current + 2 < len(starts):
            begin, stop = starts[current + 1], starts[current + 2]
            early = bisect_left(places, places[first], begin, min(stop, begin + free))
            result[begin:early] = now
            current += 1
            waiting, untouched = (early, stop), early == begin
        else:
            untouched = False
        now += 1
    return result
