"""Prompts of different length in one batch: rows whose first positions are padding, which no other feed sees.

A padded row is what it would be alone: its positions are counted from its first token on, and so are the slots that key
the noise of its sample. Where a model has coordinates of its own they stay as the layout has them: those of text are
relative, or none.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model, is_ragged
from diagplan.backends.errors import MismatchError
from diagplan.backends.program import PassColumns
from diagplan.backends.sampling import keys_for
from diagplan.planner.arguments import require_kind
from diagplan.planner.layout import require_int
from diagplan.planner.masks import Held
from diagplan.planner.plan import Plan
from diagplan.planner.shown import shown

__all__ = ["Ints", "PaddedPass", "keys_of", "padded_passes", "pads_of"]

Ints = NDArray[np.int64]


class PaddedPass(NamedTuple):
    """What pads add to a pass; shapes: R rows of the batch, n feeds, L cache slots of the pass.

    Attributes:
        position: of every row, int64 [R, n]: padding and the first token both have 0.
        shown: cache slots that hold no padding of a row, bool [R, L]; one array for passes in which it is the same.
        places: 0 to L - 1; one array likewise. A feed sees the slot that it writes though it be padding.
    """

    position: Ints
    shown: NDArray[np.bool_]
    places: Ints


def pads_of(plan: Plan, model: Model, pad: Any, batch: int, rows: int) -> Ints | None:
    """The padding of every row of a batch, int64 [rows]; ``None``: no row has any.

    Args:
        plan: the plan.
        model: the model.
        pad: positions at the beginning of each sample, or of each row, that are padding.
        batch: samples.
        rows: of the batch: samples, once for each branch of guidance.

    Raises:
        SpecError: no whole numbers.
        MismatchError: another count; a row without a token; a model whose samples must be alike within a pass, or whose
            positions lie in a grid that padding would not move by whole frames.
    """
    if pad is None:
        return None
    require_kind("pad", pad, Sequence | np.ndarray, "Give the padding of each sample, such as [0, 3].")
    numbers = np.array([require_int("pad", number, 0) for number in pad], dtype=np.int64)
    if len(numbers) not in (batch, rows):
        raise MismatchError(f"expected the padding of {batch} sample(s) or {rows} row(s), got {len(numbers)}.")
    numbers = np.tile(numbers, rows // len(numbers))
    if not numbers.any():
        return None
    first, end = plan.given[0].tolist() if len(plan.given) else (0, 0)
    most = end - 1 if first == 0 else 0
    if numbers.max() > most:
        raise MismatchError(
            f"expected at most {most} positions of padding, one less than the prompt has, got {numbers.max()}."
        )
    if not is_ragged(model):
        raise MismatchError(
            f"expected a model whose samples may differ within a pass for padding, got a {model.family} model. "
            "Replay prompts of each length alone, or export the model anew."
        )
    layout = plan.layout
    moves = layout.frame_stride if model.grid is not None and not layout.lead else 0
    if model.grid is not None and (not moves or (numbers % moves).any()):
        raise MismatchError(
            f"expected padding by whole frames, of {moves or layout.frame_stride} positions, of a sequence that begins "
            f"with one, got {shown(int(numbers.max()))}: positions of this {model.family} model lie in a grid. "
            "Replay prompts of each length alone."
        )
    return numbers


def keys_of(seed: int | tuple[int, ...], samples: Ints, positions: int, pads: Ints | None, by: int = 0) -> Ints:
    """The noise key of every slot of every sample, int64 [B, positions]; slots count from the first that is no padding.

    Args:
        seed: of all samples, or of each.
        samples: their numbers, int64 [B].
        positions: slots of the plan.
        pads: of each row, int64 [rows], samples first; ``None``: no row has any.
        by: slots that lie before the plan's, as in a window of a longer video.
    """
    seeds = np.broadcast_to(np.array(seed, dtype=np.int64), len(samples))
    keys = keys_for(seeds, samples, np.arange(by, by + positions))
    if pads is None:
        return keys
    return np.stack([np.roll(own, int(count)) for own, count in zip(keys, pads, strict=False)])


def padded_passes(
    passes: Iterable[PassColumns], pad: Ints, cache_slots: int, before: Held | None = None
) -> Iterator[PaddedPass]:
    """What pads add to each pass.

    Args:
        passes: of a plan, from step 0 on.
        pad: int64 [R].
        cache_slots: of the longest pass.
        before: what the cache holds before the first pass, of a plan of a chain.
    """
    held = np.full(cache_slots, np.iinfo(np.int64).max)  # the position that each slot holds; never padding at first
    if before is not None:
        held[before.slot] = before.position
    shown, places = np.zeros((len(pad), 0), dtype=np.bool_), np.arange(0)
    for columns in passes:
        held[columns.slot] = columns.position
        length = columns.mask.shape[1]
        now = held[:length] >= pad[:, None]
        if not np.array_equal(now, shown):
            shown = now
        if len(places) != length:
            places = np.arange(length)
        yield PaddedPass(np.maximum(columns.position - pad[:, None], 0), shown, places)
