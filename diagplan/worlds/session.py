"""A world that is stepped: the next frame for an action that is known only now, for players and for agents."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.errors import MismatchError
from diagplan.backends.measured import SpeculationChoice
from diagplan.backends.sampling import Greedy, Sampler
from diagplan.backends.stepping import Stepper, SteppingPlans, prepare_stepping
from diagplan.planner.arguments import require_kind
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import NextToken, Schedule, recorded
from diagplan.planner.shown import shown
from diagplan.worlds.generation import prompt_tokens, require_layout, require_world
from diagplan.worlds.world import World

__all__ = ["Session", "start"]

Ids = NDArray[np.int64]
Frame = NDArray[np.uint8]


class Session:
    """A world between two frames; ``start`` makes one, or a world's own ``start``.

    It holds one window of frames, however long it is played. Sessions that ``again`` makes share the model and the
    laid-out plans; they may be stepped in turn, one at a time, not from several threads at once.

    Attributes:
        world: that is played.
    """

    def __init__(
        self, world: World, plans: SteppingPlans, tokens: Ids, actions: Ids, *, seed: int = 0, first: int = 0
    ) -> None:
        self.world, self._plans = world, plans
        self._start, self._seed = (tokens, actions), seed
        self._stepper = Stepper(plans, tokens, actions, seed=seed, first=first)
        self._decode = world.decoding(tokens)
        self._drawn: tuple[int, Frame] | None = None

    @property
    def plan(self) -> Plan:
        """The plan of a window that has slid."""
        return self._plans.plan

    @property
    def frame(self) -> Frame:
        """The newest picture, uint8 [height, width, 3]."""
        if self._drawn is None or self._drawn[0] != self.frames:
            self._drawn = self.frames, self.picture(self.tokens)
        return self._drawn[1]

    @property
    def rewinds(self) -> bool:
        """Whether what ``on_step`` raises takes the frame back, so that it may be begun anew with another action."""
        return self._plans.rewinds

    @property
    def frames(self) -> int:
        """Frames generated so far."""
        return self._stepper.frames

    @property
    def passes(self) -> int:
        """Forward passes so far."""
        return self._stepper.passes

    @property
    def tokens(self) -> Ids:
        """Tokens of the newest frame, int64 [rows, cols]."""
        return np.asarray(self._stepper.tokens[0])

    def step(self, action: Any = None, *, on_step: Callable[[Ids], None] | None = None) -> Frame:
        """Generate the next frame.

        Args:
            action: what leads to it: a block of ids, int [block]; or, where the world has controls, a line of its
                actions file as an object; where an action is one word, the word; ``None`` where it knows no actions.
            on_step: as for ``Stepper.step``; gets int64 [rows, cols].

        Returns:
            the picture, uint8 [height, width, 3].

        Raises:
            SpecError: no such action; nothing is changed then.
            MismatchError: a block of another shape, or with other ids; nothing is changed then.
            NumericError, CapacityError: as ``replay``.

        >>> frame = session.step("move_left")  # doctest: +SKIP
        """
        self.advance(action, on_step=on_step)
        return self.frame

    def advance(self, action: Any = None, *, on_step: Callable[[Ids], None] | None = None) -> Ids:
        """Generate the next frame's tokens, int64 [rows, cols]; ``picture`` draws them, in another thread if need be.

        Args:
            action: as for ``step``, and so are the errors.
            on_step: likewise.
        """
        block = self._block(action)
        told = None if on_step is None else lambda tokens: on_step(tokens[0])
        return np.asarray(self._stepper.step(block, on_step=told)[0])

    def picture(self, tokens: Ids) -> Frame:
        """The picture of tokens int64 [rows, cols], uint8 [height, width, 3]; unknown ones, -1, are taken for 0."""
        picture: Frame = self._decode(np.maximum(tokens, 0))[-1]
        return picture

    def again(
        self,
        prompt: Frame | None = None,
        actions: Ids | None = None,
        *,
        after: "Session | None" = None,
        seed: int | None = None,
    ) -> "Session":
        """Another session of the same world and plan, which nothing is laid out for anew.

        Args:
            prompt: its prompt frames, as for ``start``; ``None``: those of this one.
            actions: the blocks between them.
            after: begin with the newest frames of that session, whatever its plan, and go on from there.
            seed: of its sampling; that of this session if left out.

        Raises:
            MismatchError: another number of prompt frames than this one was started with.
        """
        seed = self._seed if seed is None else seed
        if after is not None:
            old = after._stepper
            counts = [n for n in (*self._plans.shapes, self._plans.whole) if n <= old.held]
            if not counts:
                raise MismatchError(
                    f"expected a session with at least {min(self._plans.shapes)} frames to go on from, got one with "
                    f"{old.held}. Step it first, or start anew."
                )
            kept = max(counts)
            tokens, blocks = old.newest(kept)
            first = old.number + 1 - kept
            return Session(self.world, self._plans, tokens[0], blocks[0], seed=seed, first=first)
        if prompt is None:
            return Session(self.world, self._plans, *self._start, seed=seed)
        return Session(self.world, self._plans, *_given(self.world, prompt, actions), seed=seed)

    def _block(self, action: Any) -> Ids | None:
        controls = self.world.controls
        if action is None or isinstance(action, np.ndarray) or (controls is None and isinstance(action, list | tuple)):
            return None if action is None else np.asarray(action)
        if controls is None:
            raise SpecError(
                f"expected an action as a block of {self.world.block} ids, got action={shown(action)}. Give an array."
            )
        return controls.block(action)


def start(
    world: World,
    prompt: Frame,
    actions: Ids | None = None,
    *,
    schedule: Schedule | Callable[[Layout], Schedule] | None = None,
    policies: Policies | None = None,
    keep: int | None = None,
    sampler: Sampler | None = None,
    seed: int = 0,
    speculation: SpeculationChoice | None = None,
    plan: Plan | None = None,
) -> Session:
    """Start a world that is stepped frame by frame: plans are compiled, verified and laid out here, and never again.

    Frames are those that ``generate`` makes with a rollout of the same window, prompt, actions and seed.

    Args:
        world: from ``load_world``; one whose image tokenizer works frame by frame.
        prompt: the first frames, uint8 [n, height, width, 3] or one of them, of any size.
        actions: the blocks between them, int64 [n - 1, block]; ``None`` for one frame.
        schedule: as for ``plan_for``; frames come one after the other, so without ``d``.
        policies: as for ``compile_plan``.
        keep: frames that a window keeps where it slides; ``None``: as the world's release has it, or half the context.
        sampler: as for ``replay``.
        seed: as for ``replay``.
        speculation: as for ``replay``: the same frames in fewer passes.
        plan: of a window that has slid, as ``read_plan`` gives it, instead of ``schedule``, ``policies`` and ``keep``.
            A prompt of fewer frames than it has begins with a window of the plan's own schedule.

    Raises:
        SpecError: a world of whole clips, overlapping frames, or numbers that do not fit.
        MismatchError: world, prompt and actions do not fit together.
        CapacityError: too little memory.

    >>> session = start(load_world("crafter-mini"), frame, schedule=Diagonal(k=2))  # doctest: +SKIP
    >>> session.step("move_left").shape  # doctest: +SKIP
    (144, 192, 3)
    """
    require_world(world)
    tokens, blocks = _given(world, prompt, actions)
    window, timing, policies = _window(world, len(tokens), schedule, policies, keep, plan)
    sampled = sampler is not None and not isinstance(sampler, Greedy)
    slid = compile_plan(window, timing, policies) if plan is None else plan
    world.source.require_memory(slid, sampled=sampled, speculation=speculation)
    plans = prepare_stepping(
        window, world.load(), timing, policies, prompt_frames=len(tokens), sampler=sampler, speculation=speculation,
        slid=plan,
    )  # fmt: skip
    return Session(world, plans, tokens, blocks, seed=seed)


def _window(
    world: World,
    prompt_frames: int,
    schedule: Schedule | Callable[[Layout], Schedule] | None,
    policies: Policies | None,
    keep: int | None,
    plan: Plan | None,
) -> tuple[Layout, Schedule, Policies | None]:
    """The layout of a window that has slid, and what the first window is compiled of."""
    if plan is None:
        if keep is None:
            keep = world.keeps if world.keeps is not None else max(1, world.context_frames // 2)
        window = world.window(keep)
        timing = NextToken() if schedule is None else schedule(window) if callable(schedule) else schedule
        return window, timing, policies
    require_kind("plan", plan, Plan, "Compile or read one first.")
    if (schedule, policies, keep) != (None, None, None):
        raise SpecError("expected a plan, or schedule, policies and keep, got both. A plan says them.")
    require_layout(world, plan)
    if prompt_frames == plan.layout.prompt_frames:
        return plan.layout, NextToken(), None  # no other window than the plan's own
    return plan.layout, recorded(plan.schedule), plan.policies


def _given(world: World, prompt: Frame, actions: Ids | None) -> tuple[Ids, Ids]:
    """Tokens of prompt frames, int64 [n, rows, cols], and the blocks between them."""
    frames = np.asarray(prompt)
    frames = frames[None] if frames.ndim == 3 else frames
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise MismatchError(
            f"expected prompt frames uint8 [n, height, width, 3], got {frames.dtype} {list(frames.shape)}. Read a "
            "video with diagplan.video.files.read_video."
        )
    if len(frames) > world.context_frames:
        raise MismatchError(
            f"expected at most {world.context_frames} prompt frames, got {len(frames)}. Give the newest of them."
        )
    blocks = np.zeros((len(frames) - 1, world.block), dtype=np.int64) if actions is None else np.asarray(actions)
    if actions is None and len(frames) > 1 and world.block:
        raise MismatchError(f"expected {len(frames) - 1} actions between the prompt frames, got none. Give them.")
    return prompt_tokens(world, frames), blocks
