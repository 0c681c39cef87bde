"""What a plan says, read for people: the step of every cell, the feeds of a step, what one query sees.

Everything is read from the feeds and bounded by the layout, never from the schedule: the plan may come from
elsewhere and be wrong. What cannot be drawn is said in words (``problems``, ``why_not``); nothing here fails on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.layout import MAX_POSITIONS, Layout
from diagplan.planner.lowering import prefill_feeds
from diagplan.planner.masks import step_mask
from diagplan.planner.plan import Plan

__all__ = [
    "FeedKind",
    "Query",
    "Readout",
    "Sight",
    "StepFeeds",
    "check_frames",
    "feed_of_query",
    "frames_of_step",
    "query",
    "read_out",
    "step_feeds",
]

FeedKind = Literal["predictor", "proxy", "given", "late", "padding"]

_MASK_BITS = 1 << 29  # the largest step mask that is expanded for one drawing

Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """When the plan generates each cell, and how wide its steps are.

    Args:
        plan: the plan that was read.
        offsets: ``plan.step_offsets`` made to rise within the feeds, int64 [S + 1].
        steps: the first step that generates each cell, int32 [T, h, w]; -1: none does.
        widths: feeds of each step without padding and without the prompt's prefill, int64 [S].
        prefill: feeds of step 0 that only write the prompt.
        padding: padding feeds of all steps.
        problems: what is wrong with the plan as far as a drawing shows it, one sentence each.
    """

    plan: Plan
    offsets: NDArray[np.int64]
    steps: Int32
    widths: NDArray[np.int64]
    prefill: int
    padding: int
    problems: tuple[str, ...]

    @property
    def speed_up(self) -> float:
        """Passes of next-token decoding over passes of this plan."""
        return self.plan.layout.tokens / max(1, self.plan.steps)


def _cell_of(layout: Layout) -> Int32:
    """Slot -> raster index of the generated cell, int32 [positions]; -1 for given slots."""
    cell = np.full(layout.positions, -1, dtype=np.int32)
    cell[layout.cell_slots().ravel()] = np.arange(layout.tokens, dtype=np.int32)
    return cell


def _within(slots: Int32, size: int) -> NDArray[np.bool_]:
    return np.asarray((slots >= 0) & (slots < size))


def read_out(plan: Plan) -> Readout:
    """Read the steps of the cells and the widths of the steps from the feeds."""
    layout, problems = plan.layout, []
    offsets = np.clip(np.maximum.accumulate(plan.step_offsets), 0, plan.feeds)
    if not np.array_equal(offsets, plan.step_offsets):
        problems.append("the step offsets do not rise")
    step_of = np.repeat(np.arange(plan.steps, dtype=np.int32), np.diff(offsets))
    real = plan.source >= 0
    emits = plan.target >= 0
    inside = emits & real & (plan.target < layout.positions)
    cell = np.full(plan.feeds, -1, dtype=np.int32)
    cell[inside] = _cell_of(layout)[plan.target[inside]]
    drawn = cell >= 0
    never = np.iinfo(np.int32).max
    first = np.full(layout.tokens, never, dtype=np.int32)
    np.minimum.at(first, cell[drawn], step_of[drawn])
    times = np.bincount(cell[drawn], minlength=layout.tokens)
    _count(problems, int(np.count_nonzero(times == 0)), "cell is", "cells are", "never generated")
    _count(problems, int(np.count_nonzero(times > 1)), "cell is", "cells are", "generated more than once")
    wild = real & ~(
        _within(plan.source, layout.positions)
        & _within(plan.position, layout.positions)
        & _within(plan.slot, plan.cache_slots)
    )
    wild |= emits & ~drawn
    _count(
        problems, int(np.count_nonzero(wild)), "feed names", "feeds name", "a slot that does not exist or is not theirs"
    )
    prefill = prefill_feeds(plan) if plan.steps and plan.given.ndim == 2 else 0
    widths = np.bincount(step_of[real], minlength=plan.steps).astype(np.int64)
    widths[:1] = np.maximum(widths[:1] - prefill, 0)
    return Readout(
        plan=plan,
        offsets=offsets,
        steps=np.where(first == never, -1, first).reshape(layout.frames, layout.rows, layout.cols).astype(np.int32),
        widths=widths,
        prefill=prefill,
        padding=int(np.count_nonzero(~real)),
        problems=tuple(problems),
    )


def _count(problems: list[str], number: int, one: str, many: str, rest: str) -> None:
    if number:
        problems.append(f"{number} {one if number == 1 else many} {rest}")


def check_frames(layout: Layout, frames: Sequence[int] | None) -> list[int]:
    """The frames to show in rising order; ``None``: all generated ones.

    Raises:
        SpecError: no frame is named, or one that the plan does not generate.
    """
    if frames is None:
        return list(range(layout.frames))
    wrong = [frame for frame in frames if not 0 <= frame < layout.frames]
    if wrong or not len(frames):
        got = f"frame={wrong[0]}" if wrong else "none"
        raise SpecError(f"expected frames from 0 to {layout.frames - 1}, got {got}. The plan generates these only.")
    return sorted(set(frames))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFeeds:
    """The feeds of one step, in order, with what each does.

    Args:
        first: the number of the first feed in the plan.
        source, position, slot, target: the columns of these feeds, int32 [n].
        kinds: [n]; ``predictor``: its own token goes in and a token is chosen; ``proxy``: another token stands in;
            ``given``: a given token is written; ``late``: a generated token is written; ``padding``.
    """

    first: int
    source: Int32
    position: Int32
    slot: Int32
    target: Int32
    kinds: tuple[FeedKind, ...]

    def which(self, kind: FeedKind) -> NDArray[np.intp]:
        """The numbers of the feeds of one kind."""
        return np.flatnonzero(np.array([each == kind for each in self.kinds], dtype=np.bool_))


def frames_of_step(
    layout: Layout, feeds: StepFeeds, chosen: int | None, frames: Sequence[int] | None, most: int
) -> tuple[int, ...]:
    """The frames to show for a step, counted from the first prompt frame: the asked ones, or all, or those in use.

    The first and the last prompt frame are always there: proxies come from them.
    """
    prompt, size = layout.prompt_frames, layout.rows * layout.cols
    ends = sorted({0, prompt - 1}) if prompt else []
    if frames is not None:
        return (*ends, *(prompt + frame for frame in frames))
    if prompt + layout.frames <= most:
        return tuple(range(prompt + layout.frames))
    slots = layout.cell_slots(prompt=True).ravel()
    proxies = feeds.which("proxy")
    used = np.concatenate([feeds.target, feeds.source[proxies], feeds.position[proxies]])
    if chosen is not None:
        used = np.append(used, feeds.position[chosen])
    index = np.minimum(np.searchsorted(slots, used), len(slots) - 1)
    busy = np.unique(index[slots[index] == used] // size).tolist()
    first = min((frame for frame in busy if frame >= prompt), default=prompt)
    kept = sorted({frame for frame in (first - 1, first, *busy) if frame >= prompt})
    return (*ends, *kept[: max(1, most - len(ends))])


def step_feeds(readout: Readout, step: int) -> StepFeeds:
    """The feeds of one step.

    Raises:
        SpecError: the plan has no such step.
    """
    plan = readout.plan
    if not 0 <= step < plan.steps:
        numbers = f"a step from 0 to {plan.steps - 1}" if plan.steps else "no step"
        raise SpecError(f"expected {numbers}, got step={step}. The plan has {plan.steps} steps.")
    part = slice(*readout.offsets[step : step + 2].tolist())
    source, position, slot, target = (column[part] for column in (plan.source, plan.position, plan.slot, plan.target))
    cell = _cell_of(plan.layout)
    generated = _within(position, len(cell))
    generated[generated] = cell[position[generated]] >= 0
    number = np.select([source < 0, source != position, target >= 0, generated], [0, 1, 2, 3], 4)
    names: tuple[FeedKind, ...] = ("padding", "proxy", "predictor", "late", "given")
    kinds = tuple(names[value] for value in number.tolist())
    return StepFeeds(first=part.start, source=source, position=position, slot=slot, target=target, kinds=kinds)


class Sight(IntEnum):
    """What a query sees of a position's keys and values."""

    UNWRITTEN = 0
    UNSEEN = 1
    SEEN = 2
    ZEROS = 3  # seen though never written (visibility "causal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The mask row of one feed, by positions.

    Args:
        feed: the feed's number within its step.
        sight: a ``Sight`` for every position of the layout, uint8 [positions].
        why_not: why the row cannot be drawn; then ``sight`` is all ``UNWRITTEN``. Empty if it can.
    """

    feed: int
    sight: NDArray[np.uint8]
    why_not: str


def feed_of_query(feeds: StepFeeds, step: int, feed: int | None) -> int | None:
    """The feed to show: the one asked for, else the last with a target, else the last that is no padding.

    Raises:
        SpecError: the step has no such feed.
    """
    number = len(feeds.source)
    if feed is not None:
        if not 0 <= feed < number:
            raise SpecError(
                f"expected a feed from 0 to {number - 1}, got feed={feed}, at step {step}. "
                "Feeds are counted within their step."
                if number
                else f"expected a step with feeds, got feed={feed}, at step {step}. The step is empty."
            )
        return feed
    for choice in (np.flatnonzero((feeds.target >= 0) & (feeds.source >= 0)), np.flatnonzero(feeds.source >= 0)):
        if len(choice):
            return int(choice[-1])
    return None


def query(plan: Plan, feeds: StepFeeds, step: int, feed: int) -> Query:
    """What one feed of a step sees, by positions (cache slots are mapped back to the positions they hold)."""
    sight = np.zeros(plan.layout.positions, dtype=np.uint8)
    last = feeds.first + len(feeds.source)
    why_not = _why_no_mask(plan, step, last, len(feeds.source))
    row = np.zeros(0, dtype=np.bool_)
    if not why_not:
        try:
            row = step_mask(plan, step)[feed]
        except (IndexError, ValueError, MemoryError):
            why_not = "its mask rows are damaged"
    if why_not:
        return Query(feed=feed, sight=sight, why_not=why_not)
    real = np.flatnonzero(plan.source[:last] >= 0)
    home = np.full(plan.positions, -1, dtype=np.int64)  # position -> slot of its newest write
    owner = np.full(plan.cache_slots, -1, dtype=np.int64)  # slot -> position written there last
    home[plan.position[real]] = plan.slot[real]
    owner[plan.slot[real]] = plan.position[real]
    holder = np.flatnonzero(home >= 0)
    holder = holder[owner[home[holder]] == holder]
    holder = holder[holder < len(sight)]
    sight[holder] = np.where(row[home[holder]], Sight.SEEN, Sight.UNSEEN)
    if plan.policies.visibility != "written":
        # NOTE: why not for "written" too? An unwritten slot has a position only where slots are positions.
        blank = np.flatnonzero(home[: len(sight)] < 0)
        blank = blank[blank < plan.cache_slots]
        sight[blank[(owner[blank] < 0) & row[blank]]] = Sight.ZEROS
    return Query(feed=feed, sight=sight, why_not="")


def _why_no_mask(plan: Plan, step: int, last: int, feeds: int) -> str:
    if plan.positions > MAX_POSITIONS or plan.cache_slots > 1 << 27 or feeds * plan.cache_slots > _MASK_BITS:
        return "the step has too many mask bits"
    raw = plan.step_offsets[step : step + 2].tolist()
    if raw != [last - feeds, last]:
        return "its step offsets are damaged"
    position, slot = plan.position[:last], plan.slot[:last]
    if not (_within(position, plan.positions).all() and _within(slot, plan.cache_slots).all()):
        return "a feed up to this step names a slot that does not exist"
    if np.any(np.diff(plan.listed.feed) <= 0):
        return "its listed mask rows are out of order"
    return ""
