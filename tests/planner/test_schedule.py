"""The schedules: step of every cell, delays in force, imported orders, and what they refuse."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import (
    Diagonal,
    Imported,
    NextToken,
    Schedule,
    ScheduleRecord,
    ZipAR,
    cell_steps,
    record,
    recorded,
)
from tests.support.simulation import simulate
from tests.support.strategies import imported_orders, layouts, schedules

GRID = Layout(frames=2, rows=3, cols=4, lead=1)


@given(st.data())
def test_cell_steps_are_the_rules_played(data: st.DataObject) -> None:
    layout = data.draw(layouts())
    schedule = data.draw(schedules(layout).filter(lambda s: not isinstance(s, Imported)))
    steps = cell_steps(schedule, layout)
    assert steps.dtype == np.int32
    assert {cell: int(step) for cell, step in np.ndenumerate(steps)} == simulate(layout, schedule)
    assert record(schedule, layout).steps == steps.max() + 1
    assert recorded(record(schedule, layout)) == schedule


@pytest.mark.parametrize(
    ("schedule", "rows"),
    [
        (NextToken(), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        (Diagonal(k=1), [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]),
        (Diagonal(k=2), [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]),
        (Diagonal(k=9), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        (ZipAR(window=2), [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]),
        (ZipAR(window=2, variant="llamagen"), [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]),
    ],
)
def test_one_frame_by_hand(schedule: Schedule, rows: list[list[int]]) -> None:
    steps = cell_steps(schedule, GRID)
    assert steps[0].tolist() == rows
    # Frames in sequence: the second frame starts in the step after the last of the first.
    assert (steps[1] - steps[0] == max(map(max, rows)) + 1).all()


@pytest.mark.parametrize(("d", "begin"), [(1, 1), (3, 3), (5, 5), (6, 6), (7, 6), (10**6, 6), (None, 6)])
def test_frame_delay_is_clamped(d: int | None, begin: int) -> None:
    assert cell_steps(Diagonal(k=1, d=d), GRID)[1, 0, 0] == begin


@pytest.mark.parametrize(
    ("schedule", "remembered"),
    [
        (NextToken(), ScheduleRecord(name="next-token", steps=24, k_in_force=4, d_in_force=12)),
        (Diagonal(k=2, d=3), ScheduleRecord(name="diagonal", steps=11, k=2, d=3, k_in_force=2, d_in_force=3)),
        (Diagonal(k=9, d=99), ScheduleRecord(name="diagonal", steps=24, k=9, d=99, k_in_force=4, d_in_force=12)),
        (Diagonal(k=2), ScheduleRecord(name="diagonal", steps=16, k=2, k_in_force=2, d_in_force=8)),
        (ZipAR(window=3), ScheduleRecord(name="zipar", steps=20, k=3, k_in_force=3, d_in_force=10)),
        (
            ZipAR(window=3, variant="llamagen"),
            ScheduleRecord(name="zipar-llamagen", steps=22, k=3, k_in_force=3, d_in_force=11),
        ),
        (
            Imported(steps=np.arange(24).reshape(2, 3, 4), label="raster"),
            ScheduleRecord(name="imported", steps=24, label="raster", order=tuple(range(24))),
        ),
    ],
)
def test_record(schedule: Schedule, remembered: ScheduleRecord) -> None:
    assert record(schedule, GRID) == remembered


def test_zipar_llamagen_of_one_row() -> None:
    layout = Layout(frames=2, rows=1, cols=5, lead=1)
    assert cell_steps(ZipAR(window=2, variant="llamagen"), layout).tolist() == [[[0, 1, 2, 3, 4]], [[5, 6, 7, 8, 9]]]


@given(st.data())
def test_imported_orders_are_taken_as_they_stand(data: st.DataObject) -> None:
    layout = data.draw(layouts(frames=3, side=4))
    order = data.draw(imported_orders(layout))
    assert np.array_equal(cell_steps(order, layout), order.steps)
    assert not order.steps.flags.writeable
    remembered = record(order, layout)
    assert remembered.order == tuple(order.steps.ravel().tolist())
    assert (remembered.k, remembered.d, remembered.k_in_force, remembered.d_in_force) == (None, None, None, None)
    assert remembered.steps == order.steps.max() + 1


def test_an_imported_order_is_copied() -> None:
    mine = np.arange(4).reshape(1, 2, 2).astype(np.int32)
    order = Imported(steps=mine)
    mine[0, 0, 0] = 3
    assert order.steps[0, 0, 0] == 0


DELAY_ERRORS: list[tuple[type, dict[str, Any], str]] = [
    (Diagonal, {"k": 0}, "expected k >= 1, got k=0. Give a whole number >= 1."),
    (Diagonal, {"k": 1.0}, "expected k to be an integer, got k=1.0. Give a whole number >= 1."),
    (Diagonal, {"k": 1, "d": 0}, "expected d >= 1, got d=0. Give a whole number >= 1."),
    (Diagonal, {"k": 1, "d": False}, "expected d to be an integer, got d=False. Give a whole number >= 1."),
    (ZipAR, {"window": 0}, "expected window >= 1, got window=0. Give a whole number >= 1."),
    (
        ZipAR,
        {"window": 1, "variant": "lumina"},
        "expected variant to be 'ideal' or 'llamagen', got variant='lumina'.",
    ),
]


@pytest.mark.parametrize(("schedule", "arguments", "message"), DELAY_ERRORS)
def test_delay_errors(schedule: type, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        schedule(**arguments)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([0, 1], "expected steps of shape [T, h, w] or [h, w], not empty, got shape (2,)."),
        ([[]], "expected steps of shape [T, h, w] or [h, w], not empty, got shape (1, 1, 0)."),
        ([[0, -1]], "expected steps from 0 to 1, got -1. Number the steps from 0 without gaps."),
        ([[0, 2]], "expected steps from 0 to 1, got 2. Number the steps from 0 without gaps."),
        ([[0, 2], [2, 2]], "expected every step to have a cell, got none in step 1. Renumber without gaps."),
        ([[0.0, 1.0]], "expected steps to be integers, got dtype float64. Convert them to whole numbers."),
        ([[True, False]], "expected steps to be integers, got dtype bool. Convert them to whole numbers."),
        ([["0", "1"]], "expected steps to be integers, got dtype <U1. Convert them to whole numbers."),
    ],
)
def test_order_errors(steps: Any, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Imported(steps=steps)


def test_ragged_order() -> None:
    with pytest.raises(SpecError, match=r"^expected steps to be a rectangular array, got a ragged one \(.*\)\.$"):
        Imported(steps=[[0, 1], [2]])


def test_order_of_another_shape() -> None:
    message = "expected steps of shape [T, h, w] = [2, 3, 4], got [1, 1, 2]. Give frames, rows and cols of the order."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        cell_steps(Imported(steps=[[0, 1]]), GRID)


@pytest.mark.parametrize(
    ("steps", "cells"),
    [
        # Nothing at all is known in step 0, and the slot before the cell is not given.
        ([[0, 0], [1, 1]], "1 cell(s): (frame 0, row 0, col 1) in step 0"),
        # Something is known, but none of it lies before the cell, so it cannot stand in.
        ([[1, 1], [0, 2]], "2 cell(s): (frame 0, row 0, col 1) in step 1, (frame 0, row 1, col 0) in step 0"),
        (
            [[0, 0], [0, 0]],
            (
                "3 cell(s): (frame 0, row 0, col 1) in step 0, (frame 0, row 1, col 0) in step 0, "
                "(frame 0, row 1, col 1) in step 0"
            ),
        ),
    ],
)
@pytest.mark.parametrize("proxy", ["above", "latest", "previous-frame", "above-predecessor"])
def test_illegal_cells(proxy: Any, steps: list[list[int]], cells: str) -> None:
    message = (
        f"expected a known image token to feed for every cell, got none for {cells}. "
        "The slot before such a cell is unknown and nothing known can stand in for it. Give it a later step."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), Imported(steps=steps), Policies(proxy=proxy))


def test_a_prompt_frame_makes_every_order_legal() -> None:
    layout = Layout(frames=1, rows=2, cols=2, prompt_frames=1)
    plan = compile_plan(layout, Imported(steps=[[0, 0], [0, 0]]))
    assert plan.steps == 1
    assert plan.source[plan.target >= 0].tolist() == [3, 0, 1, 2]


@pytest.mark.parametrize("kept", [ScheduleRecord(name="custom", steps=4), record(Imported(steps=[[0, 1]]), GRID)])
def test_orders_are_of_one_number_of_frames(kept: ScheduleRecord) -> None:
    with pytest.raises(SpecError, match=f"expected a schedule by name, .*, got {kept.name}"):
        recorded(kept)
