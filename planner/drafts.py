"""The first guess of a slot whose token no pass has chosen yet (``Speculation.draft``): the token of another slot."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Int32
from diagplan.planner.plan import Plan
from diagplan.planner.speculation import DraftName, Speculation, deciders, draft_schedule
from diagplan.planner.training_plan import TrainingPlan

__all__ = ["NO_DRAFT", "draft_plan", "draft_sources"]

#: Marks a slot for which there is no other slot to draft from.
NO_DRAFT = -1

_CHUNK = 1 << 22  # pairs of cells looked at together


class _Cells:
    """The grid, prompt frames first, and for n generated cells, one a slot, where they are.

    Attributes:
        slots: int32 [P + T, h, w].
        order: per slot the entry that chooses it, -1 for a given one, int32 [positions].
        frame, row, col: of the n cells, [n].
    """

    def __init__(self, plan: Plan, entries: TrainingPlan, window: int) -> None:
        self.plan, self.entries, self.window = plan, entries, window
        self.slots = plan.layout.cell_slots(prompt=True)
        self.order = deciders(entries)
        cells = np.indices(self.slots.shape)[:, plan.layout.prompt_frames :]
        self.frame, self.row, self.col = cells.reshape(3, -1)

    @property
    def own(self) -> Int32:
        """The slots of the n cells."""
        slots: Int32 = self.slots[self.frame, self.row, self.col]
        return slots

    def at(self, frame: NDArray[np.intp], row: NDArray[np.intp], col: NDArray[np.intp]) -> Int32:
        """The slots of other cells, where they exist and are decided earlier; else ``NO_DRAFT``."""
        exists = (frame >= 0) & (row >= 0) & (col >= 0)
        slot = self.slots[np.where(exists, frame, 0), np.where(exists, row, 0), np.where(exists, col, 0)]
        return self.earlier(np.where(exists, slot, NO_DRAFT).astype(np.int32))

    def earlier(self, slot: Int32) -> Int32:
        """The same slots, those not decided before the n cells left out."""
        usable = (slot >= 0) & (self.order[slot] < self.order[self.own])
        return np.where(usable, slot, NO_DRAFT).astype(np.int32)


def _previous_frame(cells: _Cells) -> Int32:
    return cells.at(cells.frame - 1, cells.row, cells.col)


def _above(cells: _Cells) -> Int32:
    return cells.at(cells.frame, cells.row - 1, cells.col)


def _left(cells: _Cells) -> Int32:
    return cells.at(cells.frame, cells.row, cells.col - 1)


def _nearest(cells: _Cells) -> Int32:
    """The nearest cell of this frame or the one before, of those decided a window before; the newest of equals."""
    frames, rows, cols = cells.slots.shape
    row, col = (axis.ravel() for axis in np.indices((rows, cols)))
    order = cells.order[cells.slots].reshape(frames, -1)
    own = cells.order[cells.own]
    best = np.full(len(own), NO_DRAFT, dtype=np.int32)
    for lo in range(0, len(own), max(1, _CHUNK // len(row))):
        part = slice(lo, lo + max(1, _CHUNK // len(row)))
        near = np.abs(row - cells.row[part, None]) + np.abs(col - cells.col[part, None])
        least = np.full(len(near), np.iinfo(np.int64).max)
        for back in (0, 1):
            frame = np.maximum(cells.frame[part] - back, 0)
            when = order[frame]  # [n, h w]
            usable = (when < own[part, None] - cells.window) | (when < 0)
            usable &= (cells.frame[part] >= back)[:, None]
            cost = np.where(usable, ((near + back) << 32) - when, np.iinfo(np.int64).max)
            place = cost.argmin(axis=1)
            better = cost[np.arange(len(cost)), place] < least
            least = np.minimum(least, cost.min(axis=1))
            best[part] = np.where(better, cells.slots.reshape(frames, -1)[frame, place], best[part])
    return best


def _proxies(cells: _Cells) -> Int32:
    """What the plan feeds at a slot's position before its token is known."""
    entries = cells.entries
    stands_in = np.full(entries.positions, NO_DRAFT, dtype=np.int32)
    proxy = np.flatnonzero(entries.source != entries.position)[::-1]  # of several the first
    stands_in[entries.position[proxy]] = entries.source[proxy]
    return cells.earlier(stands_in[cells.own])


_LAST = (_previous_frame, _above, _left)
_SEARCHES: dict[DraftName | str, tuple[Callable[[_Cells], Int32], ...]] = {
    "previous-frame": _LAST,
    "above": (_above, *_LAST),
    "left": (_left, *_LAST),
    "nearest": (_nearest, *_LAST),
    "proxies": (_proxies, *_LAST),
    "none": (),
}


def draft_plan(plan: Plan, speculation: Speculation) -> Plan | None:
    """The plan that is replayed first, for first guesses; ``None``: there is none.

    Args:
        plan: that is to be replayed speculatively.
        speculation: names the draft.

    Raises:
        SpecError: a draft's plan that the layout does not allow, or one of another layout.

    >>> from diagplan.planner.layout import Layout
    >>> from diagplan.planner.schedule import NextToken
    >>> plan = compile_plan(Layout(frames=1, rows=3, cols=4, lead=1), NextToken())
    >>> draft_plan(plan, Speculation(window=6, draft="plan:k=1")).steps
    6
    """
    if isinstance(speculation.draft, Plan):
        if speculation.draft.layout != plan.layout:
            raise SpecError(
                "expected a draft's plan of the same layout, got one of another. Compile it for the layout of the plan."
            )
        return speculation.draft
    schedule = draft_schedule(speculation.draft)
    return None if schedule is None else compile_plan(plan.layout, schedule)


def draft_sources(plan: Plan, entries: TrainingPlan, speculation: Speculation) -> Int32:
    """The slot whose token, or present guess, is the first guess of each slot; ``NO_DRAFT`` for none.

    Args:
        plan: a valid plan.
        entries: its entries, from ``plan_entries``.
        speculation: names the draft.

    Returns:
        slots, int32 [positions]; each is given, or decided by an earlier entry than the slot itself. None under a
        draft's plan, which guesses all before.

    >>> from diagplan.planner.compiler import compile_plan
    >>> from diagplan.planner.layout import Layout
    >>> from diagplan.planner.schedule import NextToken
    >>> from diagplan.planner.speculation import plan_entries
    >>> plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), NextToken())
    >>> draft_sources(plan, plan_entries(plan), Speculation(window=4)).tolist()  # an image: from above, then the left
    [-1, -1, 1, 2, 1, 2, 3]
    """
    cells = _Cells(plan, entries, speculation.window)
    drafts = np.full(plan.positions, NO_DRAFT, dtype=np.int32)
    for search in () if isinstance(speculation.draft, Plan) else _SEARCHES.get(speculation.draft, ()):
        drafts[cells.own] = np.where(drafts[cells.own] == NO_DRAFT, search(cells), drafts[cells.own])
    return drafts
