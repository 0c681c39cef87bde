"""Rollouts: windows of one video replayed one after the other, each from the frames that those before it made.

Noise is keyed by (seed, sample, slot in the whole video): what a frame gets does not depend on the window it comes in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model
from diagplan.backends import replay as executor
from diagplan.backends import speculative
from diagplan.backends.arguments import require_callbacks, require_replayable
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import batched, given_from_prompt
from diagplan.backends.measured import SpeculationChoice, settled_speculation
from diagplan.backends.sampling import Sampler
from diagplan.backends.selftest import require_tested
from diagplan.backends.shifted_noise import moved, targets_of
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout, Window
from diagplan.planner.speculation import Speculation

__all__ = ["Blocks", "Rolled", "moved", "roll", "targets_of"]

Ids = NDArray[np.int64]
#: The action between frame i and the next one, as one array, or as a function that is asked for it when it is needed.
Blocks = NDArray[np.integer[Any]] | Callable[[int], NDArray[np.integer[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """The outcome of a rollout.

    Args:
        tokens: int64 [B, T, h, w]; -1 where a rollout was cancelled before.
        windows: windows done.
        passes: forward passes of them: steps, or with speculation fewer.
        complete: whether that is all of them.
        seconds: of all windows' passes, ``on_frame`` included.
        prefill_seconds: of each window's first step, which feeds the frames it keeps (on a GPU the time to launch it);
            with speculation of its first pass.
    """

    tokens: Ids
    windows: int
    passes: int
    complete: bool
    seconds: float
    prefill_seconds: float


def roll(
    rollout: Rollout,
    model: Model,
    prompt: NDArray[np.integer[Any]],
    actions: Blocks | None = None,
    *,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    samples: Sequence[int] | None = None,
    speculation: SpeculationChoice | None = None,
    on_frame: Callable[[int, Ids], None] | None = None,
    on_pass: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 512,
    static: bool | None = None,
) -> Rolled:
    """Replay every window of a rollout.

    Args:
        rollout: from ``compile_rollout``.
        model: the model; its positions hold one window.
        prompt: tokens of the F prompt frames, int [F, h, w] or [B, F, h, w].
        actions: block i leads from frame i to frame i + 1: int [F - 1 + T, n] or with a batch axis in front, or a
            function of i that gives a block, int [n] or [B, n]. It is asked for each block once, in order, before the
            window that needs it: where windows generate one frame, after ``on_frame`` has had the frame before.
        sampler: how tokens are chosen; greedy by default.
        seed: each sample is keyed by (seed, its number); one for all, or B of them.
        samples: the number of each sample, B; 0 to B - 1 by default.
        speculation: as for ``diagplan.replay``; of every window alone.
        on_frame: called with the number, from 0, and the tokens, int64 [B, h, w], of each generated frame.
        on_pass: called with the number of steps that are done, of ``rollout.cost().passes``.
        cancelled: asked after each step; if true the rollout ends there.
        chunk: as for ``diagplan.backends.replay.prepare``.
        static: as for ``diagplan.backends.replay.prepare``.

    Raises:
        InvalidPlanError: a plan does not verify.
        MismatchError: rollout, model, prompt and actions do not fit together.
        NumericError: logits that are not finite.
        CapacityError: too little memory.
    """
    require_replayable(rollout, model, sampler, kind=Rollout)
    require_callbacks(on_frame=on_frame, on_pass=on_pass, cancelled=cancelled)
    require_tested(model)
    executor.require_grid(rollout.plans[0], model)
    layout = rollout.plans[0].layout
    frames = batched("prompt", prompt, (rollout.prompt_frames, layout.rows, layout.cols))
    source = _Actions(rollout, actions)
    batch = max(len(frames), source.batch)
    if not {len(frames), source.batch} <= {1, batch}:
        raise MismatchError(f"expected as many prompts as actions, got {len(frames)} and {source.batch}.")
    video = np.full((batch, rollout.prompt_frames + rollout.frames, layout.rows, layout.cols), -1, dtype=np.int64)
    video[:, : rollout.prompt_frames] = frames
    keyed = {"sampler": sampler, "seed": seed, "batch": batch, "samples": samples}
    if speculation is not None:
        plan = rollout.plan_of(rollout.windows[-1])
        speculation = settled_speculation(speculation, plan, model, sampler=sampler, rows=batch)
    run = _Run(model, keyed | {"chunk": chunk}, static, speculation)
    seconds, prefill, done, steps, passes = 0.0, 0.0, 0, 0, 0
    for window in rollout.windows:
        start = window.first + window.kept
        kept = video[:, window.first : start]
        given = given_from_prompt(rollout.plan_of(window).layout, kept, source.of(window, batch))
        first = start - rollout.prompt_frames

        def handed(frame: int, tokens: Ids, first: int = first) -> None:
            if on_frame is not None:
                on_frame(first + frame, tokens)

        def counted(done: int, before: int = steps) -> None:
            if on_pass is not None:
                on_pass(before + done)

        plan = rollout.plan_of(window)
        replayed = run.window(plan, window, _for_all(given, batch), counted, on_frame=handed, cancelled=cancelled)
        steps += plan.steps
        passes += replayed.passes if isinstance(replayed, speculative.Speculated) else replayed.steps
        video[:, start : start + window.frames] = replayed.tokens
        seconds += replayed.seconds
        prefill += run.prefill_seconds(replayed.pass_seconds)
        done += replayed.complete
        if not replayed.complete:
            break
    return Rolled(
        tokens=video[:, rollout.prompt_frames :],
        windows=done,
        passes=passes,
        complete=done == len(rollout.windows),
        seconds=seconds,
        prefill_seconds=prefill,
    )


class _Run:
    """One plan at a time laid out for a model, and moved along the video."""

    def __init__(
        self, model: Model, options: dict[str, Any], static: bool | None, speculation: Speculation | None
    ) -> None:
        self.model, self.options, self.static, self.speculation = model, options, static, speculation
        self.speculated: speculative.PreparedSpeculation | None = None
        self.prepared: executor.Prepared | None = None
        self.state: executor.State | None = None
        self.guessed: speculative.SpeculativeState | None = None
        self.plan: Plan | None = None
        self.targets: list[Ids] = []

    def window(
        self, plan: Plan, window: Window, given: Ids, on_steps: Callable[[int], None], **calls: Any
    ) -> executor.Replayed | speculative.Speculated:
        by = window.first * plan.layout.frame_stride
        if self.speculation is not None:
            if plan is not self.plan or self.speculated is None:
                self.speculated = speculative.prepare(plan, self.model, self.speculation, **self.options)
                self.plan, self.guessed = plan, None
            ready = speculative.shifted(self.speculated, by)
            if self.guessed is None:
                self.guessed = speculative.new_state(ready, given)
            else:
                self.guessed = speculative.restarted(ready, self.guessed, given)
            return speculative.replay(ready, self.guessed, on_pass=lambda progress: on_steps(progress.steps), **calls)
        if plan is not self.plan or self.prepared is None:
            self.prepared = self.state = None  # its masks go before the next plan's come
            self.prepared = executor.prepare(plan, self.model, static=self.static, **self.options)
            self.plan = plan
            self.targets = targets_of(self.prepared)
        prepared = moved(self.prepared, self.targets, by)
        if self.state is None:
            self.state = executor.new_state(prepared, given)
        else:  # on a GPU graphs are captured once for all windows of a plan
            self.state = executor.restarted(prepared, self.state, given)
        return executor.replay(prepared, self.state, on_step=lambda step, _: on_steps(step + 1), **calls)

    def prefill_seconds(self, seconds: Sequence[float]) -> float:
        """Of the passes of step 0, or of the first."""
        if self.prepared is None:
            return seconds[0]
        return sum(took for p, took in zip(self.prepared.passes, seconds, strict=False) if p.step == 0)


class _Actions:
    """The blocks between frames, known or asked for, int64 [B, gaps, n]."""

    def __init__(self, rollout: Rollout, actions: Blocks | None) -> None:
        self.between = rollout.plans[0].layout.between_frames
        self.ask = actions if callable(actions) else None
        gaps = rollout.prompt_frames + rollout.frames - 1
        if callable(actions):
            self.known = np.zeros((1, 0, self.between), dtype=np.int64)
        elif actions is not None:
            self.known = batched("actions", actions, (gaps, self.between))
        elif not self.between:
            self.known = np.zeros((1, gaps, 0), dtype=np.int64)
        else:
            raise MismatchError(f"expected actions of shape {[gaps, self.between]}, got none. Give them.")

    @property
    def batch(self) -> int:
        """Samples; 1: the same for all."""
        return len(self.known)

    def of(self, window: Window, batch: int) -> Ids | None:
        """The blocks inside a window, asked for as far as they are not known."""
        end = window.first + window.kept + window.frames - 1
        while self.ask is not None and self.known.shape[1] < end:
            block = batched("an action", self.ask(self.known.shape[1]), (self.between,))
            if len(block) not in (1, batch):
                raise MismatchError(f"expected an action for all samples or for {batch}, got {len(block)}.")
            self.known = np.concatenate([_for_all(self.known, batch), _for_all(block, batch)[:, None]], axis=1)
        return self.known[:, window.first : end] if self.between else None


def _for_all(array: Ids, batch: int) -> Ids:
    """One row for every sample."""
    return np.repeat(array, batch, axis=0) if len(array) == 1 else array
