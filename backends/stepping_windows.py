"""A window of a stepped rollout, laid out once, and one run of it that is advanced frame by frame.

Two ways: a pass a step of the plan, or speculatively, several steps a pass with guesses that never reach into the next
frame, whose action is not known yet. Both give the plan's tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model
from diagplan.backends import replay as executor
from diagplan.backends import speculative
from diagplan.backends.sampling import Greedy, Sampler
from diagplan.backends.shifted_noise import moved, targets_of
from diagplan.planner.drafts import draft_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.speculation import Speculation

__all__ = ["LaidOut", "Running", "lay_out"]

Ids = NDArray[np.int64]
#: Told after each pass: a function that gives the frame's tokens so far, or ``None`` when the frame is complete.
Told = Callable[[Callable[[], Ids] | None], None]


class Running(Protocol):
    """One run of a window, between two frames."""

    def put(self, first: int, ids: Ids) -> None:
        """Put known ids down, int64 [B, n], in slots from ``first`` on."""
        ...

    def frame(self, number: int, told: Told) -> Ids:
        """Decode the next generated frame, the window's ``number``-th; its tokens, int64 [B, h, w].

        Raises:
            NumericError, CapacityError: as ``diagplan.replay``.
        """
        ...

    def rewind(self) -> bool:
        """Between two passes: take the frame back, as if it had not been begun. False: it cannot be."""
        ...


class LaidOut(Protocol):
    """A window laid out for a model."""

    @property
    def plan(self) -> Plan: ...  # noqa: D102
    @property
    def model(self) -> Model: ...  # noqa: D102

    @property
    def rewinds(self) -> bool:
        """Whether a frame that was begun can be taken back."""
        ...

    def begin(self, given: Ids, *, seed: int, samples: Ids, by: int) -> Running:
        """A run from given ids, int64 [B, G], with the noise of slots ``by`` further on."""
        ...


def lay_out(
    plan: Plan,
    model: Model,
    speculation: Speculation | None,
    *,
    sampler: Sampler | None,
    batch: int,
    chunk: int,
    static: bool | None,
) -> LaidOut:
    """Lay a window's plan out; arguments and errors as for ``diagplan.backends.replay.prepare``.

    Args:
        plan: of the window.
        model: the model.
        speculation: how several steps go through one pass; ``None``: each by itself.
        sampler: how tokens are chosen.
        batch: B; all samples end a frame together.
        chunk: feeds of the widest pass over a prompt.
        static: without speculation, whether passes have few shapes.

    Raises:
        SpecError: first guesses by a plan, which would replay frames whose actions are not known yet.
    """
    options: dict[str, Any] = {"sampler": sampler, "batch": batch, "chunk": chunk}
    if speculation is None:
        prepared = executor.prepare(plan, model, static=static, **options)
        return _Stepwise(prepared=prepared, targets=targets_of(prepared))
    if draft_plan(plan, speculation) is not None:
        raise SpecError(
            "expected first guesses from other cells where actions come frame by frame, got a draft's plan, which "
            "needs them all. Take draft=previous-frame."
        )
    within = replace(speculation, across_frames=False)
    return _Speculative(prepared=speculative.prepare(plan, model, within, own=False, **options))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stepwise:
    prepared: executor.Prepared
    targets: list[Ids]

    @property
    def plan(self) -> Plan:
        return self.prepared.plan

    @property
    def model(self) -> Model:
        return self.prepared.model

    @property
    def rewinds(self) -> bool:
        # What was written is written again before anyone sees it: but where zeros are seen, or passes have graphs.
        return not self.prepared.static and self.plan.policies.visibility == "written"

    def begin(self, given: Ids, *, seed: int, samples: Ids, by: int) -> Running:
        own = moved(replace(self.prepared, seed=seed, samples=samples), self.targets, by)
        return _StepwiseRun(own, executor.new_state(own, given), self.rewinds)


@dataclass(slots=True)
class _StepwiseRun:
    prepared: executor.Prepared
    state: executor.State
    rewinds: bool
    begun: tuple[int, Ids] | None = None  # steps done before the frame, and its cells

    def put(self, first: int, ids: Ids) -> None:
        with self.prepared.runtime.inference():
            self.state.tokens[:, first : first + ids.shape[1]] = self.prepared.runtime.put(ids)

    def frame(self, number: int, told: Told) -> Ids:
        prepared, cells, complete = self.prepared, self.prepared.cell_slots[number], list[Ids]()
        self.begun = self.state.done, cells

        def done(frame: int, tokens: Ids) -> None:
            del frame
            complete.append(np.array(tokens))

        def stepped(step: int, after: executor.State) -> None:
            del step
            told(None if complete else lambda: np.array(prepared.runtime.numpy(after.tokens)[: prepared.batch, cells]))

        executor.replay(prepared, self.state, on_frame=done, on_step=stepped, cancelled=lambda: bool(complete))
        return complete[0]

    def rewind(self) -> bool:
        if self.begun is None or not self.rewinds:
            return False
        self.state.done, cells = self.begun
        with self.prepared.runtime.inference():
            self.state.tokens[:, cells.ravel()] = -1
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speculative:
    prepared: speculative.PreparedSpeculation

    @property
    def plan(self) -> Plan:
        return self.prepared.plan

    @property
    def model(self) -> Model:
        return self.prepared.model

    @property
    def rewinds(self) -> bool:
        return True

    def begin(self, given: Ids, *, seed: int, samples: Ids, by: int) -> Running:
        own = replace(self.prepared, seed=seed, samples=samples)
        if not isinstance(own.sampler, Greedy):
            own = speculative.shifted(own, by)
        return _SpeculativeRun(own, speculative.new_state(own, given))


@dataclass(slots=True)
class _SpeculativeRun:
    prepared: speculative.PreparedSpeculation
    state: speculative.SpeculativeState
    begun: Ids | None = None  # entries accepted before the frame

    def put(self, first: int, ids: Ids) -> None:
        with self.prepared.runtime.inference():
            self.state.tokens[:, first : first + ids.shape[1]] = self.prepared.runtime.put(ids)

    def frame(self, number: int, told: Told) -> Ids:
        prepared, state, complete = self.prepared, self.state, list[Ids]()
        cells, self.begun = prepared.cell_slots[number], state.accepted.copy()

        def done(frame: int, tokens: Ids) -> None:
            del frame
            complete.append(np.array(tokens))

        def so_far() -> Ids:
            tokens = prepared.runtime.numpy(state.tokens)[: prepared.batch, cells]
            return np.where(prepared.order[cells] < state.accepted[0], tokens, -1)

        def passed(progress: speculative.Progress) -> None:
            del progress
            told(None if complete else so_far)

        speculative.replay(prepared, state, on_frame=done, on_pass=passed, cancelled=lambda: bool(complete))
        return complete[0]

    def rewind(self) -> bool:
        if self.begun is None:
            return False
        self.state.accepted = self.begun.copy()  # what was chosen behind are guesses now
        return True
