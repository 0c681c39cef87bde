"""A rollout that is advanced frame by frame, with actions that are known only then.

The plans of a window are compiled, verified and laid out once. A window's plan is replayed up to the end of one frame,
waits there with its cache, and goes on when the next action comes; only where the window slides does it begin anew. The
tokens are those of ``diagplan.backends.rolling.roll`` with the same window, prompt, actions and seed, speculatively or
not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model, input_vocab_of
from diagplan.backends.arguments import require_callbacks, require_model, require_sampler, require_seed
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import batched, given_from_prompt
from diagplan.backends.measured import SpeculationChoice, settled_speculation
from diagplan.backends.prepared import require_grid
from diagplan.backends.sampling import Sampler
from diagplan.backends.selftest import require_tested
from diagplan.backends.stepping_windows import LaidOut, lay_out
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.rollout import compile_rollout
from diagplan.planner.schedule import Schedule
from diagplan.planner.shown import shown

__all__ = ["Stepper", "SteppingPlans", "prepare_stepping"]

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppingPlans:
    """The laid-out plans of a window that slides; any number of ``Stepper`` share them and the model.

    Args:
        window: the layout of a window that has slid.
        shapes: by the number of frames that a window begins with.
        batch: B, samples.
    """

    window: Layout
    shapes: Mapping[int, LaidOut]
    batch: int

    @property
    def plan(self) -> Plan:
        """The plan of a window that has slid."""
        return self.shapes[self.window.prompt_frames].plan

    @property
    def whole(self) -> int:
        """Frames that a window holds."""
        return self.window.prompt_frames + self.window.frames

    @property
    def rewinds(self) -> bool:
        """Whether a frame that was begun can be taken back."""
        return all(shape.rewinds for shape in self.shapes.values())

    @property
    def model(self) -> Model:
        """The model that they are laid out for."""
        return self.shapes[self.window.prompt_frames].model


def prepare_stepping(
    window: Layout,
    model: Model,
    schedule: Schedule,
    policies: Policies | None = None,
    *,
    prompt_frames: int | None = None,
    sampler: Sampler | None = None,
    batch: int = 1,
    speculation: SpeculationChoice | None = None,
    slid: Plan | None = None,
    chunk: int = 512,
    static: bool | None = None,
) -> SteppingPlans:
    """Compile, verify and lay out the plans of a window that slides.

    Args:
        window: as for ``compile_rollout``.
        model: as for ``roll``.
        schedule: of every window; one whose frames come one after the other: an action is known when the frame before
            it is complete, and not earlier.
        policies: as for ``compile_plan``.
        prompt_frames: frames that are given at the start; as many as a window keeps by default.
        sampler: how tokens are chosen; greedy by default.
        batch: B, samples, all advanced together.
        speculation: as for ``diagplan.replay``; guesses end with the frame, whatever ``across_frames`` says.
        slid: the plan of a window that has slid, as a file has it, instead of one of ``schedule``.
        chunk: as for ``diagplan.backends.replay.prepare``.
        static: as for ``diagplan.backends.replay.prepare``.

    Raises:
        SpecError: the description is inconsistent, or frames overlap.
        MismatchError: window and model do not fit together.
        CapacityError: too little memory.
    """
    require_model(model)
    require_sampler(sampler)
    require_tested(model)
    plans = _plans(window, schedule, policies, window.prompt_frames if prompt_frames is None else prompt_frames, slid)
    for plan in plans.values():
        require_grid(plan, model)
        _require_turns(plan)
    if speculation is not None:
        own = plans[window.prompt_frames]
        speculation = settled_speculation(speculation, own, model, sampler=sampler, rows=batch)
    shapes = {
        kept: lay_out(plan, model, speculation, sampler=sampler, batch=batch, chunk=chunk, static=static)
        for kept, plan in plans.items()
    }
    return SteppingPlans(window=window, shapes=shapes, batch=batch)


class Stepper:
    """One video under plans of ``prepare_stepping``, advanced a frame at a time; it holds one window, however long.

    Args:
        plans: from ``prepare_stepping``.
        prompt: tokens of the prompt frames, int [F, h, w] or [B, F, h, w]; F as many as ``prepare_stepping`` was told,
            or as a window keeps, or as it holds.
        actions: the blocks between them, int [F - 1, n] or with a batch axis in front; ``None`` for one frame.
        seed: each sample is keyed by (seed, its number).
        samples: the number of each sample, B; 0 to B - 1 by default.
        first: the prompt's first frame in the whole video: its noise is that of frames from there.

    Attributes:
        frames: frames generated so far.
        passes: forward passes so far: steps, or with speculation fewer.

    Raises:
        MismatchError: plans, prompt and actions do not fit together.
        SpecError: a seed out of range.
    """

    def __init__(
        self,
        plans: SteppingPlans,
        prompt: NDArray[np.integer[Any]],
        actions: NDArray[np.integer[Any]] | None = None,
        *,
        seed: int = 0,
        samples: Sequence[int] | None = None,
        first: int = 0,
    ) -> None:
        layout, batch = plans.window, plans.batch
        count = np.shape(prompt)[-3] if np.ndim(prompt) in (3, 4) else 0
        known = sorted({*plans.shapes, plans.whole})
        if count not in known:
            raise MismatchError(
                f"expected a prompt of {' or '.join(map(str, known))} frames, got shape "
                f"{list(np.shape(prompt))}. prepare_stepping(prompt_frames=...) says how many."
            )
        frames = batched("prompt", prompt, (count, layout.rows, layout.cols))
        blocks = np.zeros((1, 0, layout.between_frames), dtype=np.int64)
        if actions is not None or count > 1:
            given = np.zeros((count - 1, 0), dtype=np.int64) if actions is None else actions
            blocks = batched("actions", given, (count - 1, layout.between_frames))
        for name, array in (("prompt", frames), ("actions", blocks)):
            if len(array) not in (1, batch):
                raise MismatchError(f"expected {name} of {batch} sample(s), got {len(array)}.")
        self.plans, self.seed = plans, require_seed(seed)
        self.samples = np.arange(batch) if samples is None else np.asarray(samples, dtype=np.int64)
        if self.samples.shape != (batch,):
            raise MismatchError(f"expected the numbers of {batch} sample(s), got {len(self.samples)}.")
        self.frames = self.passes = 0
        self._broken = False
        self._first, self._count = require_int("first", first, 0), count  # of the window, and frames known in it
        self._video = np.zeros((batch, plans.whole, layout.rows, layout.cols), dtype=np.int64)
        self._blocks = np.zeros((batch, plans.whole - 1, layout.between_frames), dtype=np.int64)
        self._video[:, :count], self._blocks[:, : count - 1] = frames, blocks
        if count < plans.whole:  # else the first step slides
            self._begin()

    @property
    def held(self) -> int:
        """Frames that the window holds now, at most ``plans.whole``."""
        return self._count

    @property
    def number(self) -> int:
        """The number of the newest frame in the whole video."""
        return self._first + self._count - 1

    @property
    def tokens(self) -> Ids:
        """The newest frame, given or generated, int64 [B, h, w]."""
        return np.asarray(self._video[:, self._count - 1].copy())

    def newest(self, frames: int) -> tuple[Ids, Ids]:
        """The newest frames and the blocks between them, int64 [B, frames, h, w] and [B, frames - 1, n].

        Raises:
            SpecError: more than there are in the window; a window that has slid holds those that it keeps at least.
        """
        if not 1 <= frames <= self._count:
            raise SpecError(
                f"expected 1 to {self._count} frames, got frames={shown(frames)}. The window holds no more."
            )
        part = slice(self._count - frames, self._count)
        return self._video[:, part].copy(), self._blocks[:, part.start : part.stop - 1].copy()

    def step(
        self, action: NDArray[np.integer[Any]] | None = None, *, on_step: Callable[[Ids], None] | None = None
    ) -> Ids:
        """Generate the next frame.

        Args:
            action: the block that leads to it, int [n] or [B, n]; ``None`` where the layout has nothing between frames.
            on_step: called after each step, or speculative pass, but the frame's last with the tokens of the frame so
                far, int64 [B, h, w]; -1 where they are not known yet. Where the plans have ``rewinds``, what it raises
                takes the frame back, and it may be begun anew with another action.

        Returns:
            its tokens, int64 [B, h, w].

        Raises:
            MismatchError: an action of another shape, or ids outside the vocabulary; nothing is changed then.
            SpecError: a frame before was not finished and could not be taken back.
            NumericError: logits that are not finite.
            CapacityError: too little memory.
        """
        require_callbacks(on_step=on_step)
        block = self._block(action)
        if self._broken:
            raise SpecError(
                "expected a stepper whose last frame was finished, got one that stopped within. Start anew."
            )
        if self._count == self.plans.whole:
            self._slide()
        number, between = self._count - self._kept, block.shape[1]
        self._blocks[:, self._count - 1] = block
        if between:
            first = int(self._shape.plan.layout.cell_slots()[number].min()) - between
            self._run.put(first, self._blocks[:, self._count - 1])

        def told(so_far: Callable[[], Ids] | None) -> None:
            self.passes += 1
            if on_step is not None and so_far is not None:
                tokens = so_far()
                try:
                    on_step(tokens)
                except BaseException:
                    self._broken = not self._run.rewind()
                    raise

        self._broken = True  # until the frame is there
        tokens = self._run.frame(number, told)
        self._broken = False
        self._video[:, self._count] = tokens
        self._count += 1
        self.frames += 1
        return tokens

    def _block(self, action: NDArray[np.integer[Any]] | None) -> Ids:
        """A checked action, int64 [1 or B, n]."""
        between, model = self.plans.window.between_frames, self.plans.model
        if action is None:
            if between:
                raise MismatchError(f"expected an action of shape {[between]}, got none. Give one for each frame.")
            return np.zeros((1, 0), dtype=np.int64)
        block = batched("an action", action, (between,))
        if len(block) not in (1, self.plans.batch):
            raise MismatchError(
                f"expected an action for all samples or for {self.plans.batch}, got {len(block)}. Give one for each."
            )
        known = input_vocab_of(model)
        if block.size and not 0 <= block.min() <= block.max() < known:
            raise MismatchError(
                f"expected action ids from 0 to {known - 1}, got {block.min()} to {block.max()}. "
                "They must be those of this model's vocabulary."
            )
        return block

    def _slide(self) -> None:
        """Keep the newest frames, and begin a window with them."""
        kept, whole = self.plans.window.prompt_frames, self.plans.whole
        self._video[:, :kept] = self._video[:, whole - kept :].copy()
        self._blocks[:, : kept - 1] = self._blocks[:, whole - kept :].copy()
        self._first += whole - kept
        self._count = kept
        self._begin()

    def _begin(self) -> None:
        self._shape, self._kept = self.plans.shapes[self._count], self._count
        layout = self._shape.plan.layout
        blocks = self._blocks.copy()
        blocks[:, self._count - 1 :] = 0  # not known yet: each is put down before the first pass that feeds it
        actions = blocks if layout.between_frames else None
        given = given_from_prompt(layout, self._video[:, : self._count], actions)
        by = self._first * layout.frame_stride
        self._run = self._shape.begin(given, seed=self.seed, samples=self.samples, by=by)


def _plans(
    window: Layout, schedule: Schedule, policies: Policies | None, prompt_frames: int, slid: Plan | None
) -> dict[int, Plan]:
    """The plans of whole windows, by the frames that they begin with."""
    if slid is not None and slid.layout != window:
        raise SpecError("expected the plan of a window that has slid, got one of another layout. Give its layout.")
    if slid is not None and prompt_frames == window.prompt_frames:
        return {prompt_frames: slid}
    frames = window.prompt_frames + 2 * window.frames  # the first window and whole ones after it
    rollout = compile_rollout(window, schedule, policies, frames=frames, prompt_frames=prompt_frames)
    whole = window.prompt_frames + window.frames
    plans = {one.kept: rollout.plan_of(one) for one in rollout.windows if one.kept + one.frames == whole}
    return plans if slid is None else plans | {window.prompt_frames: slid}


def _require_turns(plan: Plan) -> None:
    """Raise ``SpecError`` unless each frame, with the action before it, is begun after the frame before is complete."""
    layout = plan.layout
    cells = layout.cell_slots()
    step = np.repeat(np.arange(plan.steps), np.diff(plan.step_offsets))
    for frame in range(1, layout.frames):
        ends = step[np.isin(plan.target, cells[frame - 1])].max()
        led = np.arange(cells[frame].min() - layout.between_frames, cells[frame].min())
        begins = step[np.isin(plan.source, led) | np.isin(plan.target, cells[frame])].min()
        if begins <= ends:
            raise SpecError(
                f"expected frames one after the other, got generated frame {frame} begun at step {begins}, while frame "
                f"{frame - 1} is complete after step {ends}. Its action is not known then. Leave d out, or roll with "
                "actions that are known."
            )
