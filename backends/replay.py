"""Replay, on every runtime: one pass after the other; the loop keeps no books."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import ranks_of
from diagplan.backends.agreement import require_agreement
from diagplan.backends.arguments import require_callbacks
from diagplan.backends.prepared import (
    Pass,
    Prepared,
    State,
    checked_ids,
    choose,
    forward,
    know,
    new_state,
    not_finite,
    prepare,
    require_grid,
    too_large,
)

if TYPE_CHECKING:
    from diagplan.backends.torch_graphs import StaticPasses

__all__ = [
    "Pass",
    "Prepared",
    "Replayed",
    "State",
    "choose",
    "forward",
    "know",
    "new_state",
    "prepare",
    "replay",
    "require_grid",
    "restarted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The outcome of a replay.

    Args:
        tokens: int64 [B, T, h, w]; -1 where a replay was cancelled before.
        steps: plan steps done in all.
        complete: whether that is all of them.
        seconds: of this call's passes.
        pass_seconds: of each pass (on a GPU the time to launch it).
    """

    tokens: NDArray[np.int64]
    steps: int
    complete: bool
    seconds: float
    pass_seconds: tuple[float, ...]


def restarted(prepared: Prepared, state: State, given: NDArray[np.int64]) -> State:
    """The state before step 0 of the same plan, in the buffers of a state that is done with, whose graphs stay.

    Args:
        prepared: of the same plan, model and batch; its noise may have moved.
        state: whose tokens and cache are overwritten.
        given: as for ``new_state``.

    Raises:
        MismatchError: as ``new_state``.
    """
    tensors = getattr(state.cache, "tensors", None)
    if state.static is None or state.lead is not None or tensors is None:
        return new_state(prepared, given)
    ids, _ = checked_ids(prepared, given, None)
    tokens = np.full((prepared.rows, prepared.plan.positions + 1), -1, dtype=np.int64)
    tokens[:, prepared.given_slots] = ids
    state.tokens.copy_(prepared.runtime.put(tokens))
    for tensor in tensors:
        tensor.zero_()
    state.done = 0
    return state


def replay(
    prepared: Prepared,
    state: State,
    *,
    on_step: Callable[[int, State], None] | None = None,
    on_frame: Callable[[int, NDArray[np.int64]], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Replayed:
    """Replay from a state to the end.

    Args:
        prepared: from ``prepare``.
        state: from ``new_state`` or a checkpoint; it is advanced in place.
        on_step: called after each step with its number and the state (checkpoints are taken here).
        on_frame: called with the number and the tokens, int64 [B, h, w], of each frame as soon as it is complete.
        cancelled: asked after each step; if true the replay ends there.

    Raises:
        NumericError: logits that are not finite; names the step.
        CapacityError: too little memory.
        RanksError: a model that is spread over ranks, of which one has other tokens; names the frame.
    """
    require_callbacks(on_frame=on_frame, on_step=on_step, cancelled=cancelled)
    with prepared.runtime.inference():
        return _replay(prepared, state, on_step, on_frame, cancelled)


def _replay(
    prepared: Prepared,
    state: State,
    on_step: Callable[[int, State], None] | None,
    on_frame: Callable[[int, NDArray[np.int64]], None] | None,
    cancelled: Callable[[], bool] | None,
) -> Replayed:
    times: list[float] = []
    begin = time.perf_counter()
    runtime, samples = prepared.runtime, prepared.batch
    step = prepared.passes[state.done - 1].step if state.done else -1
    static = _static_passes(prepared, state)
    spread = ranks_of(prepared.model) is not None
    if spread:
        require_agreement(prepared.model, "given ids", runtime.numpy(state.tokens))
    for p in prepared.passes[state.done :]:
        before = time.perf_counter()
        try:
            if static is None:
                logits = forward(prepared, state, p)
                if logits is not None:
                    know(prepared, state, p, choose(prepared, p, logits))
            else:
                static.advance(state.done)
        except (RuntimeError, MemoryError) as error:
            raise too_large(error, prepared.plan, prepared.model, prepared.rows, prepared.chunk) from None
        if static is not None and (p.frames or p is prepared.passes[-1]):
            failed = static.failed_step()
            if failed is not None:
                raise not_finite(failed)
        state.done += 1
        step = p.step
        times.append(time.perf_counter() - before)
        for frame in p.frames if on_frame is not None or spread else ():
            tokens = runtime.numpy(state.tokens)[:samples, prepared.cell_slots[frame]]
            require_agreement(prepared.model, f"tokens of frame {frame}", tokens)
            if on_frame is not None:
                on_frame(frame, tokens)
        if p.last:
            if on_step is not None:
                on_step(step, state)
            if cancelled is not None and cancelled():
                break
    return Replayed(
        tokens=runtime.numpy(state.tokens)[:samples, prepared.cell_slots],
        steps=step + 1,
        complete=state.done == len(prepared.passes),
        seconds=time.perf_counter() - begin,
        pass_seconds=tuple(times),
    )


def _static_passes(prepared: Prepared, state: State) -> "StaticPasses | None":
    """A runner of passes of fixed shapes; ``None`` where the runtime sees to them itself, or they are not wanted.

    A state that is advanced in several calls keeps it: its graphs are captured once.
    """
    if not prepared.static or not prepared.runtime.graphs:
        return None
    from diagplan.backends.torch_graphs import StaticPasses

    if state.static is None or (state.static.prepared is not prepared and not state.static.turned_to(prepared)):
        state.static = StaticPasses(prepared, state, capture=prepared.runtime.on_gpu)
    kept: StaticPasses = state.static
    return kept
