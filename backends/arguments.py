"""What replay is asked with: a plan, a model and a sampler, and nothing else in their places."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diagplan.adapters.contract import Model
from diagplan.adapters.samplers import Greedy, Sample
from diagplan.backends.errors import MismatchError
from diagplan.planner.arguments import named_briefly, require_call, require_kind
from diagplan.planner.chain import Chain
from diagplan.planner.checker import verify_plan
from diagplan.planner.errors import InvalidPlanError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout
from diagplan.planner.shown import shown

__all__ = [
    "require_callbacks",
    "require_model",
    "require_replayable",
    "require_sampler",
    "require_seed",
    "require_seeds",
    "require_valid",
]

_MEMBERS = ("family", "vocab_size", "positions", "device", "dtype", "cache_shapes", "vocabulary", "grid")
_METHODS = ("new_cache", "weight_bytes", "fingerprint", "forward")


def require_model(model: Any) -> None:
    """Raise ``SpecError`` unless ``model`` has the members of ``diagplan.adapters.contract.Model``."""
    lacking = [name for name in (*_MEMBERS, *_METHODS) if not hasattr(model, name)]
    if not lacking and not isinstance(model, type):
        return
    missing = f"It lacks {', '.join(lacking[:4])}. " if lacking else ""
    raise SpecError(
        f"expected model to be a model behind the forward contract, got model={named_briefly(model)}. {missing}"
        "Load one with diagplan.load_model, or write an adapter for it (docs/adapters.md)."
    )


def require_sampler(sampler: Any) -> None:
    """Raise ``SpecError`` unless ``sampler`` is ``Greedy()``, ``Sample(...)`` or ``None``."""
    remedy = "diagplan.sampler_for makes one by a family's rules."
    require_kind("sampler", sampler, Greedy | Sample | None, remedy, what="Greedy() or Sample(...)")


def require_seed(seed: object) -> int:
    """The seed as a plain ``int``.

    Raises:
        SpecError: no integer, or one that 63 bits do not hold.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise SpecError(
            f"expected seed to be an integer, got seed={shown(seed)}. Give a whole number from 0 to 2**63 - 1."
        )
    if not 0 <= seed < 1 << 63:
        raise SpecError(f"expected 0 <= seed < 2**63, got seed={shown(int(seed))}. Give another seed.")
    return int(seed)


def require_seeds(seed: object, batch: int) -> int | tuple[int, ...]:
    """One seed for all samples, or the seed of each of ``batch``.

    Raises:
        SpecError: as ``require_seed``.
        MismatchError: seeds for another number of samples.
    """
    if not isinstance(seed, Sequence | np.ndarray) or isinstance(seed, str | bytes):
        return require_seed(seed)
    if len(seed) != batch:
        raise MismatchError(
            f"expected one seed, or the seeds of {batch} sample(s), got {len(seed)}. Give each its own."
        )
    return tuple(require_seed(one) for one in seed)


def require_callbacks(*, on_frame: object = None, on_pass: object = None, **others: object) -> None:
    """Raise ``SpecError`` unless what a replay is to call can be called; ``None``: nothing is."""
    require_call("on_frame", on_frame, "Give one that takes a frame's number and tokens.")
    require_call("on_pass", on_pass, "Give one that takes the number of passes that are done.")
    for name, value in others.items():
        require_call(name, value)


def require_replayable(plan: Any, model: Model, sampler: Any, *, kind: type = Plan) -> None:
    """Check the arguments of a replay by their kind; what they hold is checked later.

    Args:
        plan: must be a ``Plan``, or what ``kind`` says.
        model: must obey the contract.
        sampler: must be ``Greedy``, ``Sample`` or ``None``.
        kind: of the plan: ``Plan``, ``Rollout`` or ``Chain``.

    Raises:
        SpecError: something else stands in the place of one of them.
    """
    remedy = "Compile one first."
    if isinstance(model, Plan | Rollout | Chain):
        remedy = "Swap plan and model."
    elif isinstance(plan, Plan | Rollout | Chain):
        remedy = "Replay a Plan with replay, a Rollout with roll, a Chain with run_chain."
    require_kind("plan", plan, kind, remedy)
    require_model(model)
    require_sampler(sampler)


def require_valid(plan: Plan) -> None:
    """Raise ``InvalidPlanError`` unless a plan verifies."""
    report = verify_plan(plan, cap=1)
    if not report.ok:
        first = next(d for d in report.diagnostics if d.severity == "error")
        raise InvalidPlanError(
            f"expected a valid plan, got {report.errors} error(s), the first {first.code}: {first.message} "
            "`diagplan verify` lists them."
        )
