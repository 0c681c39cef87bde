"""Which of many plans to take: those that no other beats, and the best within a budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagplan.planner.budget import Budget
from diagplan.planner.cost import CostCurve
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown
from diagplan.planner.tuning import Candidate, Priced

__all__ = ["Choice", "Latency", "Loss", "choose_plan", "pareto_front"]

Latency = Literal["clip", "first-frame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a study measured of a plan: how much more loss than next-token prediction's, with its interval.

    Args:
        mean: over clips.
        low, high: the interval's ends; ``None`` for a single clip.
    """

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def most(self) -> float:
        """The upper end of the interval, which a limit is compared with."""
        return self.mean if self.high is None else self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The plan to take, or the nearest.

    Attributes:
        best: the plan within the limits; ``None``: there is none.
        nearest: without one, the plan that comes nearest.
        limits: without one, what stands in the way, in a sentence.
    """

    best: Priced | None
    nearest: Priced | None = None
    limits: str = ""


def _time(one: Priced, latency: Latency) -> float:
    return one.cost.first_frame_seconds if latency == "first-frame" else one.cost.seconds


def pareto_front(
    priced: Sequence[Priced], losses: Mapping[Candidate, Loss] | None = None, *, latency: Latency = "clip"
) -> list[Priced]:
    """The plans that no other beats in time and in what is known of quality, the fastest first.

    Args:
        priced: plans with their times.
        losses: what a study measured; plans that it has not judged are left out. ``None``: there is no study, and more
            passes stand for more quality: the more passes, the more of what comes before a token is known when it is
            chosen. Speculative replay counts as the plan whose tokens it gives.
        latency: the time that counts.
    """
    kept = [one for one in priced if losses is None or one.candidate in losses]
    ordered = sorted(kept, key=lambda one: (_time(one, latency), _worse(one, losses), one.cost.shapes, one.cost.widest))
    front: list[Priced] = []
    least = np.inf
    for one in ordered:
        worse = _worse(one, losses)
        if worse < least:
            front.append(one)
            least = worse
    return front


def _worse(one: Priced, losses: Mapping[Candidate, Loss] | None) -> float:
    """Less is better."""
    if losses is not None:
        return losses[one.candidate].mean
    return -np.inf if one.candidate.speculation is not None else -float(one.cost.passes)


def choose_plan(
    priced: Sequence[Priced],
    budget: Budget,
    curve: CostCurve,
    *,
    frames: int,
    losses: Mapping[Candidate, Loss] | None = None,
    max_loss: float | None = None,
    latency: Latency = "clip",
) -> Choice:
    """The best plan within a budget.

    Within the limits the plan of least loss is taken where a study has measured it, else the one with most passes;
    under the budget ``fastest`` the fastest. ``latency="first-frame"`` takes the one that shows its first frame first.

    Args:
        priced: plans with their times.
        budget: of time.
        curve: under which they were priced.
        frames: that a clip has.
        losses: as for ``pareto_front``.
        max_loss: the most loss over next-token prediction's, at the upper end of the interval.
        latency: what to favour within the limits.

    Raises:
        SpecError: a limit of loss without a study, one that is negative or no number, or no plans.
    """
    if not priced:
        raise SpecError("expected plans to choose from, got none.")
    if max_loss is not None:
        if losses is None:
            raise SpecError("expected a study with max_loss, got none. Its folder says what plans cost in quality.")
        if not 0 <= max_loss < np.inf:
            raise SpecError(f"expected max_loss >= 0, got max_loss={shown(max_loss)}. Give a finite number.")
    within = budget.of_clip(frames)
    judged = [one for one in priced if losses is None or one.candidate in losses]
    good = [
        one for one in judged if max_loss is None or (losses is not None and losses[one.candidate].most <= max_loss)
    ]
    fitting = [one for one in good if one.cost.seconds <= within]
    if fitting:
        key = {
            "first-frame": lambda one: (one.cost.first_frame_seconds, _worse(one, losses)),
            "fastest": lambda one: (one.cost.seconds, one.cost.shapes),
            "best": lambda one: (_worse(one, losses), one.cost.seconds, one.cost.shapes),
        }["first-frame" if latency == "first-frame" else "fastest" if budget.fastest else "best"]
        return Choice(best=min(fitting, key=key))
    if not judged:
        return Choice(best=None, limits="The study has judged none of these plans.")
    if not good:
        assert losses is not None
        nearest = min(judged, key=lambda one: losses[one.candidate].most)
        most = losses[nearest.candidate].most
        return Choice(
            best=None, nearest=nearest,
            limits=f"Quality limits: the least measured loss over next-token prediction's is up to {most:.4g}.",
        )  # fmt: skip
    nearest = min(good, key=lambda one: one.cost.seconds)
    return Choice(best=None, nearest=nearest, limits=_what_limits(nearest, judged, within, curve))


def _what_limits(nearest: Priced, judged: Sequence[Priced], within: float, curve: CostCurve) -> str:
    """Why the fastest plan is too slow."""
    fastest = min(one.cost.seconds for one in judged)
    if fastest <= within:
        return f"Quality limits: without the limit of loss a plan takes {fastest:.3g} s."
    narrow = float(curve.at(1, int(curve.length.min())))
    launches = nearest.cost.passes * narrow
    if launches > within:
        return (
            f"The passes limit: {nearest.cost.passes} of them, at {1e3 * narrow:.3g} ms for the narrowest, take "
            f"{launches:.3g} s. A faster machine or runtime, a smaller dtype or fewer tokens would help."
        )
    return (
        f"The feeds limit: {nearest.cost.passes} narrow passes would take {launches:.3g} s, their widths and the "
        f"prompt the rest of {nearest.cost.seconds:.3g} s. More arithmetic a second would help, or a shorter prompt."
    )
