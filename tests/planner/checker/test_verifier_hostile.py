"""Plans put together by hand from anything: the checker answers with a code, and raises nothing."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diagplan import verify
from diagplan.planner.columns import MaskRows
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, ScheduleRecord
from tests.support.strategies import Request, plans

PLAN = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
ROWS = MaskRows(feed=np.array([1]), offsets=np.array([0, 1]), runs=np.array([[0, 2]]))
NUMBERS = (0, 1, -1, 7, 10**13, -(2**63), 2**63 - 1, 2**64, 10**5000, True, 1.0, 0.5, float("nan"), None, "7", "{x}")
ARRAYS = (
    np.zeros(0),
    np.zeros(0, np.int32),
    np.array(3),
    np.zeros((7, 1), np.int32),
    np.zeros((2, 2), np.int32),
    np.arange(7.0),
    np.array([0.5, np.nan, np.inf]),
    np.full(7, 2**63 - 1),
    np.full(7, -(2**63)),
    np.full(7, 2**64 - 1, np.uint64),
    np.array([0, 2**63 - 1, -(2**63), 7]),
    np.array([0, 5, 2, 7]),
    np.array(["a", "b"]),
    np.array([None, 1], dtype=object),
    np.array([True, False]),
    np.zeros(3, dtype=[("a", np.int32)]),
    [[1], [1, 2]],
    [0, 1, 2],
)
#: What takes the place of any field.
HOSTILE = st.sampled_from(
    (*NUMBERS, *ARRAYS, "bogus", "zeros", (0, 1), (0, 10**13), (None,), {}, object(), ROWS, PLAN.layout, PLAN.policies)
)


def shuffled(column: Any) -> st.SearchStrategy[Any]:
    """A column with its entries exchanged, or some of them out of range."""
    if not isinstance(column, np.ndarray) or not column.size:
        return st.just(column)
    entry = st.integers(0, column.size - 1)

    def planted(at: int, number: int) -> Any:
        changed = column.copy()
        changed.flat[at] = number
        return changed

    def exchanged(at: int, other: int) -> Any:
        changed = column.copy()
        changed.flat[[at, other]] = changed.flat[[other, at]]
        return changed

    wild = st.sampled_from((-(2**31), -1, 0, 1, 2**31 - 1))
    return st.builds(planted, entry, wild) | st.builds(exchanged, entry, entry)


@st.composite
def damaged(draw: st.DrawFn, value: Any) -> Any:
    """A dataclass with one or two fields replaced by anything; its parts may be damaged instead."""
    names = [field.name for field in fields(value)]
    changes: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        old = getattr(value, name)
        choices = HOSTILE | shuffled(old)
        if isinstance(old, MaskRows | ScheduleRecord):
            choices = choices | damaged(ROWS if isinstance(old, MaskRows) else old)
        changes[name] = draw(choices)
    return replace(value, **changes)


@given(st.data(), plans(frames=2, side=3))
def test_any_fields_may_be_anything(data: st.DataObject, case: tuple[Request, Plan]) -> None:
    report = verify(data.draw(damaged(case[1])))
    assert report.errors == sum(report.counts.values()) - report.warnings
