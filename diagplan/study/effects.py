"""What policies and fine-tuning do: differences between conditions, clip by clip, with intervals."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from diagplan.evaluation.intervals import Interval, difference
from diagplan.planner.policy import Policies
from diagplan.study.conditions import BASE, is_exact
from diagplan.study.results import Result

__all__ = ["TUNED_FIGURES", "TuningEffect", "policy_effects", "tuning_effects"]

#: The curves in which fine-tuning is looked at.
TUNED_FIGURES = ("loss", "equal_truth")


def policy_effects(results: Mapping[str, Result], *, seed: int = 0) -> list[tuple[str, str, Interval]]:
    """What each policy does, on average over all settings of the others: the loss, less that of the default's value.

    Args:
        results: by id.
        seed: of the intervals' draws.

    Returns:
        factor, value, how much the loss grows when the default's value is replaced by it; the default itself has 0.
        Only policies of which several values were run; empty where they were not crossed completely, or without the
        default, for then unlike things would be compared.
    """
    crossed = [result for id_, result in results.items() if id_.startswith("policies/")]
    default = asdict(Policies())
    levels = {name: list(dict.fromkeys(one.plan["policies"][name] for one in crossed)) for name in default}
    complete = len(crossed) == math.prod(map(len, levels.values()))
    if not crossed or not complete or any(default[name] not in values for name, values in levels.items()):
        return []
    effects = []
    for name, values in levels.items():
        means = {
            value: np.mean([_clips(one, "loss") for one in crossed if one.plan["policies"][name] == value], axis=0)
            for value in values
        }
        if len(values) > 1:
            usual = means[default[name]]
            effects += [(name, value, difference(mean, usual, seed=seed)) for value, mean in means.items()]
    return effects


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningEffect:
    """What fine-tuning does under one plan, in one figure.

    A model's gap is the figure under the plan less that of the *same* model under next-token prediction. It leaves out
    what more training does whatever the plan.

    Attributes:
        id: of the fine-tuned model's condition.
        figure: of ``TUNED_FIGURES``.
        over_base: the figure less the base model's under the same plan.
        base_gap, tuned_gap: of both models.
        change: the tuned model's gap less the base model's.
    """

    id: str
    figure: str
    over_base: Interval
    base_gap: Interval
    tuned_gap: Interval
    change: Interval


def tuning_effects(results: Mapping[str, Result], *, seed: int = 0) -> list[TuningEffect]:
    """What fine-tuning does under every plan that both models were run with.

    Args:
        results: by id.
        seed: of the intervals' draws.

    Returns:
        the effects in ``loss``, then in ``equal_truth``, each in the order of the results; without those of
        ``exact``, which are next-token prediction's.
    """
    tuned = [id_ for id_ in results if _base_of(id_) in results and id_.partition("/")[0] != BASE and not is_exact(id_)]
    return [_effect(results, id_, figure, seed) for figure in TUNED_FIGURES for id_ in tuned]


def _effect(results: Mapping[str, Result], id_: str, figure: str, seed: int) -> TuningEffect:
    label = id_.partition("/")[0]
    mine, theirs = (_clips(results[of], figure) for of in (id_, _base_of(id_)))
    my_ntp, their_ntp = (_clips(results[of], figure) for of in (f"{label}/ntp", f"{BASE}/ntp"))
    return TuningEffect(
        id=id_,
        figure=figure,
        over_base=difference(mine, theirs, seed=seed),
        base_gap=difference(theirs, their_ntp, seed=seed),
        tuned_gap=difference(mine, my_ntp, seed=seed),
        change=difference(mine - my_ntp, theirs - their_ntp, seed=seed),
    )


def _base_of(id_: str) -> str:
    return f"{BASE}/{id_.partition('/')[2]}"


def _clips(result: Result, figure: str) -> NDArray[np.float64]:
    """The figure of each clip, float64 [clips]."""
    clips: NDArray[np.float64] = result.curve(figure).mean(1)
    return clips
