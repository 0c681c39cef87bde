"""What replay is asked with: a plan, a model and a sampler, and nothing else in their places."""

from typing import Any

from diagplan.adapters.contract import Model
from diagplan.adapters.samplers import Greedy, Sample
from diagplan.planner.arguments import named_briefly, require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout

__all__ = ["require_model", "require_replayable", "require_sampler"]

_MEMBERS = ("family", "vocab_size", "positions", "device", "dtype", "cache_shapes", "vocabulary", "grid")
_METHODS = ("new_cache", "weight_bytes", "fingerprint", "forward")


def require_model(model: Any) -> None:
    """Raise ``SpecError`` unless ``model`` has the members of ``diagplan.adapters.contract.Model``."""
    lacking = [name for name in (*_MEMBERS, *_METHODS) if not hasattr(model, name)]
    if not lacking and not isinstance(model, type):
        return
    said = f"It lacks {', '.join(lacking[:4])}. " if lacking else ""
    raise SpecError(
        f"expected model to be a model behind the forward contract, got model={named_briefly(model)}. {said}"
        "Load one with diagplan.load_model, or write an adapter for it (docs/adapters.md)."
    )


def require_sampler(sampler: Any) -> None:
    """Raise ``SpecError`` unless ``sampler`` is ``Greedy()``, ``Sample(...)`` or ``None``."""
    remedy = "diagplan.sampler_for makes one by a family's rules."
    require_kind("sampler", sampler, Greedy | Sample | None, remedy, what="Greedy() or Sample(...)")


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
    remedy = "Compile one first."
    if isinstance(model, Plan | Rollout):
        remedy = "Swap plan and model."
    elif isinstance(plan, Plan | Rollout):
        remedy = "Replay a Plan with replay, a Rollout with roll."
    require_kind("plan", plan, kind, remedy)
    require_model(model)
    require_sampler(sampler)
