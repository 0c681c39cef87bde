"""How two plans differ, feed by feed."""

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.masks import iter_masks
from diagplan.planner.plan import Plan

__all__ = ["Difference", "PlanComparison", "compare_plans"]

#: Feeds times cache slots up to which mask rows are compared bit by bit.
_MAX_BITS = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One feed that differs.

    Args:
        position, target: which feed: its position slot, and the slot it chooses (-1: none).
        what: ``"only a"``, ``"only b"``, ``"step"``, ``"source"``, ``"slot"`` or ``"mask"``.
        a, b: the value in each plan: the step, source or cache slot; for a mask row how many positions are seen;
            -1 where the plan lacks the feed.
    """

    position: int
    target: int
    what: str
    a: int
    b: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanComparison:
    """Differences of two plans: in the header by field name, in the feeds, and how many feeds agree.

    Besides the plan's fields the header may name ``steps``, ``listed rows`` and ``padding`` (with their counts),
    ``slots`` (plans that number their cache slots by different rules: the feeds' slots are then not compared one by
    one) and ``order`` (the first feed that comes at another place in its step). ``masks_compared`` is false where the
    plans are too long to expand their rows.
    """

    header: dict[str, tuple[Any, Any]]
    feeds: tuple[Difference, ...]
    same_feeds: int
    masks_compared: bool

    @property
    def same(self) -> bool:
        """Whether nothing differs, which is so exactly for equal plans."""
        return not self.header and not self.feeds


def compare_plans(a: Plan, b: Plan) -> PlanComparison:
    """Compare two plans whose numbers are in range (``well_formed``).

    Predictors are matched by target; feeds without one by position and order of occurrence. Mask rows are compared as
    sets of positions, so that plans with other cache slot orders can be compared, and named for feeds that agree in
    everything else.
    """
    header = _header(a, b)
    keys_a, keys_b = _keys(a), _keys(b)
    steps_a, steps_b = a.feed_steps(), b.feed_steps()
    differences = [
        Difference(position=key[0], target=key[1], what="only a", a=int(steps_a[feed]), b=-1)
        for key, feed in keys_a.items()
        if key not in keys_b
    ] + [
        Difference(position=key[0], target=key[1], what="only b", a=-1, b=int(steps_b[feed]))
        for key, feed in keys_b.items()
        if key not in keys_a
    ]
    common = [key for key in keys_a if key in keys_b]
    left = np.array([keys_a[key] for key in common], dtype=np.int64)
    right = np.array([keys_b[key] for key in common], dtype=np.int64)
    changed = np.zeros(len(common), dtype=np.bool_)
    columns = [("step", steps_a, steps_b), ("source", a.source, b.source)]
    if "slots" not in header:
        columns.append(("slot", a.slot, b.slot))
    for what, in_a, in_b in columns:
        for i in np.flatnonzero(in_a[left] != in_b[right]).tolist():
            changed[i] = True
            position, target, _ = common[i]
            differences.append(
                Difference(position=position, target=target, what=what, a=int(in_a[left[i]]), b=int(in_b[right[i]]))
            )
    comparable = a.positions == b.positions and max(_bits(a), _bits(b)) <= _MAX_BITS
    if comparable:
        seen_a, seen_b = _row_sums(a), _row_sums(b)
        for i in np.flatnonzero((seen_a[left] != seen_b[right]).any(axis=1) & ~changed).tolist():
            changed[i] = True
            position, target, _ = common[i]
            differences.append(
                Difference(
                    position=position, target=target, what="mask", a=int(seen_a[left[i], 0]), b=int(seen_b[right[i], 0])
                )
            )
    return PlanComparison(
        header=header,
        feeds=tuple(sorted(differences, key=lambda d: (d.position, d.target, d.what))),
        same_feeds=int(np.count_nonzero(~changed)),
        masks_compared=comparable,
    )


def _header(a: Plan, b: Plan) -> dict[str, tuple[Any, Any]]:
    header: dict[str, tuple[Any, Any]] = {
        field.name: (getattr(a, field.name), getattr(b, field.name))
        for field in fields(Plan)
        if not isinstance(getattr(a, field.name), np.ndarray)
        and field.name != "listed"
        and getattr(a, field.name) != getattr(b, field.name)
    }
    if not np.array_equal(a.given, b.given):
        header["given"] = (a.given.tolist(), b.given.tolist())
    if a.steps != b.steps:
        header["steps"] = (a.steps, b.steps)
    if a.listed != b.listed:
        header["listed rows"] = (len(a.listed), len(b.listed))
    rules_a, rules_b = _slot_rules(a), _slot_rules(b)
    if rules_a and rules_b and not rules_a & rules_b:
        header["slots"] = (rules_a.pop(), rules_b.pop())
    padding_a, padding_b = _padding(a), _padding(b)
    if padding_a != padding_b:
        header["padding"] = (len(padding_a), len(padding_b))
    order = _first_out_of_order(a, b)
    if order:
        header["order"] = order
    return header


def _slot_rules(plan: Plan) -> set[str]:
    """The named rules that a plan's numbering of cache slots follows; next-token prediction follows both."""
    real = plan.source >= 0
    slot = plan.slot[real]
    rules: dict[str, NDArray[Any]] = {"position": plan.position[real], "step-order": np.arange(len(slot))}
    return {name for name, expected in rules.items() if np.array_equal(slot, expected)}


def _padding(plan: Plan) -> list[tuple[int, ...]]:
    """Step, position, slot and target of every padding feed."""
    padding = plan.source < 0
    columns = (plan.feed_steps(), plan.position, plan.slot, plan.target)
    return [*zip(*(column[padding].tolist() for column in columns), strict=True)]


def _first_out_of_order(a: Plan, b: Plan) -> tuple[str, str] | None:
    """The first feeds that differ once both plans are reduced to what they have in the same step."""
    places_a, places_b = _places(a), _places(b)
    both = set(places_a) & set(places_b)
    in_a, in_b = ((place for place in places if place in both) for places in (places_a, places_b))
    for left, right in zip(in_a, in_b, strict=True):
        if left != right:
            return _place_words(left), _place_words(right)
    return None


def _places(plan: Plan) -> list[tuple[int, ...]]:
    """The feeds in order: the step and key of real ones, the step and number in it of padding."""
    keys = {feed: key for key, feed in _keys(plan).items()}
    places: list[tuple[int, ...]] = []
    padding = Counter[int]()
    for feed, step in enumerate(plan.feed_steps().tolist()):
        if feed in keys:
            places.append((step, *keys[feed]))
        else:
            places.append((step, padding[step]))
            padding[step] += 1
    return places


def _place_words(place: tuple[int, ...]) -> str:
    return f"step {place[0]}: " + (f"position {place[1]}" if len(place) > 2 else "padding")


def _bits(plan: Plan) -> int:
    return plan.feeds * plan.cache_slots


def _keys(plan: Plan) -> dict[tuple[int, int, int], int]:
    """(position, target, occurrence) -> feed, padding left out."""
    keys: dict[tuple[int, int, int], int] = {}
    seen: dict[tuple[int, int], int] = {}
    for feed, (source, position, target) in enumerate(
        zip(plan.source.tolist(), plan.position.tolist(), plan.target.tolist(), strict=True)
    ):
        if source >= 0:
            occurrence = seen.get((position, target), 0)
            seen[position, target] = occurrence + 1
            keys[position, target, occurrence] = feed
    return keys


def _row_sums(plan: Plan) -> NDArray[np.uint64]:
    """Per feed the number of positions and never-written slots it sees, and a hash of them, uint64 [N, 2]."""
    weight = np.random.default_rng(0).integers(1, 1 << 62, plan.positions + plan.cache_slots, dtype=np.uint64)
    unwritten = weight[plan.positions :]
    position = np.full(plan.cache_slots, -1, dtype=np.int64)
    if plan.policies.visibility == "causal":
        position[: plan.positions] = np.arange(min(plan.positions, plan.cache_slots))
    sums = np.zeros((plan.feeds, 2), dtype=np.uint64)
    written = 0
    for first, mask in iter_masks(plan):
        end = int(plan.step_offsets[np.searchsorted(plan.step_offsets, first, side="right")])
        position[plan.slot[written:end]] = plan.position[written:end]
        written = end
        rows = slice(first, first + len(mask))
        sums[rows, 0] = mask.sum(axis=1)
        sums[rows, 1] = np.where(mask, np.where(position >= 0, weight[position], unwritten), 0).sum(axis=1)
    return sums
