"""Are these tokens of a rollout the model's? Every window's by itself, with the frames that it was given."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model
from diagplan.adapters.samplers import Sampler
from diagplan.backends.arguments import require_replayable
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import batched, given_from_prompt
from diagplan.backends.prepared import prepare
from diagplan.backends.teacher_check import TeacherCheck, joined, teacher_check
from diagplan.planner.rollout import Rollout

__all__ = ["check_rolled"]

Integers = NDArray[np.integer[Any]]


def check_rolled(
    rollout: Rollout,
    model: Model,
    tokens: Integers,
    prompt: Integers,
    actions: Integers | None = None,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    eps: float | None = None,
    chunk: int = 512,
) -> TeacherCheck:
    """Derive the tokens of a rollout anew, window by window: ``diagplan.check_tokens`` for ``roll``.

    Args:
        rollout: that was replayed.
        model: that replayed it.
        tokens: of all generated frames, int [B, T, h, w], as ``roll`` returns them.
        prompt: as for ``roll``.
        actions: as for ``roll``, as an array.
        sampler: as for ``roll``.
        seed: as for ``roll``.
        samples: as for ``roll``.
        eps: as for ``diagplan.backends.teacher_check.teacher_check``.
        chunk: entries of the widest pass.

    Returns:
        what all windows say together; slots are counted in the whole video.

    Raises:
        MismatchError: arrays of other shapes, or ids that the model does not have.
        DiagplanError: as ``teacher_check``.
    """
    require_replayable(rollout, model, sampler, kind=Rollout)
    layout = rollout.plans[0].layout
    grid = (layout.rows, layout.cols)
    ids = batched("tokens", tokens, (rollout.frames, *grid))
    first = batched("prompt", prompt, (rollout.prompt_frames, *grid))
    if len(first) not in (1, len(ids)):
        raise MismatchError(f"expected a prompt for all samples or for each of {len(ids)}, got {len(first)}.")
    video = np.concatenate([np.broadcast_to(first, (len(ids), *first.shape[1:])), ids], axis=1)
    gaps = rollout.prompt_frames + rollout.frames - 1
    blocks = None if actions is None else batched("actions", actions, (gaps, layout.between_frames))
    checks = []
    for window in rollout.windows:
        plan, start = rollout.plan_of(window), window.first + window.kept
        end = start + window.frames
        between = None if blocks is None else blocks[:, window.first : end - 1]
        given = given_from_prompt(plan.layout, video[:, window.first : start], between)
        ready = prepare(
            plan, model, sampler=sampler, seed=seed, batch=len(ids), samples=samples, chunk=chunk, static=False
        )
        given = np.broadcast_to(given, (len(ids), given.shape[1]))
        by = window.first * plan.layout.frame_stride
        checks.append(teacher_check(ready, given, video[:, start:end], eps=eps, by=by))
    return joined(checks)
