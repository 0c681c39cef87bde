"""The given slots' ids, from a prompt and actions, or checked as they are; and that there are ids to choose from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array, Model, input_vocab_of
from diagplan.backends.errors import MismatchError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan

__all__ = [
    "batched",
    "given_from_prompt",
    "given_slots",
    "known_ids",
    "on_host",
    "plan_given_slots",
    "require_choices",
]

Ids = NDArray[np.int64]


def on_host(array: Any) -> NDArray[Any]:
    """An array or a tensor of any device as NumPy's; a copy only where it lies on another device."""
    fetch = getattr(array, "cpu", None)
    return np.asarray(array if fetch is None else fetch())


def given_slots(layout: Layout) -> Ids:
    """The given slots in order, int64 [G]."""
    return np.concatenate([np.arange(start, end, dtype=np.int64) for start, end in layout.given_runs().tolist()])


def plan_given_slots(plan: Plan) -> Ids:
    """The slots that a plan says are given, in order, int64 [G]; those of its layout, where it verifies."""
    return np.concatenate([np.arange(start, end, dtype=np.int64) for start, end in plan.given.tolist()])


def batched(name: str, ids: NDArray[np.integer[Any]], shape: tuple[int, ...]) -> Ids:
    """``ids`` with a leading batch axis, int64 [B, *shape].

    Raises:
        MismatchError: not integers, or of another shape.
    """
    try:
        array = on_host(ids)
    except ValueError:
        raise MismatchError(f"expected {name} to hold integers, got a ragged list. Save token ids.") from None
    if array.dtype == np.uint64 and array.size and int(array.max()) >= 1 << 63:
        raise MismatchError(f"expected {name} below 2**63, got {array.max()}. Save token ids.")
    if array.dtype.kind not in "iu":
        raise MismatchError(f"expected {name} to hold integers, got dtype {array.dtype}. Save token ids.")
    if array.shape == shape:
        array = array[None]
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape or not len(array):
        raise MismatchError(
            f"expected {name} of shape {list(shape)}, or with a batch axis in front, got {list(np.shape(ids))}."
        )
    return array.astype(np.int64)


def given_from_prompt(
    layout: Layout, prompt: NDArray[np.integer[Any]], actions: NDArray[np.integer[Any]] | None = None
) -> Ids:
    """The given ids in slot order, int64 [B, G], of a layout without lead tokens and without tokens between rows.

    Args:
        layout: the geometry.
        prompt: image tokens of the prompt frames, int [F, h, w] or [B, F, h, w].
        actions: one block for each gap between frames, int [F - 1 + T, n] or [B, F - 1 + T, n]; ``None`` where the
            layout has nothing between frames.

    Raises:
        MismatchError: shapes that do not fit the layout, or a layout that needs ``given`` ids instead.
    """
    if layout.lead or layout.between_rows:
        raise MismatchError(
            f"expected a layout of frames and actions only, got lead={layout.lead} and "
            f"between_rows={layout.between_rows}. Give all given ids in slot order (--given)."
        )
    frames = batched("prompt", prompt, (layout.prompt_frames, layout.rows, layout.cols))
    gaps = layout.prompt_frames + layout.frames - 1
    if layout.between_frames == 0:
        if actions is not None and np.size(actions):
            raise MismatchError("expected no actions: the layout has nothing between frames, got some. Leave them out.")
        blocks = np.zeros((1, gaps, 0), dtype=np.int64)
    elif actions is None:
        raise MismatchError(f"expected actions of shape {[gaps, layout.between_frames]}, got none. Give the actions.")
    else:
        blocks = batched("actions", actions, (gaps, layout.between_frames))
    if 1 not in (len(frames), len(blocks)) and len(frames) != len(blocks):
        raise MismatchError(
            f"expected as many prompts as actions, got {len(frames)} prompts and {len(blocks)} actions."
        )
    batch = max(len(frames), len(blocks))
    ids = np.zeros((batch, layout.positions), dtype=np.int64)
    cells = layout.cell_slots(prompt=True)
    ids[:, cells[: layout.prompt_frames].ravel()] = frames.reshape(len(frames), -1)
    gap_slots = cells[:-1, -1, -1][:, None] + 1 + np.arange(layout.between_frames)
    ids[:, gap_slots.ravel()] = blocks.reshape(len(blocks), -1)
    return ids[:, given_slots(layout)]


def known_ids(given: Array, model: Model, embedded: int = 0) -> Ids:
    """Given ids of any shape as int64.

    Args:
        given: the ids.
        model: that is to be fed with them.
        embedded: embeddings of a row, which ids of -1 down to that many below zero stand for.

    Raises:
        MismatchError: not integers, or ids outside the model's vocabulary.
    """
    held = on_host(given)
    if held.dtype.kind not in "iu":
        raise MismatchError(f"expected given ids as integers, got dtype {held.dtype}. Give token ids.")
    ids, known = held.astype(np.int64), input_vocab_of(model)
    if ids.size and not -embedded <= ids.min() <= ids.max() < known:
        raise MismatchError(
            f"expected given ids from {-embedded} to {known - 1}, got {ids.min()} to {ids.max()}. "
            "Image and action ids must be those of this model's vocabulary."
        )
    return ids


def require_choices(ranges: Ids, plan: Plan) -> None:
    """Raise ``MismatchError`` where ``allowed_ids`` leaves a cell of a plan none."""
    low, high = ranges[plan.target[plan.target >= 0]].T
    if (low >= high).any():
        raise MismatchError(
            "expected ids that each cell may take, got none for some. The model's vocabulary rules leave cells out; "
            "see AllowedIds in docs/adapters.md."
        )
