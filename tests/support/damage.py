"""Plans that are wrong in ways a foreign document can be: for everything that must describe a plan, not trust it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from diagplan.planner.plan import MaskRows, Plan

__all__ = ["damaged_plans"]

_EXTREMES = np.array([-(2**31), -7, -2, 10**6, 2**31 - 1], dtype=np.int32)


def _changed(plan: Plan, name: str, value: Any) -> Plan:
    return replace(plan, **{name: value})


def damaged_plans(plan: Plan) -> Iterator[tuple[str, Plan]]:
    """The plan with one kind of damage at a time, and what it is called."""
    rng = np.random.default_rng(7)
    some = rng.choice(plan.feeds, size=max(1, plan.feeds // 5), replace=False)
    for name in ("source", "position", "slot", "target"):
        column = getattr(plan, name).copy()
        column[some] = rng.choice(_EXTREMES, size=len(some))
        yield f"{name} out of range", _changed(plan, name, column)
        yield f"{name} shuffled", _changed(plan, name, rng.permutation(getattr(plan, name)))
    yield "nothing emitted", replace(plan, target=np.full(plan.feeds, -1))
    yield "one token emitted by all", replace(plan, target=np.full(plan.feeds, plan.target.max()))
    yield "all padding", replace(plan, source=np.full(plan.feeds, -1))
    offsets = plan.step_offsets.copy()
    offsets[1:-1] = rng.permutation(offsets[1:-1])
    yield "offsets out of order", replace(plan, step_offsets=offsets)
    offsets[1:-1] = rng.integers(-50, 10 * plan.feeds, len(offsets) - 2)
    yield "offsets out of range", replace(plan, step_offsets=offsets)
    yield "one step", replace(plan, step_offsets=np.array([0, plan.feeds]))
    yield "many empty steps", replace(plan, step_offsets=np.concatenate([[0] * 500, plan.step_offsets]))
    none = np.zeros(0, dtype=np.int32)
    empty = replace(plan, source=none, position=none, slot=none, target=none, step_offsets=np.zeros(1, dtype=np.int64))
    yield "no steps", empty
    yield "a step without feeds", replace(empty, step_offsets=np.zeros(2, dtype=np.int64))
    for number in (-1, 0, 3, 2**40):
        yield f"positions={number}", replace(plan, positions=number)
        yield f"cache_slots={number}", replace(plan, cache_slots=number)
    yield "given nothing", replace(plan, given=none.reshape(0, 2))
    yield "given nonsense", replace(plan, given=np.array([[-5, 10**9], [3, 1]]))
    for feed, bounds in (([0, 10**9], [0, 1, 2]), ([5, 2], [0, 1, 2]), ([-1, 2], [0, 5, -3]), ([1, 2], [0])):
        rows = MaskRows(feed=np.array(feed), offsets=np.array(bounds), runs=np.array([[-4, 10**9], [7, 2]]))
        yield f"listed feeds {feed} offsets {bounds}", replace(plan, listed=rows)
    label = "\x1b[31m[bold]\x00</text>&\ud800 " + "long " * 40
    yield "a hostile label", replace(plan, schedule=replace(plan.schedule, name="imported", label=label))
