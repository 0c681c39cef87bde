"""From what is asked of a world to its plan: frames, a schedule, a window that slides beyond the context."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.rollout import Rollout
from diagplan.planner.schedule import NextToken, Schedule
from diagplan.schemas.files import read_plan
from diagplan.worlds.generation import compile_for, require_actions, require_layout, require_world, roll_for
from diagplan.worlds.world import World

__all__ = ["plan_for", "read_plan_for"]


def plan_for(
    world: World,
    actions: NDArray[np.int64] | None = None,
    *,
    frames: int | None = None,
    prompt_frames: int | None = None,
    keep: int | None = None,
    schedule: Schedule | Callable[[Layout], Schedule] | None = None,
    policies: Policies | None = None,
) -> Plan | Rollout:
    """The plan of frames of a world; that of a window that slides where they go beyond the context.

    Args:
        world: the world model; frames are counted in pixels.
        actions: the blocks that are there, int64 [n, block]; ``None`` where the world knows none.
        frames: to generate; ``None``: as many as context and actions allow.
        prompt_frames: given; ``None``: as the world has it.
        keep: frames that a window keeps; ``None``: none slides, unless the world's release has it so.
        schedule: of a clip or of each window, or a function that is asked for it with the layout; ``None``: next-token
            prediction.
        policies: of proxies and their cache slots; the defaults if left out.

    Raises:
        SpecError: numbers that do not fit the world or each other, or a schedule that does not fit the layout.
        MismatchError: too few actions.

    >>> plan_for(load_world("crafter-mini"), blocks, frames=3, schedule=Diagonal(k=2)).steps  # doctest: +SKIP
    84
    """
    require_world(world)
    require_kind(
        "actions", actions, np.ndarray | None, "Read a file of actions with world.read_actions(path).", what="an array"
    )
    if frames is not None:
        frames = require_int("frames", frames, 1)
    given = world.prompt_frames if prompt_frames is None else require_int("prompt_frames", prompt_frames, 1)
    kept = world.keeps if keep is None else world.window(keep).prompt_frames
    room = world.context_frames - given
    led = room if actions is None else len(actions) + 1 - given
    if frames is None:
        frames = led if kept is not None else min(room, led)
    if frames < 1:
        more = "Give more actions or fewer prompt frames." if world.block else "Give fewer prompt frames."
        raise SpecError(
            f"expected room for a frame after {given} prompt frames, got {0 if actions is None else len(actions)} "
            f"actions and a context of {world.context_frames} frames. {more}"
        )
    window = None if kept is None or frames <= room else world.window(kept)
    layout = window or world.layout(frames, given)
    if world.block:
        require_actions(actions, given, frames)
    timing = NextToken() if schedule is None else schedule(layout) if callable(schedule) else schedule
    if window is not None:
        return roll_for(world, frames, timing, keep=window.prompt_frames, prompt_frames=given, policies=policies)
    return compile_for(world, frames, timing, prompt_frames=given, policies=policies)


def read_plan_for(world: World, actions: NDArray[np.int64] | None, path: str | Path) -> Plan:
    """The plan of a file.

    Args:
        world: that it must be for.
        actions: as for ``plan_for``.
        path: as for ``read_plan``.

    Raises:
        MismatchError: it is not for this world, or for more frames than there are actions.
        DocumentError: as ``read_plan``.
    """
    plan = read_plan(path)
    require_layout(world, plan)
    if world.block:
        require_actions(actions, plan.layout.prompt_frames, plan.layout.frames)
    return plan
