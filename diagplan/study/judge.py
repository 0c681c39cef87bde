"""One judge for all plans: the loss of a model on generated tokens, teacher-forced with next-token masks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model
from diagplan.backends.given import given_from_prompt, given_slots
from diagplan.backends.runtime import runtime_of
from diagplan.planner.layout import Layout
from diagplan.planner.rollout import Rollout

__all__ = ["generated_loss", "rolled_loss"]

Ids = NDArray[np.int64]
#: The given ids [N, G] of a layout, a prompt and actions.
Given = Callable[[Layout, Ids, Ids], Ids]


def generated_loss(
    model: Model,
    layout: Layout,
    prompt: Ids,
    actions: Ids,
    tokens: Ids,
    *,
    batch: int = 32,
    given: Given = given_from_prompt,
) -> NDArray[np.float64]:
    """Nats a token by clip and frame, float64 [N, T].

    One causal pass over prompt, actions and tokens, cut into frames so that no more than one frame's logits are held.

    Args:
        model: the judge.
        layout: of prompt and tokens.
        prompt: int [N, F, rows, cols].
        actions: blocks int [N, F - 1 + T, n].
        tokens: int [N, T, rows, cols], generated under whatever plan.
        batch: clips at a time.
        given: the given ids in slot order, of a layout, a prompt and actions.
    """
    cells = layout.cell_slots().astype(np.int64)
    sequences = np.zeros((len(tokens), layout.positions), np.int64)
    sequences[:, given_slots(layout)] = given(layout, prompt, actions)
    sequences[:, cells.ravel()] = tokens.reshape(len(tokens), -1)
    return np.concatenate([
        _losses(model, sequences[at : at + batch], cells) for at in range(0, len(sequences), batch)
    ])  # fmt: skip


def rolled_loss(
    model: Model,
    rollout: Rollout,
    prompt: Ids,
    actions: Ids,
    tokens: Ids,
    *,
    batch: int = 32,
    given: Given = given_from_prompt,
) -> NDArray[np.float64]:
    """Nats a token by clip and frame, float64 [N, T]: each frame in the window that generates it.

    Args:
        model: the judge.
        rollout: whose windows these are; its schedule does not matter.
        prompt: int [N, F, rows, cols].
        actions: blocks int [N, F - 1 + T, n].
        tokens: int [N, T, rows, cols], generated under whatever plan.
        batch: clips at a time.
        given: the given ids in slot order, of a layout, a prompt and actions.
    """
    video = np.concatenate([prompt, tokens], axis=1)
    losses = []
    for window in rollout.windows:
        start = window.first + window.kept
        end = start + window.frames
        layout = rollout.plan_of(window).layout
        kept, between = video[:, window.first : start], actions[:, window.first : end - 1]
        losses.append(generated_loss(model, layout, kept, between, video[:, start:end], batch=batch, given=given))
    return np.concatenate(losses, axis=1)


def _losses(model: Model, ids: Ids, cells: Ids) -> NDArray[np.float64]:
    runtime = runtime_of(model)
    cache = model.new_cache(*ids.shape)
    fed, losses = 0, []
    for frame in cells.reshape(len(cells), -1):
        end = int(frame.max())  # the last cell is fed with the next frame
        places = np.arange(fed, end)
        mask = np.arange(end) <= places[:, None]
        given, at, seen, rows = (runtime.put(array) for array in (ids[:, fed:end], places, mask, frame - 1 - fed))
        with runtime.inference():
            logits = model.forward(given, at, at, seen, cache, rows)
            scores = np.array(runtime.numpy(runtime.float32(logits)), np.float32)
        top = scores.max(-1)
        total = np.log(np.exp(scores - top[..., None]).sum(-1, dtype=np.float64)) + top
        chosen = np.take_along_axis(scores, ids[:, frame, None], axis=2)[..., 0]
        losses.append((total - chosen).mean(1))
        fed = end
    return np.stack(losses, axis=1)
