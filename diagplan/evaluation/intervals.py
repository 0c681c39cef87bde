"""Bootstrap confidence intervals over clips: percentiles of the figure over clips drawn again with replacement."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagplan.planner.errors import SpecError

__all__ = ["LEVEL", "RESAMPLES", "Interval", "difference", "interval"]

#: The share of resampled figures between an interval's ends, and how often clips are drawn.
LEVEL, RESAMPLES = 0.95, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and what it would be over other clips.

    Attributes:
        mean: the figure over all clips; ``None`` where nothing counts.
        low, high: the interval's ends; ``None`` for a single clip, which says nothing about others.
    """

    mean: float | None
    low: float | None
    high: float | None


def interval(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    seed: int = 0,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    shown: Callable[[NDArray[np.float64]], Any] | None = None,
) -> Interval:
    """The sum of ``values`` over the sum of ``weights``, with a percentile interval.

    Args:
        values: one number a clip, [N].
        weights: what each clip counts for, [N]; 1 each by default. A clip of weight 0 must have the value 0.
        seed: of the draws; equal for figures that are compared, so that the same clips are drawn for both.
        level: of the interval.
        resamples: how often clips are drawn.
        shown: applied to the figure and to every drawn one, e.g. decibels of a mean squared error.

    Raises:
        SpecError: no clips, numbers that are not finite, a negative weight, or a level not between 0 and 1.

    >>> interval([1.0, 1.0, 1.0])
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    value = np.asarray(values, np.float64)
    weight = np.ones_like(value) if weights is None else np.asarray(weights, np.float64)
    if value.ndim != 1 or value.shape != weight.shape or not len(value):
        raise SpecError(f"expected one number a clip and a weight for each, got {value.shape} and {weight.shape}.")
    if not (np.isfinite(value).all() and np.isfinite(weight).all() and (weight >= 0).all()):
        raise SpecError("expected finite numbers and weights of at least 0, got others.")
    if not 0 < level < 1:
        raise SpecError(f"expected 0 < level < 1, got level={level}.")
    if resamples < 1:
        raise SpecError(f"expected resamples >= 1, got resamples={resamples}.")
    if not weight.any():
        return Interval(mean=None, low=None, high=None)
    show = shown or (lambda figure: figure)
    mean = float(show(np.array(value.sum() / weight.sum())))
    if len(value) == 1:
        return Interval(mean=mean, low=None, high=None)
    drawn = np.random.default_rng(seed).integers(len(value), size=(resamples, len(value)))
    total = weight[drawn].sum(1)
    figures = show(value[drawn].sum(1)[total > 0] / total[total > 0])  # a draw in which nothing counts has no figure
    ends = (50 * (1 - level), 50 * (1 + level))
    low, high = (float(end) for end in np.percentile(figures, ends, method="nearest"))  # infinite ones too
    return Interval(mean=mean, low=low, high=high)


def difference(
    values: ArrayLike, others: ArrayLike, weights: ArrayLike | None = None, *, seed: int = 0, **options: Any
) -> Interval:
    """How much larger ``values`` is than ``others`` over the same clips: clips are drawn once for both.

    Args:
        values: as for ``interval``.
        others: the same of what it is compared with.
        weights: of both.
        seed: as for ``interval``.
        options: as for ``interval``.

    Raises:
        SpecError: as ``interval``, or another number of clips.
    """
    mine, theirs = np.asarray(values, np.float64), np.asarray(others, np.float64)
    if mine.shape != theirs.shape:
        raise SpecError(f"expected figures of the same clips, got {mine.shape} and {theirs.shape}.")
    return interval(mine - theirs, weights, seed=seed, **options)
