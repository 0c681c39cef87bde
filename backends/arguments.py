"""What replay is asked with: a plan, a model and a sampler, and nothing else in their places."""

from typing import Any

from diagplan.adapters.contract import Model
from diagplan.adapters.samplers import Greedy, Sample
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout

__all__ = ["require_model", "require_replayable"]

_MEMBERS = ("family", "vocab_size", "positions", "device", "dtype", "cache_shapes", "vocabulary", "grid")
_METHODS = ("new_cache", "weight_bytes", "fingerprint", "forward")


def require_model(model: Any) -> None:
    """Raise ``SpecError`` unless ``model`` has the members of ``diagplan.adapters.contract.Model``."""
    lacking = [name for name in (*_MEMBERS, *_METHODS) if not hasattr(model, name)]
    if lacking or isinstance(model, type):
        raise SpecError(
            f"expected a model behind the forward contract, got {_kind(model)} without {', '.join(lacking[:4])}. "
            "Load one with diagplan.load_model, or write an adapter for it (docs/adapters.md)."
        )


def require_replayable(plan: Any, model: Model, sampler: Any, *, kind: type = Plan) -> None:
    """Check the arguments of a replay by their kind; what they hold is checked later.

    Args:
        plan: must be a ``Plan``, or what ``kind`` says.
        model: must obey the contract.
        sampler: must be ``Greedy``, ``Sample`` or ``None``.
        kind: of the plan: ``Plan`` or ``Rollout``.

    Raises:
        SpecError: something else stands in the place of one of them.
    """
    if not isinstance(plan, kind):
        other = {Plan: Rollout, Rollout: Plan}[kind]
        remedy = "Swap plan and model." if isinstance(model, Plan | Rollout) else "Compile one first."
        if isinstance(plan, other):
            remedy = "Replay a Plan with replay, a Rollout with roll."
        raise SpecError(f"expected a {kind.__name__} as the first argument, got {_kind(plan)}. {remedy}")
    require_model(model)
    if not isinstance(sampler, Greedy | Sample | None):
        raise SpecError(f"expected sampler=Greedy() or Sample(...), got sampler={str(sampler)[:80]!r}.")


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"
