"""Passes on a device: coordinates instead of slots, arrays that are shared, frames that complete."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, compile_plan
from diagplan.backends.passes import Layer, complete_after
from diagplan.backends.program import program
from diagplan.backends.runtime import NumpyRuntime

LAYOUT = Layout(frames=2, rows=2, cols=2, lead=3)
PLAN = compile_plan(LAYOUT, Diagonal(k=1))
PASSES = list(program(PLAN))


def laid_out(places: Any = None, pads: Any = None, ranges: Any = None) -> Any:
    keys = np.arange(2 * PLAN.positions).reshape(2, -1)
    ranges = np.tile([0, 9], (PLAN.positions, 1)) if ranges is None else ranges
    return list(Layer(NumpyRuntime(), keys, ranges, places, pads).laid_out(PASSES, {3: [0]}))


def test_positions_are_slots_or_rows_of_a_table() -> None:
    table = np.random.default_rng(0).integers(0, 99, (PLAN.positions, 3))
    for plain, placed, padded in zip(laid_out(), laid_out(table), laid_out(table, np.array([0, 2])), strict=True):
        np.testing.assert_array_equal(placed.position, table[plain.position])
        np.testing.assert_array_equal(padded.position, placed.position)
        assert plain.seen is plain.mask
        assert padded.seen.shape == (2, *plain.mask.shape)
        np.testing.assert_array_equal(padded.seen[0], plain.mask)


def test_padding_is_seen_by_itself_alone() -> None:
    first = laid_out(pads=np.array([0, 2]))[0]
    np.testing.assert_array_equal(first.seen[1, :3, :4], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])


def test_a_range_of_ids_is_one_where_it_is_one() -> None:
    assert all(p.allowed == (0, 9) for p in laid_out() if len(p.target))
    ranges = np.stack([np.arange(PLAN.positions), np.arange(PLAN.positions) + 2], axis=1)
    for p in laid_out(ranges=ranges):
        if len(p.target) > 1:
            np.testing.assert_array_equal(p.allowed, ranges[p.target])


def test_frames_complete_with_their_last_cell() -> None:
    plan = compile_plan(LAYOUT, NextToken())
    assert complete_after(plan, list(program(plan))) == {3: [0], 7: [1]}
    assert [p.frames for p in laid_out()][3] == (0,)
