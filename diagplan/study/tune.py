"""From a budget to a plan, in one call: price what could do, join what a study measured, choose, compile, verify."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diagplan.planner.arguments import require_kind
from diagplan.planner.budget import Budget
from diagplan.planner.errors import DocumentError, InvalidPlanError, SpecError
from diagplan.planner.front import Choice, Latency, Loss, choose_plan, pareto_front
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.tuning import Accepted, Candidate, Priced, candidate_plan, price
from diagplan.schemas.curve import CurveDocument, curve_of, require_curve_for
from diagplan.schemas.verify import verify
from diagplan.study.quality import Judged, losses_for, read_judged, world_digest

__all__ = ["Tuned", "tune_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What was looked at, and what was chosen.

    Attributes:
        priced: every candidate with its time.
        front: those that no other beats, the fastest first.
        losses: what the study measured; ``None``: there was none.
        judged: the study.
        choice: the best, or the nearest and what limits.
        plan: the best, compiled and verified; ``None``: nothing fits.
    """

    priced: Sequence[Priced]
    front: Sequence[Priced]
    losses: Mapping[Candidate, Loss] | None
    judged: Judged | None
    choice: Choice
    plan: Plan | None


def tune_plan(
    layout: Layout,
    document: CurveDocument,
    budget: Budget,
    *,
    policies: Policies | Sequence[Policies] | None = None,
    study: str | Path | None = None,
    world: str | Path | None = None,
    max_loss: float | None = None,
    latency: Latency = "clip",
    accepted: Sequence[Accepted] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """The best plan of a layout within a budget of time.

    Without a study nothing is known of quality, and of the plans within the budget the one with most passes is taken.
    With one only plans that it has judged are.

    Args:
        layout: of the plan.
        document: the cost curve of the model that is to run it.
        budget: of time.
        policies: of all candidates, or several that are tried with each schedule; with a study also those that it has
            judged.
        study: the folder of a study of the model.
        world: the world model's folder; a study of another model is refused.
        max_loss: the most loss over next-token prediction's, at the upper end of the study's interval.
        latency: ``"first-frame"``: of the plans within the limits the one that shows its first frame first.
        accepted: what speculative replay of next-token prediction did on this model; each is one more candidate.
        on_progress: called with schedules done and in all.

    Raises:
        SpecError: arguments that contradict each other.
        DocumentError: a curve that does not hold for the layout, or a study that is empty or of another grid.
    """
    require_kind("document", document, CurveDocument, "Give read_curve(path).")
    require_kind("budget", budget, Budget, 'Give parse_budget("10 fps").')
    if latency not in ("clip", "first-frame"):
        raise SpecError(f"expected latency to be clip or first-frame, got latency={str(latency)[:60]!r}.")
    require_curve_for(document, layout=layout)
    chosen = [policies or Policies()] if policies is None or isinstance(policies, Policies) else list(policies)
    curve = curve_of(document)
    judged = None if study is None else read_judged(study, layout)
    if judged is not None and world is not None and judged.weights != world_digest(Path(world)):
        raise DocumentError(
            f"expected a study of the same model, got one of {judged.model} with other weights. Give its own study."
        )
    also = () if judged is None else tuple(judged.losses)
    priced = price(layout, curve, policies=chosen, also=also, accepted=accepted, on_progress=on_progress)
    losses = None if judged is None else losses_for(priced, judged)
    choice = choose_plan(priced, budget, curve, frames=layout.frames, losses=losses, max_loss=max_loss, latency=latency)
    plan = None
    if choice.best is not None:
        plan = candidate_plan(layout, choice.best.candidate)
        report = verify(plan)
        if not report.ok:
            raise InvalidPlanError(
                f"the plan that was chosen does not verify: {report.diagnostics[0].message} Please report this."
            )
    return Tuned(
        priced=priced, front=pareto_front(priced, losses, latency=latency), losses=losses, judged=judged, choice=choice,
        plan=plan,
    )  # fmt: skip
