"""A chain on a model in one call: a preview and its picture, several images in one sequence."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.samplers import Sampler
from diagplan.backends import replay as executor
from diagplan.backends.arguments import require_replayable
from diagplan.backends.chained import Chained, OnFrame, replay_chain
from diagplan.backends.given import batched
from diagplan.backends.guidance import Guidance
from diagplan.backends.selftest import require_tested
from diagplan.models.loading import guided_ids
from diagplan.planner.chain import Chain

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model

__all__ = ["run_chain"]

Integers = NDArray[np.integer[Any]]


def run_chain(
    chain: Chain,
    model: "Model",
    given: Integers,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
    samples: Sequence[int] | None = None,
    guidance: Guidance | None = None,
    unconditional: Integers | Sequence[Integers] | None = None,
    guided_steps: tuple[int, int | None] | None = None,
    pad: Sequence[int] | None = None,
    lead: Any = None,
    on_frame: OnFrame | None = None,
    on_pass: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 512,
    static: bool | None = None,
) -> Chained:
    """Replay a chain on a model.

    Args:
        chain: from ``compile_chain``.
        model: from ``load_model``, or one behind the forward contract.
        given: the ids of ``chain.given_slots()``, those of the whole sequence that no plan generates, in slot order,
            int [G] or [B, G]: a prompt, and what lies between grids or rows.
        sampler: ``Greedy()`` by default.
        seed: each sample is keyed by (seed, its number).
        samples: the number of each sample, B; 0 to B - 1 by default.
        guidance: as for ``replay``.
        unconditional: as for ``replay``, of ``chain.given_slots()``.
        guided_steps: steps with guidance, first and end (``None``: the last), counted in each plan.
        pad: as for ``replay``.
        lead: as for ``replay``.
        on_frame: called with the number of the plan, of its frame, and the frame's tokens, int64 [B, h, w], as soon as
            the frame is complete.
        on_pass: called with the number of passes that are done, of ``chain.cost().passes``.
        cancelled: asked after each pass; if true the chain ends there.
        chunk: feeds of the widest pass: wider steps, such as a long prompt, are cut.
        static: as for ``diagplan.backends.replay.prepare``.

    Returns:
        the tokens of each plan, int64 [B, T, h, w], and what the run took.

    Raises:
        InvalidPlanError: the chain does not verify.
        DiagplanError: a model that has not been tested, and does not keep to the forward contract.
        SpecError: an argument of another kind, or a seed out of range.
        MismatchError: chain, model and ids do not fit together.
        NumericError: logits that are not finite.
        CapacityError: too little memory.

    >>> run_chain(chain, model, prompt).tokens[-1].shape  # doctest: +SKIP
    (1, 1, 32, 32)
    """
    require_replayable(chain, model, sampler, kind=Chain)
    require_tested(model)
    for plan in chain.plans:
        executor.require_grid(plan, model)
    ids = batched("given", given, (len(chain.given_slots()),))
    rows = guided_ids(ids, guidance, unconditional)
    return replay_chain(
        chain, model, rows, sampler=sampler, seed=seed, batch=len(ids), samples=samples, guidance=guidance,
        guided_steps=guided_steps, pad=pad, lead=lead, on_frame=on_frame, on_pass=on_pass, cancelled=cancelled,
        chunk=chunk, static=static,
    )  # fmt: skip
