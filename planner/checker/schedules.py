"""What a schedule's name promises: the fields beside it, the delays in force, the steps, and the step of every cell.

All that the checker knows of schedules by name stands here, written from the specification alone.
"""

import numpy as np
from numpy.typing import NDArray

from diagplan.planner import formulas
from diagplan.planner.checker.slots import Slots
from diagplan.planner.plan import Plan

__all__ = ["closed_form", "fields_absent", "named_delays", "named_steps"]

Int64 = NDArray[np.int64]

#: What a schedule of that name does not have.
_ABSENT = {
    "next-token": ("k", "d"),
    "zipar": ("d",),
    "zipar-llamagen": ("d",),
    "imported": ("k", "d", "k_in_force", "d_in_force"),
}


def fields_absent(plan: Plan) -> tuple[str, ...]:
    """The fields of the schedule that its name leaves no room for."""
    return _ABSENT.get(plan.schedule.name, ())


def named_delays(plan: Plan) -> tuple[int, int] | None:
    """(k', d'), the delays in force on the plan's grid; ``None`` for the names ``imported`` and ``custom``.

    A schedule that needs a row delay must have one.
    """
    schedule, layout = plan.schedule, plan.layout
    if schedule.name in ("imported", "custom"):
        return None
    if schedule.name == "next-token":
        return layout.cols, layout.rows * layout.cols
    assert schedule.k is not None
    k = formulas.row_delay(schedule.k, layout.cols)
    if schedule.name == "zipar-llamagen":
        return k, formulas.zipar_llamagen_steps(1, layout.rows, layout.cols, k)
    return k, formulas.frame_delay(schedule.d, layout.rows, layout.cols, k)


def closed_form(plan: Plan) -> int:
    """The number of steps of the named schedule, before any width cap; for ``custom`` the plan's own."""
    schedule, layout = plan.schedule, plan.layout
    if schedule.name == "custom":
        return plan.steps
    if schedule.name == "imported":
        return max(schedule.order or (0,)) + 1
    if schedule.name == "next-token":
        return layout.frames * layout.rows * layout.cols
    assert schedule.k is not None
    if schedule.name == "zipar-llamagen":
        return formulas.zipar_llamagen_steps(layout.frames, layout.rows, layout.cols, schedule.k)
    return formulas.total_steps(layout.frames, layout.rows, layout.cols, schedule.k, schedule.d)


def named_steps(plan: Plan, given: NDArray[np.bool_], known: NDArray[np.integer]) -> Int64 | None:
    """The step in which the named schedule chooses each position's token, before any width cap.

    Args:
        plan: a plan whose positions are those of its layout.
        given: the given positions, bool [positions].
        known: the step in which the plan chooses each token, [positions]: what ``custom`` promises.

    Returns:
        int64 [positions], -1 for given positions; ``None`` where the schedule's fields are not usable (rule DP501
        says so).
    """
    schedule = plan.schedule
    steps = np.full(plan.positions, -1, dtype=np.int64)
    generated = np.flatnonzero(~given)
    if schedule.name == "custom":
        return known.astype(np.int64)
    if schedule.name == "imported":
        if schedule.order is None or len(schedule.order) != len(generated):
            return None
        steps[generated] = schedule.order
        return steps
    if schedule.k_in_force is None or schedule.d_in_force is None:
        return None
    slots = Slots(plan)
    row = slots.row(generated)
    frame = slots.frame(generated) - plan.layout.prompt_frames
    steps[generated] = frame * schedule.d_in_force + row * schedule.k_in_force + slots.col(generated)
    if schedule.name == "zipar-llamagen":
        steps[generated] += np.where(row > 0, slots.w - schedule.k_in_force, 0)
    return steps
