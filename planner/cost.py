"""From passes to seconds: a cost curve as inert data, and the predicted time of plans and rollouts under it.

A static plan names the feeds and the cache slots of every pass before it runs, so its time is a sum over a curve
(feeds, cache slots) -> seconds. The curve is measured (``diagplan.models.measuring``) or an estimate
(``diagplan.planner.roofline``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagplan.planner.arguments import require_kind, require_number
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.passes import pass_shapes
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout
from diagplan.planner.rounding import rounded_up
from diagplan.planner.shown import shown
from diagplan.planner.values import ByValue, read_only

__all__ = ["CostCurve", "PlanCost", "plan_cost", "rollout_seconds", "speculative_cost"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: The most points of a curve.
MAX_POINTS = 4096
#: Speculative passes are padded to multiples of so many feeds, but those of one (backends/window.py).
PASS_GRANULE = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CostCurve(ByValue):
    """Seconds of one forward pass at points of (feeds, cache slots), for a batch. It does nothing; functions take it.

    Between the points the time is piecewise linear in the width at each cache length, and linear from one length to
    the next; beyond the last width it goes on as between the last two, beyond the last length it grows as on the way
    there, by the same share for all widths. What is measured is noisy: ``fitted`` are the nearest times that fall
    neither with the width nor with the length.

    Args:
        width, length: feeds of a pass and cache slots that it attends over, int [P] each; every length has the width 1.
        seconds: of each point, all feeds choosing a token, float [P].
        batch: rows of the model's batch.
        target_seconds: what one feed that chooses a token costs more than one that only writes the cache.
        shape_seconds: what the first pass of a shape costs more than the later ones, in every replay.
        length_step: cache lengths are multiples of this many slots.
        static_widths: widths to which the runtime pads steps by itself, as for CUDA graphs; empty: it does not.
        chunk: feeds of the widest pass; wider steps are cut.
        estimate: whether nothing was measured.

    Raises:
        SpecError: no points, or too many, arrays of other shapes, times that are not finite and positive, two times at
            one point, or a length without the width 1.
    """

    width: Ints
    length: Ints
    seconds: Floats
    batch: int = 1
    target_seconds: float = 0.0
    shape_seconds: float = 0.0
    length_step: int = 64
    static_widths: tuple[int, ...] = ()
    chunk: int = 512
    estimate: bool = False
    fitted: Floats = field(init=False)

    def __init__(
        self,
        *,
        width: ArrayLike,
        length: ArrayLike,
        seconds: ArrayLike,
        batch: int = 1,
        target_seconds: float = 0.0,
        shape_seconds: float = 0.0,
        length_step: int = 64,
        static_widths: Sequence[int] = (),
        chunk: int = 512,
        estimate: bool = False,
    ) -> None:
        held: dict[str, Any] = {"estimate": estimate}
        for name, number in (("batch", batch), ("length_step", length_step), ("chunk", chunk)):
            held[name] = require_int(name, number, 1)
        held["static_widths"] = tuple(require_int("static_widths", width, 1) for width in static_widths)
        for name, cost in (("target_seconds", target_seconds), ("shape_seconds", shape_seconds)):
            held[name] = require_number(name, cost, "Measure it again.", finite=True)
            if held[name] < 0:
                raise SpecError(f"expected {name} >= 0, got {name}={shown(held[name])}. Measure it again.")
        held["width"], held["length"], held["seconds"] = columns = _columns(width, length, seconds)
        held["fitted"] = read_only(_monotone(*columns), np.float64)
        for name, value in held.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        kind = "estimate" if self.estimate else "measured"
        return f"<CostCurve of {len(self.seconds)} points, batch {self.batch}, {kind}>"

    @property
    def residuals(self) -> Floats:
        """How far the fitted times are from those of the points, as a share of these, float64 [P]."""
        return np.asarray(np.abs(self.fitted - self.seconds) / self.seconds)

    def at(self, width: ArrayLike, length: ArrayLike) -> Floats:
        """Seconds of passes of so many feeds over so many cache slots, float64 of their common shape.

        >>> curve = CostCurve(width=[1, 9], length=[64, 64], seconds=[1.0, 3.0])
        >>> curve.at([1, 5, 13], 64).tolist()
        [1.0, 2.0, 4.0]
        """
        asked, long = np.broadcast_arrays(np.asarray(width, np.float64), np.asarray(length, np.float64))
        lengths = np.unique(self.length)
        by_length = np.stack([_line(self.width[on], self.fitted[on], asked) for on in self.length == lengths[:, None]])
        by_length = np.maximum.accumulate(
            by_length, axis=0
        )  # a shorter line that goes on steeper crosses no longer one
        if len(lengths) == 1:
            return np.asarray(by_length[0])
        right = np.clip(np.searchsorted(lengths, long), 1, len(lengths) - 1)
        share = np.clip((long - lengths[right - 1]) / (lengths[right] - lengths[right - 1]), 0, 1)
        low, high = (np.take_along_axis(by_length, at[None], axis=0)[0] for at in (right - 1, right))
        beyond = np.maximum(0.0, long - lengths[-1]) / (lengths[-1] - lengths[-2])
        return np.asarray((low + share * (high - low)) * (1 + beyond * self._growth(lengths)))

    def _growth(self, lengths: Ints) -> float:
        """By which share of its time a pass at the last length takes longer than at the one before; of all widths."""
        last, before = self.length == lengths[-1], self.length == lengths[-2]
        longer = self.fitted[last][np.isin(self.width[last], self.width[before])]
        shorter = self.fitted[before][np.isin(self.width[before], self.width[last])]
        return float(np.median((longer - shorter) / longer))

    def covers(self, width: ArrayLike, length: ArrayLike) -> bool:
        """Whether passes lie between the curve's points: none is wider or longer than what was measured."""
        return bool(np.max(width) <= self.width.max() and np.max(length) <= self.length.max())


def _columns(width: ArrayLike, length: ArrayLike, seconds: ArrayLike) -> tuple[Ints, Ints, Floats]:
    """The points in the order of lengths and widths."""
    try:
        arrays = [np.asarray(width), np.asarray(length), np.asarray(seconds, np.float64)]
    except (TypeError, ValueError):
        raise SpecError("expected the points of a curve as three arrays of numbers, got others.") from None
    shapes, sizes = {array.shape for array in arrays}, sorted(array.size for array in arrays)
    size = arrays[2].size
    if len(shapes) != 1 or arrays[2].ndim != 1 or not 0 < size <= MAX_POINTS:
        raise SpecError(
            f"expected 1 to {MAX_POINTS} points of width, length and seconds, got arrays of {shown(sizes)}. Give each "
            "a width, a length and a time."
        )
    if any(array.dtype.kind not in "iu" or array.min() < 1 or array.max() > 1 << 30 for array in arrays[:2]):
        raise SpecError("expected widths and lengths of at least 1, as whole numbers, got others.")
    if not (np.isfinite(arrays[2]).all() and (arrays[2] > 0).all()):
        worst = int(np.flatnonzero(~(np.isfinite(arrays[2]) & (arrays[2] > 0)))[0])
        raise SpecError(
            f"expected finite times above 0, got seconds={shown(float(arrays[2][worst]))} at width "
            f"{int(arrays[0][worst])}, length {int(arrays[1][worst])}. Measure the curve again."
        )
    order = np.lexsort((arrays[0], arrays[1]))
    w, n, s = (array[order] for array in arrays)
    if ((np.diff(w) == 0) & (np.diff(n) == 0)).any():
        raise SpecError("expected one time at each width and length, got several. Keep their median.")
    if (w[np.r_[True, np.diff(n) > 0]] != 1).any():
        raise SpecError("expected the width 1 at every length, got a length without it. Measure the curve again.")
    return read_only(w, np.int64), read_only(n, np.int64), read_only(s, np.float64)


def _monotone(width: Ints, length: Ints, seconds: Floats) -> Floats:
    """The points' times, made to fall neither with the width nor with the length (isotonic regression, each way)."""
    fitted = seconds.copy()
    for column in (length, width):
        for value in np.unique(column):
            on = np.flatnonzero(column == value)
            fitted[on] = _isotonic(fitted[on])
    for value in np.unique(length):  # where lengths have other widths, the second way may undo a bit of the first
        on = np.flatnonzero(length == value)
        fitted[on] = np.maximum.accumulate(fitted[on])
    return fitted


def _isotonic(values: Floats) -> Floats:
    """The nearest values, by least squares, that do not fall: neighbours that do are averaged.

    >>> _isotonic(np.array([1.0, 3.0, 2.0, 4.0])).tolist()
    [1.0, 2.5, 2.5, 4.0]
    """
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [((a * m + b * n) / (m + n), m + n)]
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])


def _line(width: Ints, seconds: Floats, at: Floats) -> Floats:
    """Piecewise linear; beyond the last width as between the last two, or in proportion where there is one only."""
    inside = np.interp(at, width, seconds)
    slope = (seconds[-1] - seconds[-2]) / (width[-1] - width[-2]) if len(width) > 1 else seconds[-1] / width[-1]
    return np.asarray(inside + slope * np.maximum(0.0, at - width[-1]))


class PlanCost(NamedTuple):
    """What a plan is predicted to take.

    Attributes:
        seconds: all passes, the prompt's too.
        first_frame_seconds: until the first generated frame is complete.
        passes: steps of the plan; under speculation those that are expected.
        widest: feeds of the widest step, the prompt's not counted, padding counted.
        shapes: of passes, as (feeds, cache slots).
        inside: whether no pass is wider or longer than the curve's points.
    """

    seconds: float
    first_frame_seconds: float
    passes: int
    widest: int
    shapes: int
    inside: bool


def _require_curve(curve: object) -> None:
    require_kind("curve", curve, CostCurve, "The curve comes second: plan_cost(plan, curve).")


def plan_cost(plan: Plan, curve: CostCurve) -> PlanCost:
    """The predicted time of a plan.

    Raises:
        SpecError: an argument of another kind.

    >>> from diagplan.planner.compiler import compile_plan
    >>> from diagplan.planner.layout import Layout
    >>> from diagplan.planner.schedule import Diagonal
    >>> curve = CostCurve(width=[1, 9], length=[64, 64], seconds=[1.0, 3.0])
    >>> plan_cost(compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1)), curve).seconds
    4.75
    """
    require_kind("plan", plan, Plan, "The plan comes first: plan_cost(plan, curve).")
    _require_curve(curve)
    shapes = pass_shapes(plan, chunk=curve.chunk, length_step=curve.length_step, static_widths=curve.static_widths)
    seconds = _seconds(curve, shapes.width, shapes.target, shapes.length)
    return PlanCost(
        seconds=float(seconds.sum()),
        first_frame_seconds=float(seconds[: shapes.first_frame].sum()),
        passes=plan.steps,
        widest=shapes.widest,
        shapes=len(_kinds(shapes.width, shapes.length)[0]),
        inside=curve.covers(shapes.width, shapes.length),
    )


def _kinds(width: Ints, length: Ints) -> tuple[Ints, Ints]:
    """The shapes of passes, and the first pass of each."""
    shapes, first = np.unique(width * (1 << 31) + length, return_index=True)
    return shapes, first


def _seconds(curve: CostCurve, width: Ints, target: Ints, length: Ints) -> Floats:
    """Seconds of each pass, float64 [passes]: the curve's are of passes in which every feed chooses a token."""
    whole = curve.at(width, length)
    least = curve.at(np.ones_like(width), length)
    seconds: Floats = np.maximum(least, whole - curve.target_seconds * (width - target))
    seconds[_kinds(width, length)[1]] += curve.shape_seconds
    return seconds


def rollout_seconds(rollout: Rollout, curve: CostCurve) -> PlanCost:
    """The predicted time of all windows of a rollout, each of which begins with its prompt.

    Raises:
        SpecError: an argument of another kind.
    """
    require_kind("rollout", rollout, Rollout, "The rollout comes first: rollout_seconds(rollout, curve).")
    costs = [plan_cost(plan, curve) for plan in rollout.plans]
    used = [costs[window.plan] for window in rollout.windows]
    return PlanCost(
        seconds=sum(cost.seconds for cost in used),
        first_frame_seconds=used[0].first_frame_seconds,
        passes=sum(cost.passes for cost in used),
        widest=max(cost.widest for cost in costs),
        shapes=sum(cost.shapes for cost in used),
        inside=all(cost.inside for cost in costs),
    )


def speculative_cost(
    plan: Plan, curve: CostCurve, *, window: int, accepted: float, fed: float | None = None
) -> PlanCost:
    """The predicted time of a plan that is replayed speculatively: its tokens, in fewer passes of one width.

    Behind the prompt, a pass feeds ``fed`` of the plan's feeds and accepts ``accepted`` of them on average, figures
    that only runs can tell: they depend on the model, the sampling and the draft.

    Args:
        plan: the plan whose tokens are wanted.
        curve: of the model.
        window: feeds of a pass.
        accepted: feeds that a pass accepts on average, from 1 to ``fed``.
        fed: feeds of a pass on average, where windows are narrower while guesses fail; ``None``: ``window``.

    Raises:
        SpecError: an argument of another kind or out of range.
    """
    require_kind("plan", plan, Plan, "The plan comes first: speculative_cost(plan, curve, ...).")
    _require_curve(curve)
    window = require_int("window", window, 1)
    accepted = require_number("accepted", accepted, "Give the mean of a run.", finite=True)
    if fed is not None and not 1 <= require_number("fed", fed, "Give the mean of a run.", finite=True) <= window:
        raise SpecError(f"expected fed from 1 to window={shown(window)}, got fed={shown(fed)}. Give a mean.")
    if not 1 <= accepted <= (fed or window):
        most = f"window={shown(window)}" if fed is None else f"fed={shown(fed)}"
        raise SpecError(f"expected accepted from 1 to {most}, got accepted={shown(accepted)}. Give a mean.")
    wide = 1 if window == 1 else rounded_up(math.ceil(fed or window), PASS_GRANULE)
    shapes = pass_shapes(plan, chunk=curve.chunk, length_step=curve.length_step)
    prompt, feeds = shapes.prompt, len(shapes.feed_reach)
    first = np.unique(np.ceil(np.arange(0.0, feeds - prompt, accepted)).astype(np.int64)) + prompt
    end = np.minimum(first + wide, feeds)
    begun = np.arange(0, end[0], curve.chunk)  # the first pass feeds the prompt too, and is cut where it is wide
    start = np.concatenate([begun, first[1:]])
    end = np.concatenate([begun[1:], end])
    width = end - start
    length = rounded_up(shapes.feed_reach[end - 1], curve.length_step)
    seconds = _seconds(curve, width, np.minimum(width, np.maximum(0, end - prompt)), length)
    of_frame = max(1, -(-(shapes.first_frame_feed + 1 - prompt) // accepted))
    frame_done = len(begun) - 1 + min(len(first), int(of_frame))
    return PlanCost(
        seconds=float(seconds.sum()),
        first_frame_seconds=float(seconds[:frame_done].sum()),
        passes=len(first),
        widest=min(wide, feeds - prompt),
        shapes=len(_kinds(width, length)[0]),
        inside=curve.covers(width, length),
    )
