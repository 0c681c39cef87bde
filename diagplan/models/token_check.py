"""Are these tokens what a model chooses? Beside ``replay``: what it takes, and the tokens that came out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.samplers import Sampler
from diagplan.backends import replay as executor
from diagplan.backends.arguments import require_replayable
from diagplan.backends.guidance import Guidance
from diagplan.backends.teacher_check import TeacherCheck, teacher_check
from diagplan.models.loading import given_ids, guided_ids
from diagplan.planner.plan import Plan

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model

__all__ = ["check_tokens"]

Integers = NDArray[np.integer[Any]]


def check_tokens(
    plan: Plan,
    model: "Model",
    tokens: Integers,
    prompt: Integers | None = None,
    actions: Integers | None = None,
    *,
    given: Integers | None = None,
    sampler: Sampler | None = None,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    guidance: Guidance | None = None,
    unconditional: Integers | Sequence[Integers] | None = None,
    guided_steps: tuple[int, int | None] | None = None,
    pad: Sequence[int] | None = None,
    lead: Any = None,
    eps: float | None = None,
    chunk: int = 512,
) -> TeacherCheck:
    """Derive the tokens of a replay anew, in one teacher-forced pass over the plan's training plan.

    It does not matter who chose them: step-by-step replay, speculation, another runtime. A token that is not the
    sampler's first choice is told with its shortfall; near-ties are no fault, for logits differ in their last bits
    between passes of other widths (docs/exact.md).

    Args:
        plan: the plan that was replayed.
        model: from ``load_model``.
        tokens: of the generated frames, int [B, T, h, w], as ``replay`` returns them.
        prompt: as for ``replay``, and so are the others but the last two.
        actions: a block for each gap between frames.
        given: instead of both, every given slot's id.
        sampler: how the tokens were chosen.
        seed: of the replay.
        samples: the number of each sample.
        guidance: scale or weights.
        unconditional: every given slot's id without the condition.
        guided_steps: the steps with guidance.
        pad: positions at the beginning that are padding.
        lead: embeddings.
        eps: what counts as a near-tie; by default 1e-3 where logits are float32, 0.5 for bfloat16 and float16.
        chunk: entries of the widest pass.

    Returns:
        the largest shortfall, and every token above ``eps``; ``ok`` says whether there is none.

    Raises:
        DiagplanError: as ``replay``; ``SpecError`` too for a plan with mask rows of its own.

    >>> check_tokens(plan, model, tokens, prompt, actions).ok  # doctest: +SKIP
    True
    """
    require_replayable(plan, model, sampler)
    executor.require_grid(plan, model)
    ids = given_ids(plan, prompt, actions, given)
    rows = guided_ids(ids, guidance, unconditional)
    prepared = executor.prepare(
        plan, model, sampler=sampler, seed=seed, batch=len(ids), samples=samples, guidance=guidance,
        guided_steps=guided_steps, pad=pad, chunk=chunk,
    )  # fmt: skip
    return teacher_check(prepared, rows, tokens, lead=lead, eps=eps)
