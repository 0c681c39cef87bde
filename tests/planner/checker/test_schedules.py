"""What the checker knows of schedules by name, against the compiler's own record of the same schedule."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.checker.facts import Facts
from diagplan.planner.checker.schedules import closed_form, fields_absent, named_delays, named_steps
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ScheduleRecord, ZipAR, cell_steps, record
from tests.support.strategies import layouts, schedules

GRID = Layout(frames=2, rows=3, cols=4, lead=1)


def plan_of(layout: Layout, schedule: Schedule) -> Plan:
    """A plan of this layout that names this schedule; the functions under test read none of its feeds."""
    return replace(compile_plan(layout, NextToken()), schedule=record(schedule, layout))


def steps_of(plan: Plan) -> np.ndarray | None:
    facts = Facts(plan)
    return named_steps(plan, facts.given, facts.known)


@given(st.data())
def test_delays_total_and_steps_are_the_compilers(data: st.DataObject) -> None:
    layout = data.draw(layouts(frames=3, side=5))
    schedule: Schedule = data.draw(schedules(layout))
    plan = plan_of(layout, schedule)
    names = plan.schedule
    if names.name != "imported":
        assert named_delays(plan) == (names.k_in_force, names.d_in_force)
    assert closed_form(plan) == names.steps
    steps = steps_of(plan)
    assert steps is not None
    assert np.array_equal(steps[layout.cell_slots()], cell_steps(schedule, layout))
    assert (steps[Facts(plan).given] == -1).all()
    assert all(getattr(names, name) is None for name in fields_absent(plan))


@pytest.mark.parametrize(
    ("schedule", "delays", "total"),
    [
        (NextToken(), (4, 12), 24),
        (Diagonal(k=9, d=99), (4, 12), 24),
        (Diagonal(k=2, d=3), (2, 3), 11),
        (Diagonal(k=2), (2, 8), 16),
        (ZipAR(window=3), (3, 10), 20),
        (ZipAR(window=3, variant="llamagen"), (3, 11), 22),
        (ZipAR(window=9, variant="llamagen"), (4, 12), 24),
    ],
)
def test_by_hand(schedule: Schedule, delays: tuple[int, int], total: int) -> None:
    plan = plan_of(GRID, schedule)
    assert named_delays(plan) == delays
    assert closed_form(plan) == total


def test_the_release_of_zipar_has_one_row_of_its_own() -> None:
    plan = plan_of(Layout(frames=2, rows=1, cols=5, lead=1), ZipAR(window=2, variant="llamagen"))
    assert named_delays(plan) == (2, 5)
    assert closed_form(plan) == 10


def test_custom_promises_what_the_plan_does() -> None:
    plan = compile_plan(GRID, Diagonal(k=1, d=2))
    custom = replace(plan, schedule=ScheduleRecord(name="custom", steps=99))
    assert named_delays(custom) is None
    assert closed_form(custom) == plan.steps == 8
    assert fields_absent(custom) == ()
    assert np.array_equal(np.asarray(steps_of(custom)), Facts(plan).known)


def test_what_cannot_be_derived_is_none() -> None:
    diagonal = plan_of(GRID, Diagonal(k=2))
    for lacking in ({"k_in_force": None}, {"d_in_force": None}):
        assert steps_of(replace(diagonal, schedule=replace(diagonal.schedule, **lacking))) is None  # type: ignore[arg-type]
    imported = plan_of(GRID, Imported(steps=np.arange(24).reshape(2, 3, 4)))
    assert named_delays(imported) is None
    for order in (None, (0, 1)):
        assert steps_of(replace(imported, schedule=replace(imported.schedule, order=order))) is None
    assert closed_form(replace(imported, schedule=replace(imported.schedule, order=None))) == 1


def test_fields_that_a_name_leaves_no_room_for() -> None:
    assert fields_absent(plan_of(GRID, NextToken())) == ("k", "d")
    assert fields_absent(plan_of(GRID, Diagonal(k=1))) == ()
    assert fields_absent(plan_of(GRID, ZipAR(window=1))) == ("d",)
    assert fields_absent(plan_of(GRID, ZipAR(window=1, variant="llamagen"))) == ("d",)
    imported = plan_of(GRID, Imported(steps=np.arange(24).reshape(2, 3, 4)))
    assert fields_absent(imported) == ("k", "d", "k_in_force", "d_in_force")
