"""First guesses by a draft's plan: it is replayed step by step, and its tokens are the guesses. Its passes count.

The same model, noise and given ids choose them, so a guess is right wherever the draft's plan and the plan agree.
"""

from collections.abc import Callable

import numpy as np

from diagplan.backends import replay as executor
from diagplan.backends.prepared import too_large
from diagplan.backends.speculative_prepared import PreparedSpeculation, SpeculativeState

__all__ = ["guess_by_plan"]


def guess_by_plan(
    prepared: PreparedSpeculation,
    state: SpeculativeState,
    *,
    on_pass: Callable[[], None],
    cancelled: Callable[[], bool] | None,
) -> executor.Replayed | None:
    """Replay the draft's plan, and put its tokens down as the guesses of a state that has none.

    Args:
        prepared: what is to be replayed.
        state: before the first pass; it is left as it is where the draft is cancelled.
        on_pass: called after each step.
        cancelled: asked after each step.

    Returns:
        how that went; ``None``: there is no such plan, or guesses are there.

    Raises:
        NumericError: logits that are not finite; names the draft's step.
        CapacityError: too little memory.
    """
    if prepared.drafter is None or state.passes or state.accepted.any() or state.fed.any():
        return None
    drafter, put = prepared.drafter, prepared.runtime.put
    tokens = np.full((prepared.rows, prepared.plan.positions + 1), -1, dtype=np.int64)
    tokens[:, prepared.given_slots] = prepared.runtime.numpy(state.tokens)[:, prepared.given_slots]
    try:
        cache = prepared.model.new_cache(drafter.rows, drafter.cache_slots)
    except (RuntimeError, MemoryError) as error:
        model, rows = prepared.model, prepared.rows
        raise too_large(error, prepared.plan, model, rows, prepared.chunk, prepared.speculation) from None

    def stepped(_: int, now: executor.State) -> None:
        state.passes = now.done
        on_pass()

    begun = executor.State(tokens=put(tokens), cache=cache, lead=state.lead)
    done = executor.replay(drafter, begun, on_step=stepped, cancelled=cancelled)
    state.passes = len(done.pass_seconds) if done.complete else 0
    if done.complete:
        guesses, cells = put(done.tokens.reshape(len(done.tokens), -1)), put(prepared.cell_slots.ravel())
        for first in range(0, prepared.rows, prepared.batch):
            state.tokens[first : first + prepared.batch, cells] = guesses
        state.fed[:] = prepared.entries.entries
    return done
