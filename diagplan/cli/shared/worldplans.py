"""From the options of ``generate`` to the plan of a world model, and to the text that it reads."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diagplan.cli.shared.requests import ScheduleOption, policies_from_options, schedule_from_options
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout

if TYPE_CHECKING:
    from diagplan.worlds import World

__all__ = ["extent", "plan_for", "read_plan_for", "read_text", "require_text_options"]


def plan_for(
    world: "World",
    actions: NDArray[np.int64] | None,
    frames: int | None,
    prompt_frames: int | None,
    keep: int | None,
    *,
    policies: str,
    k: int | None,
    d: int | None,
) -> Plan | Rollout:
    """The plan that the options ask for; that of a window that slides where frames go beyond the context.

    Args:
        world: the world model.
        actions: the blocks that are there; ``None``: the world knows none.
        frames: to generate; ``None``: as many as context and actions allow.
        prompt_frames: given; ``None``: as the world has it.
        keep: frames that a window keeps; ``None``: none slides, unless the world's release has it so.
        policies: name of a bundle.
        k: row delay of diagonal decoding; ``None``: next-token.
        d: frame delay.

    Raises:
        SpecError: the options do not fit the world or each other.
    """
    from diagplan.worlds.generation import compile_for, require_actions, roll_for

    given = prompt_frames or world.prompt_frames
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
    chosen = policies_from_options(policies, proxy=None, row_end=None, proxy_kv=None, visibility=None)
    name: ScheduleOption | None = None if k is not None else "next-token"
    timing = schedule_from_options(layout, policies, name=name, k=k, d=d, window=None, order=None)
    if window is not None:
        return roll_for(world, frames, timing, keep=window.prompt_frames, prompt_frames=given, policies=chosen)
    return compile_for(world, frames, timing, prompt_frames=given, policies=chosen)


def read_plan_for(world: "World", actions: NDArray[np.int64] | None, path: Path) -> Plan:
    """The plan of a file.

    Raises:
        MismatchError: it is not for this world, or for more frames than there are actions.
        DocumentError: as ``read_plan``.
    """
    from diagplan.schemas.files import read_plan
    from diagplan.worlds.generation import require_actions, require_layout

    plan = read_plan(path)
    require_layout(world, plan)
    if world.block:
        require_actions(actions, plan.layout.prompt_frames, plan.layout.frames)
    return plan


def extent(world: "World", plan: Plan | Rollout) -> tuple[int, int]:
    """Frames of pixels that are given, and these together with the generated ones."""
    whole = plan.layout if isinstance(plan, Plan) else plan
    return world.pictures(whole.prompt_frames), world.pictures(whole.prompt_frames + whole.frames)


def require_text_options(world: "World", context: Path | None, text: str | None, encoder: Path | None) -> None:
    """Check what leads a Video2World model, before anything is computed.

    Raises:
        SpecError: features and a text, a text without its encoder or the reverse, a text for a model that reads none,
            or none for one that does.
    """
    if context is not None and (text is not None or encoder is not None):
        raise SpecError("expected --context, or --text and --text-encoder, got both. Give one of them.")
    if (text is None) != (encoder is None):
        raise SpecError(
            "expected --text and --text-encoder together, got one of them. The encoder is a local folder of T5-11B, "
            "which Google publishes on Hugging Face as google-t5/t5-11b."
        )
    if text is not None and not world.reads_text:
        raise SpecError(f"expected --text with a Video2World model, got it with {world.name}. Leave it out.")
    if text is None:
        world.require_text()


def read_text(world: "World", text: str, encoder: Path, *, dtype: str) -> "World":
    """The same world, led by a text.

    Raises:
        DocumentError, MissingExtraError: as ``encode_text``.
    """
    import torch

    from diagplan.adapters.cosmos_text import encode_text

    device = world.source.options.device
    return world.with_text(encode_text(text, encoder, device=device, dtype=getattr(torch, dtype)))
