"""Columns of a plan: frozen, derived facts, numbers in range."""

from dataclasses import replace

import numpy as np
import pytest

from diagplan import Diagonal, Layout, Plan, compile_plan
from diagplan.planner.columns import MaskRows, prefill_feeds, well_formed

PLAN = compile_plan(Layout(frames=1, rows=2, cols=3, lead=2), Diagonal(k=1))


def test_columns_cannot_be_written_to() -> None:
    for name in ("source", "position", "slot", "target", "step_offsets", "given"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(PLAN, name)[0] = 0


def test_steps_and_feeds_are_derived() -> None:
    assert PLAN.steps == len(PLAN.step_offsets) - 1
    assert PLAN.feeds == len(PLAN.source)
    assert [np.count_nonzero(PLAN.feed_steps() == s) for s in range(PLAN.steps)] == np.diff(PLAN.step_offsets).tolist()


def test_the_prompt_is_fed_in_the_first_step() -> None:
    assert prefill_feeds(PLAN) == 1  # of two given tokens the last one predicts


@pytest.mark.parametrize(
    ("name", "value"),
    [("source", -2), ("source", PLAN.positions), ("position", -1), ("slot", PLAN.cache_slots), ("target", -2)],
)
def test_numbers_out_of_range_are_seen(name: str, value: int) -> None:
    assert well_formed(PLAN)
    column = getattr(PLAN, name).copy()
    column[-1] = value
    assert not well_formed(replace(PLAN, **{name: column}))


def test_listed_rows_are_runs() -> None:
    rows = MaskRows(feed=np.array([1, 4]), offsets=np.array([0, 1, 3]), runs=np.array([[0, 2], [0, 1], [3, 5]]))
    assert len(rows) == 2
    assert rows.row(1).tolist() == [[0, 1], [3, 5]]
    plan: Plan = replace(PLAN, listed=replace(rows, feed=np.array([1, PLAN.feeds])))
    assert not well_formed(plan)
