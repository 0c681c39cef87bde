"""Entries on a device: who sees whom, zeros that nobody has written yet, padding that sees itself alone."""

import numpy as np
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st

from diagplan import Layout, NextToken, Plan, compile_plan
from diagplan.backends.runtime import NumpyRuntime
from diagplan.backends.speculative_columns import columns_of, few_lengths
from diagplan.planner.speculation import plan_entries
from diagplan.planner.training_plan import visible
from tests.support.strategies import Request, plans


@settings(max_examples=80)
@given_examples(compiled=plans(frames=3, side=5), first=st.floats(0, 1), width=st.integers(1, 20))
def test_masks_are_the_training_plans(compiled: tuple[Request, Plan], first: float, width: int) -> None:
    entries = plan_entries(compiled[1])
    columns = columns_of(entries, NumpyRuntime(), None, spare=24, length_step=8)
    count, zeros = columns.entries, columns.zeros
    start = int(first * (count - 1))
    slot = zeros + start + np.arange(width)
    length = -(-int(slot[-1] + 1) // 8) * 8
    padded = start + width > count
    seen = columns.seen(slice(start, start + width), slot, length, padded=padded)
    real = min(width, count - start)
    whole = visible(entries, start, start + real)
    own = np.zeros((real, length), dtype=bool)
    own[:, zeros : zeros + min(count, length - zeros)] = whole[:, : min(count, length - zeros)]
    np.testing.assert_array_equal(seen[:real, zeros:], own[:, zeros:])
    assert (seen[:real, :zeros].sum(1) == whole[:, count:].sum(1)).all()  # those that nobody sees have no row
    assert not whole[:, min(count, length) : count].any()
    if padded:
        np.testing.assert_array_equal(seen[real:].nonzero()[1], slot[real:])


def test_next_token_prediction_sees_all_before() -> None:
    plan = compile_plan(Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=2), NextToken())
    columns = columns_of(plan_entries(plan), NumpyRuntime(), None, spare=8, length_step=64)
    assert (columns.in_order, columns.zeros, columns.entries) == (True, 0, 21)
    assert columns.decider.tolist()[:10] == [-1] * 8 + [7, 8]
    assert columns.decider[21:].tolist() == [21] * 8
    assert few_lengths(NumpyRuntime()) == 512


def test_coordinates_stand_in_the_place_of_positions() -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken())
    places = np.arange(10).reshape(5, 2)
    columns = columns_of(plan_entries(plan), NumpyRuntime(), places, spare=8, length_step=64)
    np.testing.assert_array_equal(columns.place[:4], places[:4])
    assert columns.by_coordinates
