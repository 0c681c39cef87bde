"""The main job: frames and actions in, frames out. Tokens, plan, replay, tokens; each frame as soon as it is known."""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.arguments import require_callbacks, require_sampler
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import batched, given_slots
from diagplan.backends.measured import SpeculationChoice, settled_speculation
from diagplan.backends.prepared import prepare
from diagplan.backends.promise import Promise, promise_of
from diagplan.backends.rolled_check import check_rolled
from diagplan.backends.rolling import roll
from diagplan.backends.sampling import Sampler
from diagplan.backends.speculative import Speculated
from diagplan.backends.teacher_check import TeacherCheck, teacher_check
from diagplan.models.loading import replay_ids
from diagplan.planner.arguments import named_briefly, require_kind
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.rollout import Rollout, compile_rollout
from diagplan.planner.schedule import Schedule
from diagplan.planner.speculation import Speculation
from diagplan.worlds.world import World

__all__ = [
    "Generated",
    "compile_for",
    "generate",
    "prompt_tokens",
    "require_actions",
    "require_frames",
    "require_layout",
    "require_world",
    "roll_for",
]


class Generated(NamedTuple):
    """What came out.

    Attributes:
        frames: uint8 [n, height, width, 3], of the generated frames.
        tokens: int64 [T, rows, cols]; a frame of tokens may stand for several frames.
        seconds: of the replay, without loading and without the image tokenizer.
        tokenizer_seconds: of encoding the prompt and decoding the frames.
        passes: forward passes of the replay: the plan's steps, with speculation fewer.
        checked: what a teacher-forced pass says of the tokens, where it was asked for.
        speculation: how it was replayed, as asked for or as measured; ``None``: step by step.
        promise: what a probe says of the tokens' bits, where it was asked for.
    """

    frames: NDArray[np.uint8]
    tokens: NDArray[np.int64]
    seconds: float
    tokenizer_seconds: float
    passes: int
    checked: TeacherCheck | None = None
    speculation: Speculation | None = None
    promise: Promise | None = None


def compile_for(
    world: World,
    frames: int,
    schedule: Schedule,
    *,
    prompt_frames: int = 1,
    policies: Policies | None = None,
) -> Plan:
    """The plan of ``frames`` generated frames of a world, both counted in pixels.

    Raises:
        SpecError: more frames than the model's context, or arguments of another kind.
    """
    require_world(world)
    frames = require_int("frames", frames, 1)
    return compile_plan(world.layout(frames, prompt_frames), schedule, policies)


def roll_for(
    world: World,
    frames: int,
    schedule: Schedule,
    *,
    keep: int,
    prompt_frames: int = 1,
    policies: Policies | None = None,
) -> Rollout:
    """The plans of a video of any length: a window of the model's context slides and keeps ``keep`` frames.

    Raises:
        SpecError: a window that would keep nothing, or leave no room; more prompt frames than the context; a world
            whose clips are made whole; arguments of another kind.
    """
    require_world(world)
    return compile_rollout(world.window(keep), schedule, policies, frames=frames, prompt_frames=prompt_frames)


def prompt_tokens(world: World, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Tokens int64 [F, rows, cols] of frames uint8 [n, height, width, 3] of any size; they are cut to the model's."""
    from diagplan.video.frames import fit

    return world.encode(np.stack([fit(frame, world.height, world.width) for frame in frames]))


def generate(
    plan: Plan | Rollout,
    world: World,
    prompt: NDArray[np.uint8],
    actions: NDArray[np.int64] | None = None,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
    speculation: SpeculationChoice | None = None,
    check: bool = False,
    probe: bool = False,
    on_frame: Callable[[int, NDArray[np.uint8]], None] | None = None,
    on_pass: Callable[[int], None] | None = None,
) -> Generated:
    """Roll a world forward.

    The order of the arguments is that of ``replay`` and ``roll``: the plan, what runs it, what is given. Until version
    0.3 the former order, ``generate(world, prompt, actions, plan)``, is taken as well, with a warning.

    Args:
        plan: for the world's layout of F and T frames, or a rollout of its windows.
        world: from ``load_world``.
        prompt: the prompt frames, uint8 [n, height, width, 3], of any size.
        actions: blocks int64 [at least F - 1 + T, n]; block i leads from frame i to frame i + 1. More are left out.
            ``None`` for a world without actions.
        sampler: as for ``replay``.
        seed: as for ``replay``.
        speculation: as for ``replay``.
        check: whether to derive all tokens anew in a teacher-forced pass, when they are there.
        probe: with speculation, whether to probe what may be promised of the tokens.
        on_frame: called with each frame's number and picture, uint8 [height, width, 3], in order, as soon as it is
            known.
        on_pass: called with the number of the plan's steps that are done; each is a pass, but with speculation.

    Raises:
        MismatchError: plan, prompt, actions and world do not fit together.
        SpecError, InvalidPlanError, NumericError, CapacityError: as ``replay``.
    """
    plan, world, prompt, actions = _in_order(plan, world, prompt, actions)
    require_sampler(sampler)
    require_callbacks(on_frame=on_frame, on_pass=on_pass)
    require_layout(world, plan)
    token_frames = plan.layout.prompt_frames if isinstance(plan, Plan) else plan.prompt_frames
    if len(prompt) != world.pictures(token_frames):
        raise MismatchError(f"expected {world.pictures(token_frames)} prompt frames, got {len(prompt)}.")
    blocks = _blocks(world, actions, token_frames, plan.layout.frames if isinstance(plan, Plan) else plan.frames)
    world.load()
    began = time.perf_counter()
    given = prompt_tokens(world, prompt)
    tokenizer_seconds = time.perf_counter() - began
    pictures: list[NDArray[np.uint8]] = []
    decoded = world.decoding(given)
    shown = 0.0

    waiting: dict[int, NDArray[np.int64]] = {}
    due = 0

    def decode(number: int, tokens: NDArray[np.int64]) -> None:
        """Frames of an imported order may be complete out of turn: they wait for those before them."""
        nonlocal shown, due
        start = time.perf_counter()
        waiting[number] = tokens[0]
        while due in waiting:
            for picture in decoded(waiting.pop(due)):
                pictures.append(picture)
                if on_frame is not None:
                    on_frame(len(pictures) - 1, picture)
            due += 1
        shown += time.perf_counter() - start

    settled, feeds = None, None
    if speculation is not None:
        longest = plan if isinstance(plan, Plan) else plan.plan_of(plan.windows[-1])
        settled = settled_speculation(speculation, longest, world.model, sampler=sampler)
    ids = None
    began = time.perf_counter()
    if isinstance(plan, Rollout):
        rolled = roll(
            plan, world.model, given, blocks if world.block else None, sampler=sampler, seed=seed,
            speculation=settled, on_frame=decode, on_pass=on_pass,
        )  # fmt: skip
        tokens, passes = rolled.tokens[0], rolled.passes
    else:
        ids = batched("given", world.given(plan.layout, given, blocks), (len(given_slots(plan.layout)),))
        done = replay_ids(
            plan, world.model, ids, sampler=sampler, seed=seed, speculation=settled, on_frame=decode,
            on_pass=on_pass,
        )  # fmt: skip
        tokens, passes = done.tokens[0], done.passes if isinstance(done, Speculated) else done.steps
        feeds = set(done.feeds[done.drafted :].tolist()) if isinstance(done, Speculated) else None
    seconds = time.perf_counter() - began - shown
    checked = None
    if check and isinstance(plan, Rollout):
        acts = blocks if world.block else None
        checked = check_rolled(plan, world.model, tokens, given, acts, sampler=sampler, seed=seed)
    elif check:
        assert isinstance(plan, Plan)
        assert ids is not None
        checked = teacher_check(prepare(plan, world.model, sampler=sampler, seed=seed), ids, tokens[None])
    promise = None
    if probe and settled is not None:
        promise = promise_of(plan, world.model, settled, feeds=feeds, sampler=sampler, seed=seed)
    return Generated(np.stack(pictures), tokens, seconds, tokenizer_seconds + shown, passes, checked, settled, promise)


def _in_order(plan: Any, world: Any, prompt: Any, actions: Any) -> tuple[Any, Any, Any, Any]:
    """The arguments of ``generate`` in the order of today, whichever they came in."""
    if isinstance(actions, Plan | Rollout) and not isinstance(plan, Plan | Rollout):
        warnings.warn(
            "generate(world, prompt, actions, plan) is now generate(plan, world, prompt, actions).",
            DeprecationWarning,
            stacklevel=3,
        )
        plan, world, prompt, actions = actions, plan, world, prompt
    remedy = "The order is generate(plan, world, prompt, actions); compile_for and plan_for make a plan."
    require_kind("plan", plan, Plan | Rollout, remedy, what="a Plan or a Rollout")
    require_world(world)
    return plan, world, prompt, actions


def _blocks(world: World, actions: NDArray[np.int64] | None, prompt_frames: int, frames: int) -> NDArray[np.int64]:
    """The action blocks that are needed, int64 [F - 1 + T, n]."""
    needed = prompt_frames - 1 + frames
    if not world.block:
        if actions is not None and len(actions):
            raise MismatchError(f"expected no actions, which {world.name} does not know, got {len(actions)}.")
        return np.zeros((needed, 0), dtype=np.int64)
    return require_actions(actions, prompt_frames, frames)


def require_world(world: object) -> None:
    """Raise ``SpecError`` unless it is a world model, as ``load_world`` gives one."""
    if not hasattr(world, "decoding"):
        raise SpecError(
            f"expected world to be a world model, got world={named_briefly(world)}. Load one with diagplan.load_world."
        )


def require_actions(actions: NDArray[np.int64] | None, prompt_frames: int, frames: int) -> NDArray[np.int64]:
    """The blocks that so many frames need; raise ``MismatchError`` where there are fewer."""
    needed = prompt_frames - 1 + frames
    if actions is None or len(actions) < needed:
        raise MismatchError(
            f"expected {needed} actions for {prompt_frames} given and {frames} generated frames, "
            f"got {0 if actions is None else len(actions)}. Give more actions, or ask for fewer frames."
        )
    return actions[:needed]


def require_layout(world: World, plan: Plan | Rollout) -> None:
    """Raise ``MismatchError`` unless a plan is for a world's layout, with a prompt frame at least."""
    layouts: list[Layout] = [plan.layout] if isinstance(plan, Plan) else [one.layout for one in plan.plans]
    for layout in layouts:
        if not world.fits(layout):
            raise MismatchError(
                f"expected a plan for {world.name}'s layout, {world.example()} or with other frames, got {layout}. "
                "Compile one for it."
            )


def require_frames(frames: Sequence[NDArray[np.uint8]], wanted: int, source: object) -> None:
    """Raise ``SpecError`` unless a video has so many frames."""
    if len(frames) < wanted:
        raise SpecError(f"expected at least {wanted} frames, got {len(frames)} in {source}. Give fewer prompt frames.")
