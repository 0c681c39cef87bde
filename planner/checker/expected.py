"""What a plan's names promise: the feeds that its layout, schedule and policies call for, derived anew.

Written for the checker from the specification alone, in other terms than the compiler's: slot arithmetic instead of
grids, keys instead of searches, a queue instead of cuts.
"""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.checker.slots import NEVER, Slots
from diagplan.planner.plan import Plan

__all__ = ["ExpectedFeeds", "expected_feeds"]

Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]
ExpectedFeeds = dict[str, Int64]

_AT_ONCE = 1 << 20  # candidate cells looked at together


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

    def newest(first: Int64, offsets: Int64, valid: Bool) -> Int64:
        """The candidate ``first + offset`` of largest (step, slot) among those known and not behind ``before``."""
        best = np.full(len(first), -2, dtype=np.int64)
        asked = np.flatnonzero(valid)
        for part in np.array_split(asked, len(asked) * len(offsets) // _AT_ONCE + 1):
            candidate = first[part, None] + offsets
            step = known[candidate]
            usable = (candidate <= before[part, None]) & (step < now[part, None])
            key = np.where(usable, (step + 1) * slots.total + candidate, -1).max(axis=1)
            best[part] = np.where(key >= 0, key % slots.total, -2)
        return best

    def same_cell(wanted: Bool) -> Int64:
        earlier = np.full(len(target), -2, dtype=np.int64)
        open_ = np.flatnonzero(wanted & (p_frame > 0))
        slot = slots.at(p_frame[open_] - 1, p_row[open_], p_col[open_])
        while len(open_):
            ready = known[slot] < now[open_]
            earlier[open_[ready]] = slot[ready]
            keep = ~ready & (slot - slots.picture >= slots.lead)
            open_, slot = open_[keep], slot[keep] - slots.picture
        return earlier

    def otherwise(first: Int64, second: Int64) -> Int64:
        return np.where(first >= 0, first, second)

    always = np.ones(len(target), dtype=np.bool_)
    line = np.arange(slots.w)
    in_row = newest(slots.at(p_frame, p_row, np.zeros_like(p_row)), line, always)
    picture = (np.arange(slots.h)[:, None] * slots.line + line).ravel()
    lacking = in_row < 0
    in_frame = newest(slots.at(p_frame, np.zeros_like(p_row), np.zeros_like(p_row)), picture, lacking)
    latest = otherwise(in_row, in_frame)
    latest = otherwise(latest, same_cell(latest < 0))
    match plan.policies.proxy:
        case "latest":
            return latest
        case "prompt":
            return slots.at(np.zeros_like(p_row), p_row, p_col) if plan.layout.prompt_frames else latest * 0 - 2
        case "previous-frame":
            return otherwise(same_cell(always), latest)
        case "above":
            up = slots.at(np.where(row > 0, frame, frame - 1), np.where(row > 0, row - 1, 0), col)
            exists = (row > 0) | (frame > 0)
            ready = exists & (known[np.where(exists, up, 0)] < now)
            return np.where(ready, up, latest)
        case _:
            inner = (p_frame == frame) & (p_row > 0)
            above = slots.at(p_frame, p_row - 1, np.zeros_like(p_row))
            # Within the row above, only up to the predecessor's column.
            upto = np.where(inner, above + p_col, -1)
            best = np.full(len(target), -2, dtype=np.int64)
            for c in range(slots.w):
                slot = np.where(inner, above + c, 0)
                better = inner & (slot <= upto) & (known[slot] < now)
                better &= (best < 0) | (known[slot] >= known[np.maximum(best, 0)])
                best = np.where(better, slot, best)
            best = np.where(p_frame != frame, same_cell(p_frame != frame), best)
            return otherwise(best, latest)


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
