"""Fields of another kind than a plan's: what is said of each; nothing is allocated by a number that nobody checked."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diagplan import verify
from diagplan.planner.columns import MaskRows
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal

PLAN = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
ROWS = MaskRows(feed=np.array([1]), offsets=np.array([0, 1]), runs=np.array([[0, 2]]))


def other(value: Any, **changes: Any) -> Any:
    """``replace`` without the types that the changes break."""
    return replace(value, **changes)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"step_offsets": [0, 3, 1, 5, 7]}, "DP100", "step_offsets to rise from 0 to 7, got [0, 3, 1, 5] ... to 7"),
        ({"step_offsets": [0, 8]}, "DP100", "step_offsets to rise from 0 to 7, got [0, 8] to 8"),
        ({"step_offsets": [0]}, "DP100", "step_offsets to be int64 [steps + 1] of at least one step"),
        ({"step_offsets": [0, 2**63 - 1, -(2**63), 7]}, "DP100", "step_offsets to rise from 0 to 7"),
        ({"cache_initial": "bogus"}, "DP100", "cache_initial to be one of undefined, zeros, got cache_initial='bogus'"),
        ({"cache_slots": 10**13}, "DP100", "cache_slots to be a whole number from 1 to 2147483647"),
        ({"cache_slots": 10**9}, "DP101", "at most positions + feeds + 1 = 15 cache slots, got cache_slots=1000000000"),
        ({"cache_slots": 10**9, "listed": ROWS}, "DP101", "at most positions + feeds + 1 = 15 cache slots"),
        ({"positions": 10**9}, "DP102", "positions=7 from the layout, got positions=1000000000"),
        (
            {"positions": 1 << 24, "layout": Layout(frames=1, rows=1, cols=(1 << 24) - 1, lead=1)},
            "DP102",
            "positions of at most 2 x feeds + 2 = 16, got positions=16777216",
        ),
        ({"source": None}, "DP100", "source to be int32 [feeds], got source=None"),
        ({"position": PLAN.position[:6]}, "DP100", "position to be int32 [7] as source is, got position=int32 [6]"),
        ({"slot": PLAN.slot.reshape(7, 1)}, "DP100", "slot to be int32 [7] as source is, got slot=int32 [7, 1]"),
        ({"target": PLAN.target.astype(float)}, "DP100", "target to be int32 [7] as source is, got target=float64"),
        (
            {"slot": PLAN.slot + np.int64(1 << 32)},
            "DP100",
            "slot to be int32 [7] as source is, got slot=int64 [7]",
        ),
        ({"source": PLAN.source > 0}, "DP100", "got source=bool [7]"),
        ({"given": [0, 1]}, "DP100", "given to be runs, int32 [G, 2], got given=int32 [2]"),
        ({"max_width": 0}, "DP100", "max_width to be a whole number from 1 to 2147483647 or None, got max_width=0"),
        ({"trash_slot": True}, "DP100", "got trash_slot=True"),
        ({"layout": None}, "DP100", "layout to be a Layout, got layout=None"),
        ({"listed": "{x}"}, "DP100", "listed to be a MaskRows, got listed='{x}'"),
        ({"listed": other(ROWS, offsets=[0, 2])}, "DP100", "listed.offsets to rise from 0 to 1, got [0, 2] to 2"),
        (
            {"listed": other(ROWS, feed=[1, 2])},
            "DP100",
            "listed.offsets to be int64 [3], got listed.offsets=int64 [2]",
        ),
        ({"listed": other(ROWS, runs=[1, 2, 3])}, "DP100", "listed.runs to be int32 [runs, 2]"),
        ({"schedule": other(PLAN.schedule, steps="4")}, "DP100", "schedule.steps to be a whole number from 1"),
        ({"schedule": other(PLAN.schedule, k=0)}, "DP100", "schedule.k to be a whole number from 1"),
        ({"schedule": other(PLAN.schedule, label="\n")}, "DP100", "schedule.label to be printable text"),
        ({"schedule": other(PLAN.schedule, order=(1.5,))}, "DP100", "schedule.order to be a tuple of whole numbers"),
    ],
    ids=str,
)
def test_what_is_said_of_fields(changes: dict[str, Any], code: str, message: str) -> None:
    plan = replace(PLAN, **changes)
    tracemalloc.start()
    try:
        report = verify(plan)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    (found,) = (diagnostic for diagnostic in report.diagnostics if diagnostic.code == code)
    assert found.message.startswith("expected ")
    assert message in found.message
    assert set(report.counts) <= {code, "DP102"}


@pytest.mark.parametrize(
    "made",
    [lambda column: column.tolist(), lambda column: column.astype(">i8"), lambda column: column.astype(np.uint64)],
    ids=["list", "big-endian", "unsigned"],
)
def test_whole_numbers_of_any_make_are_a_column(made: Callable[[Any], Any]) -> None:
    plan = other(PLAN, position=made(PLAN.position), cache_slots=np.int64(PLAN.cache_slots))
    assert plan == PLAN
    assert verify(plan).ok
