"""Two runtimes side by side: one plan, the same ids fed to both, logits and choices compared pass by pass."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from diagplan.adapters.contract import Array
from diagplan.backends.replay import Prepared, choose, forward, know, new_state

__all__ = ["Comparison", "Difference", "compare"]


class Difference(NamedTuple):
    """The first token on which two runtimes differ.

    Attributes:
        step: of the plan.
        sample: of the batch.
        frame, row, col: the cell.
        first, second: the ids that they choose.
        margin: by how much the first one's logit of its own choice is above its logit of the other's. Where it is of
            the size of ``Comparison.logits``, the choice is a matter of rounding.
    """

    step: int
    sample: int
    frame: int
    row: int
    col: int
    first: int
    second: int
    margin: float


class Comparison(NamedTuple):
    """What ``compare`` found.

    Attributes:
        tokens: compared, of all samples.
        different: of these.
        logits: the largest difference of two logits.
        earliest: the first difference of tokens.
    """

    tokens: int
    different: int
    logits: float
    earliest: Difference | None


def compare(
    first: Prepared, second: Prepared, given: Array, *, on_step: Callable[[int], None] | None = None
) -> Comparison:
    """Replay one plan on two models in lockstep; both go on with the first one's choices.

    Args:
        first: from ``prepare``.
        second: the same plan, sampler, seed and batch on another model.
        given: as for ``new_state``.
        on_step: called after each step with its number.

    Raises:
        NumericError: logits that are not finite.
        MismatchError, CapacityError: as ``new_state``.
    """
    states = [new_state(prepared, given) for prepared in (first, second)]
    cells = {int(slot): cell for cell, slot in np.ndenumerate(first.cell_slots)}
    tokens = different = 0
    largest = 0.0
    earliest: Difference | None = None
    for p, q in zip(first.passes, second.passes, strict=True):
        with first.runtime.inference():
            one = forward(first, states[0], p)
            chosen = None if one is None else choose(first, p, one)
        with second.runtime.inference():
            two = forward(second, states[1], q)
            other = None if two is None else choose(second, q, two)
        if one is not None and two is not None:
            logits = [run.runtime.numpy(run.runtime.float32(x)) for run, x in ((first, one), (second, two))]
            ids = [run.runtime.numpy(x) for run, x in ((first, chosen), (second, other))]
            largest = max(largest, float(np.abs(logits[0] - logits[1]).max()))
            unequal = np.argwhere(ids[0] != ids[1])
            tokens += ids[0].size
            different += len(unequal)
            if len(unequal) and earliest is None:
                sample, at = unequal[0].tolist()
                pair = int(ids[0][sample, at]), int(ids[1][sample, at])
                margin = float(logits[0][sample, at, pair[0]] - logits[0][sample, at, pair[1]])
                frame, row, col = cells[int(first.runtime.numpy(p.target)[at])]
                earliest = Difference(p.step, sample, frame, row, col, *pair, margin)
            know(first, states[0], p, chosen)
            know(second, states[1], q, second.runtime.put(ids[0]))
        for state in states:
            state.done += 1
        if p.last and on_step is not None:
            on_step(p.step)
    return Comparison(tokens, different, largest, earliest)
