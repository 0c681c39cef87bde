"""Plans as values: equality, hashes, pickles, copies, read-only columns; and the errors of what is no plan."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from diagplan import plan_digest
from diagplan.planner.columns import PlanColumns
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import MaskRows, Plan, same_plan
from diagplan.planner.rollout import compile_rollout
from diagplan.planner.schedule import Diagonal, Imported, NextToken
from tests.support.planted import COLUMNS, HEADER, PLAN
from tests.support.strategies import Request, compiled, plans

LISTED = MaskRows(feed=np.array([1]), offsets=np.array([0, 1]), runs=np.array([[0, 2]]))
ROLLOUT = compile_rollout(Layout(frames=1, rows=2, cols=3, prompt_frames=1), Diagonal(k=1), frames=3)
#: One of every kind of value that holds arrays, or plans.
VALUES = {
    "plan": PLAN,
    "plan with listed rows": replace(PLAN, listed=LISTED),
    "mask rows": LISTED,
    "stats": PLAN.stats(),
    "order": Imported(steps=[[0, 1], [1, 2]]),
    "rollout": ROLLOUT,
}


def pickled(protocol: int) -> Callable[[Any], Any]:
    """The way through a pickle of one protocol."""
    return lambda value: pickle.loads(pickle.dumps(value, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {protocol}": pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "replace": replace,
}


def arrays_of(value: Any) -> list[np.ndarray[Any, Any]]:
    """The arrays among the fields of a value, and among those of the values it holds."""
    if isinstance(value, np.ndarray):
        return [value]
    parts = [getattr(value, f.name) for f in fields(value)] if hasattr(value, "__dataclass_fields__") else []
    parts += list(value) if isinstance(value, tuple) else []
    return [array for part in parts for array in arrays_of(part)]


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", VALUES)
def test_copies_are_equal_and_read_only(name: str, how: str) -> None:
    value = VALUES[name]
    again = COPIES[how](value)
    assert again == value
    assert hash(again) == hash(value)
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    assert len(arrays_of(again)) == len(arrays_of(value)) > 0
    assert not any(array.flags.writeable for array in arrays_of(again))


@given(plans(frames=2, side=4))
def test_plans_are_equal_as_their_requests_are(case: tuple[Request, Plan]) -> None:
    request, plan = case
    again = compiled(request)
    assert again is not plan
    assert again == plan == pickle.loads(pickle.dumps(plan))
    assert same_plan(again, plan)
    assert len({again, plan}) == 1
    assert plan_digest(again) == plan_digest(plan)
    other = compiled(request, pad=(5,))
    assert (other == plan) == (request.pad == (5,) or plan_digest(other) == plan_digest(plan))


@pytest.mark.parametrize("name", [*HEADER, *COLUMNS, "step_offsets", "listed"])
def test_a_plan_that_differs_in_one_field_is_another(name: str) -> None:
    value = getattr(PLAN, name)
    match name:
        case "step_offsets":
            changed = value + (np.arange(len(value)) == 1)
        case "listed":
            changed = LISTED
        case _ if name in COLUMNS:
            changed = np.roll(value, 1)
        case _:
            changed = HEADER[name]
    other = replace(PLAN, **{name: changed})
    assert other != PLAN
    assert not same_plan(other, PLAN)
    assert replace(other, **{name: value}) == PLAN


@pytest.mark.parametrize("name", ["feed", "offsets", "runs"])
def test_mask_rows_that_differ_in_one_array_are_others(name: str) -> None:
    assert replace(LISTED, **{name: getattr(LISTED, name) + 1}) != LISTED


def test_other_orders_and_rollouts_are_others() -> None:
    assert Imported(steps=[[0, 1], [1, 2]]) == Imported(steps=np.array([[[0, 1], [1, 2]]]))
    assert Imported(steps=[[0, 1], [1, 2]]) != Imported(steps=[[0, 1], [2, 1]])
    assert Imported(steps=[[0, 1]]) != Imported(steps=[[0, 1]], label="named")
    assert compile_rollout(ROLLOUT.plans[0].layout, Diagonal(k=1), frames=3) == ROLLOUT
    assert compile_rollout(ROLLOUT.plans[0].layout, NextToken(), frames=3) != ROLLOUT


def test_a_plan_equals_plans_only() -> None:
    columns = PlanColumns(**{f.name: getattr(PLAN, f.name) for f in fields(Plan)})
    for other in (columns, PLAN.source, None, "plan"):
        assert PLAN.__eq__(other) is NotImplemented
    assert PLAN != "plan"


def test_a_hash_reads_no_column() -> None:
    """It stays cheap for plans of millions of feeds."""
    turned = replace(PLAN, source=PLAN.source[::-1])
    assert hash(turned) == hash(PLAN)
    assert turned != PLAN


def test_columns_do_not_follow_the_arrays_they_were_made_of() -> None:
    source = PLAN.source.copy()
    plan = replace(PLAN, source=source)
    source[:] = 0
    assert plan == PLAN
    with pytest.raises(ValueError, match="read-only"):
        plan.source[0] = 3


def test_representation() -> None:
    assert repr(compile_plan(PLAN.layout, Diagonal(k=1))) == (
        "<Plan diagonal(k=1) on 2 x 3 x 3: 10 steps, 18 tokens, 22 feeds>"
    )
