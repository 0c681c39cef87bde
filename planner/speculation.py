"""Speculative replay as data: how many of a plan's entries one pass feeds ahead of what is known, and what it guesses.

A plan's *entries* are its real feeds in the order of steps, within a step of positions: entry e sees earlier entries
and itself only. A pass feeds a run of them. Tokens that are not known yet are guessed, the longest prefix that was fed
right tokens is accepted, and what the pass chose behind it are the next guesses. The tokens are those of replay step by
step, whatever was guessed; docs/exact.md says why.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Int32, store_int
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, Schedule, ZipAR
from diagplan.planner.shown import shown
from diagplan.planner.training_plan import TrainingPlan, training_plan

__all__ = [
    "Draft",
    "DraftName",
    "Speculation",
    "deciders",
    "draft_schedule",
    "frame_borders",
    "most_passes",
    "plan_entries",
    "prompt_entries",
    "widest_step",
]

DraftName = Literal["previous-frame", "above", "left", "nearest", "proxies", "none"]
#: What gives first guesses: another slot, by name; or a plan that is replayed first, ``plan:k=1``, or the plan itself.
Draft = DraftName | str | Plan

_PLAN = "plan:"
#: The largest k, d or window in the name of a plan.
_DIGITS = 6
_SCHEDULES: dict[str, Callable[[int, int | None], Schedule]] = {
    "k": lambda k, d: Diagonal(k=k, d=d),
    "zipar": lambda window, _: ZipAR(window=window),
    "zipar-llamagen": lambda window, _: ZipAR(window=window, variant="llamagen"),
}

#: The widest window: a plan's entries are not more than twice its positions.
_WIDEST = 1 << 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """How a plan is replayed speculatively. It does nothing; executors take it beside a plan.

    Args:
        window: entries that a pass feeds; the prompt's come on top in the first.
        draft: the first guess of a slot, before a pass has chosen one for it. ``previous-frame``: the same cell of the
            frame before. ``above``: the cell above. ``left``: the cell to the left. ``nearest``: the nearest cell that
            has its token when the slot enters a window. ``proxies``: what the plan itself feeds in the slot's place,
            where it does. ``none``: the first id that the slot may take. Where one finds nothing, ``previous-frame``,
            ``above`` and ``left`` follow. ``plan:k=1``, ``plan:k=1,d=5``, ``plan:zipar=2`` or
            ``plan:zipar-llamagen=2``: what that plan of the same layout gives, which is replayed step by step first;
            its passes count. Or such a plan itself, compiled.
        across_frames: whether a window goes on behind the end of a frame; not, where the tokens between frames are
            known only when the frame is.
        adaptive: whether passes are narrower than ``window`` while guesses fail.

    Raises:
        SpecError: a field is of another kind, or out of range.

    >>> Speculation(window=36).draft
    'previous-frame'
    """

    window: int
    draft: Draft = "previous-frame"
    across_frames: bool = True
    adaptive: bool = False

    def __post_init__(self) -> None:
        store_int(self, "window", 1, largest=_WIDEST)
        draft: object = self.draft
        if not isinstance(draft, Plan):
            known = isinstance(draft, str) and (draft in get_args(DraftName) or draft.startswith(_PLAN))
            if not known:
                raise SpecError(
                    f"expected draft to be one of {', '.join(get_args(DraftName))}, or a plan such as plan:k=1, "
                    f"got draft={shown(self.draft)}."
                )
            draft_schedule(self.draft)
        for field in fields(self):
            if field.type is bool or field.type == "bool":
                require_kind(field.name, getattr(self, field.name), bool, "Give one of them.", what="True or False")


def draft_schedule(draft: Draft) -> Schedule | None:
    """The schedule that a draft's name says; ``None`` where it is no plan's name.

    Raises:
        SpecError: the name of no plan.

    >>> draft_schedule("plan:k=1,d=5"), draft_schedule("above")
    (Diagonal(k=1, d=5), None)
    """
    if not isinstance(draft, str) or not draft.startswith(_PLAN):
        return None
    number = rf"0|[1-9][0-9]{{0,{_DIGITS - 1}}}"
    parts = re.fullmatch(rf"({'|'.join(_SCHEDULES)})=({number})(?:,d=({number}))?", draft.removeprefix(_PLAN))
    if parts is None or (parts[3] is not None and parts[1] != "k"):
        raise SpecError(
            f"expected a draft's plan such as plan:k=1, plan:k=1,d=5, plan:zipar=2 or plan:zipar-llamagen=2, got "
            f"draft={shown(draft)}."
        )
    return _SCHEDULES[parts[1]](int(parts[2]), None if parts[3] is None else int(parts[3]))


def plan_entries(plan: Plan) -> TrainingPlan:
    """A plan's entries, in the order of (step, position): then what an entry sees comes before it.

    Raises:
        SpecError: the plan lists mask rows that its policies do not give.
    """
    entries = training_plan(plan)
    order = np.lexsort((entries.position, entries.step))
    if (order[1:] > order[:-1]).all():
        return entries
    names = ("step", "source", "position", "slot", "target", "until", "hidden")
    return replace(entries, **{name: getattr(entries, name)[order] for name in names})


def deciders(entries: TrainingPlan) -> Int32:
    """The entry that chooses the token of each slot, -1 for a given one, int32 [positions]."""
    by = np.full(entries.positions, -1, dtype=np.int32)
    chosen = np.flatnonzero(entries.target >= 0)
    by[entries.target[chosen]] = chosen
    return by


def prompt_entries(entries: TrainingPlan) -> int:
    """How many entries come before the first one that chooses a token, all in step 0: a window does not count them."""
    in_step_0 = int(np.searchsorted(entries.step, 1))
    choosing = np.flatnonzero(entries.target[:in_step_0] >= 0)
    return int(choosing[0]) if len(choosing) else in_step_0


def most_passes(entries: TrainingPlan, window: int) -> int:
    """The passes that are enough whatever is guessed: a pass ends a step, or accepts ``window`` entries of it.

    >>> from diagplan.planner.compiler import compile_plan
    >>> from diagplan.planner.layout import Layout
    >>> from diagplan.planner.schedule import Diagonal
    >>> entries = plan_entries(compile_plan(Layout(frames=1, rows=3, cols=3, lead=1), Diagonal(k=1)))
    >>> most_passes(entries, 8), most_passes(entries, 1)  # its steps; its entries
    (5, 11)
    """
    return int(np.maximum(1, -(-_widths(entries) // window)).sum())


def widest_step(entries: TrainingPlan) -> int:
    """Entries of the widest step, the prompt apart: with such a window a plan takes its own passes at most."""
    return max(1, int(_widths(entries).max()))


def _widths(entries: TrainingPlan) -> NDArray[np.intp]:
    widths = np.bincount(entries.step, minlength=entries.steps)
    widths[0] -= prompt_entries(entries)
    return widths


def frame_borders(plan: Plan, entries: TrainingPlan) -> NDArray[np.intp]:
    """The entries before which all chosen tokens are of earlier frames than all behind, first of a step each."""
    frame_of = np.full(plan.positions, -1, dtype=np.int64)
    frame_of[plan.layout.cell_slots()] = np.arange(plan.layout.frames)[:, None, None]
    chooses = entries.target >= 0
    frame = frame_of[entries.target]
    before = np.maximum.accumulate(np.where(chooses, frame, -1))
    behind = np.minimum.accumulate(np.where(chooses, frame, plan.layout.frames)[::-1])[::-1]
    first = np.flatnonzero(np.diff(entries.step)) + 1
    return first[before[first - 1] < behind[first]]
