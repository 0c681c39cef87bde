"""The main job: frames and actions in, frames out. Tokens, plan, replay, tokens; each frame as soon as it is known."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.errors import MismatchError
from diagplan.backends.sampling import Sampler
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Schedule
from diagplan.runtime import replay
from diagplan.worlds import World

__all__ = ["Generated", "compile_for", "generate", "prompt_tokens", "require_frames", "require_layout"]


class Generated(NamedTuple):
    """What came out.

    Attributes:
        frames: uint8 [T, height, width, 3].
        tokens: int64 [T, rows, cols].
        seconds: of the replay, without loading and without the image tokenizer.
        tokenizer_seconds: of encoding the prompt and decoding the frames.
    """

    frames: NDArray[np.uint8]
    tokens: NDArray[np.int64]
    seconds: float
    tokenizer_seconds: float


def compile_for(
    world: World, frames: int, schedule: Schedule, *, prompt_frames: int = 1, policies: Policies | None = None
) -> Plan:
    """The plan of ``frames`` generated frames of a world.

    Raises:
        SpecError: more frames than the model's context.
    """
    return compile_plan(world.layout(frames, prompt_frames), schedule, policies)


def prompt_tokens(world: World, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Tokens int64 [F, rows, cols] of frames uint8 [F, height, width, 3] of any size; they are cut to the model's."""
    from diagplan.video.frames import fit

    return world.tokenizer.encode(np.stack([fit(frame, world.height, world.width) for frame in frames]))


def generate(
    world: World,
    prompt: NDArray[np.uint8],
    actions: NDArray[np.int64],
    plan: Plan,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
    on_frame: Callable[[int, NDArray[np.uint8]], None] | None = None,
) -> Generated:
    """Roll a world forward.

    Args:
        world: from ``load_world``.
        prompt: the F prompt frames, uint8 [F, height, width, 3], of any size.
        actions: blocks int64 [at least F - 1 + T, n]; block i leads from frame i to frame i + 1. More are left out.
        plan: for the world's layout of F and T frames.
        sampler: as for ``replay``.
        seed: as for ``replay``.
        on_frame: called with a frame's number and picture, uint8 [height, width, 3], as soon as it is known.

    Raises:
        MismatchError: plan, prompt, actions and world do not fit together.
        SpecError, InvalidPlanError, NumericError, CapacityError: as ``replay``.
    """
    layout = plan.layout
    require_layout(world, plan)
    if len(prompt) != layout.prompt_frames:
        raise MismatchError(f"expected {layout.prompt_frames} prompt frames, got {len(prompt)}.")
    needed = layout.prompt_frames - 1 + layout.frames
    if len(actions) < needed:
        raise MismatchError(
            f"expected {needed} actions for {layout.prompt_frames} given and {layout.frames} generated frames, "
            f"got {len(actions)}. Give more actions, or ask for fewer frames."
        )
    began = time.perf_counter()
    given = prompt_tokens(world, prompt)
    tokenizer_seconds = time.perf_counter() - began
    pictures: list[NDArray[np.uint8]] = []
    shown = 0.0

    def decode(number: int, tokens: NDArray[np.int64]) -> None:
        nonlocal shown
        start = time.perf_counter()
        picture = world.tokenizer.decode(tokens[:1])[0]
        pictures.append(picture)
        if on_frame is not None:
            on_frame(number, picture)
        shown += time.perf_counter() - start

    began = time.perf_counter()
    tokens = replay(plan, world.model, given, actions[:needed], sampler=sampler, seed=seed, on_frame=decode)[0]
    seconds = time.perf_counter() - began - shown
    return Generated(np.stack(pictures), tokens, seconds, tokenizer_seconds + shown)


def require_layout(world: World, plan: Plan) -> None:
    """Raise ``MismatchError`` unless a plan is for a world's layout, with a prompt frame at least."""
    layout = plan.layout
    if layout.prompt_frames < 1 or layout != world.layout(layout.frames, layout.prompt_frames):
        raise MismatchError(
            f"expected a plan for {world.name}'s layout, {world.layout(1, 1)} or with more frames, got {layout}. "
            "Compile one for it."
        )


def require_frames(frames: Sequence[NDArray[np.uint8]], wanted: int, source: object) -> None:
    """Raise ``SpecError`` unless a video has so many frames."""
    if len(frames) < wanted:
        raise SpecError(f"expected at least {wanted} frames, got {len(frames)} in {source}. Give fewer prompt frames.")
