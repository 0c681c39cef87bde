"""Comparison of two plans: silent exactly for equal ones, and every planted difference named."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diagplan.planner.compare import Difference, compare_plans
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.masks import mask_rows
from diagplan.planner.plan import MaskRows, Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, NextToken
from tests.support.planted import COLUMNS, HEADER, PLAN
from tests.support.strategies import Request, compiled, plans, policies, schedules


@given(plans(frames=2, side=4), st.data())
def test_silent_exactly_for_equal_plans(case: tuple[Request, Plan], data: st.DataObject) -> None:
    request, plan = case
    assert compare_plans(plan, compiled(request)).same
    # A sibling: something else, or now and then the same again by another road.
    layout = request.layout
    changes: dict[str, Any] = {
        "schedule": schedules(layout),
        "policies": policies(layout, causal=request.slots == "position"),
        "max_width": st.none() | st.integers(1, 9),
        "pad": st.none() | st.sampled_from(((4,), (1, 2, 4, 8), (16, 3))),
    }
    name = data.draw(st.sampled_from(sorted(changes)))
    other = compiled(request, **{name: data.draw(changes[name])})
    assert compare_plans(plan, other).same == compare_plans(other, plan).same == (plan == other)


@given(plans(frames=2, side=4), st.data())
def test_the_other_way_round_says_the_same(case: tuple[Request, Plan], data: st.DataObject) -> None:
    request, plan = case
    other = compiled(request, schedule=data.draw(schedules(request.layout)), max_width=None)
    there, back = compare_plans(plan, other), compare_plans(other, plan)
    assert {name: (b, a) for name, (a, b) in back.header.items()} == there.header
    turned = {"only a": "only b", "only b": "only a"}
    mirrored = {(d.position, d.target, turned.get(d.what, d.what), d.b, d.a) for d in back.feeds}
    assert {(d.position, d.target, d.what, d.a, d.b) for d in there.feeds} == mirrored
    assert there.same_feeds == back.same_feeds


def planted(plan: Plan, name: str, feed: int, value: int) -> Plan:
    """The plan with one number of a column changed."""
    column = getattr(plan, name).copy()
    column[feed] = value
    return replace(plan, **{name: column})


def named(plan: Plan, other: Plan) -> set[tuple[int, int, str]]:
    """(position, target, what) of the differences of feeds."""
    return {(d.position, d.target, d.what) for d in compare_plans(plan, other).feeds}


@given(plans(frames=2, side=4), st.data())
def test_a_planted_number_is_named(case: tuple[Request, Plan], data: st.DataObject) -> None:
    _, plan = case
    name = data.draw(st.sampled_from(COLUMNS))
    feed = data.draw(st.integers(0, plan.feeds - 1))
    smallest = -1 if name in ("source", "target") else 0
    size = plan.cache_slots if name == "slot" else plan.positions
    value = data.draw(st.integers(smallest, size - 1))
    other = planted(plan, name, feed, value)
    result = compare_plans(plan, other)
    assert result.same == (plan == other) == (value == getattr(plan, name)[feed])
    if result.same:
        return
    source, position, slot, target = (int(getattr(plan, column)[feed]) for column in COLUMNS)
    if source < 0 or (name == "source" and value < 0):
        assert "padding" in result.header
    elif name in ("source", "slot"):
        was = source if name == "source" else slot
        wanted = Difference(position=position, target=target, what=name, a=was, b=value)
        assert wanted in result.feeds
    else:
        # Feeds are known by position and target: to change one is to take one away and add another.
        whats = {what for *_, what in named(plan, other)}
        assert whats & {"only a", "only b", "step", "source", "slot", "mask"}
        if not ((plan.position == position) & (plan.target == target) & (np.arange(plan.feeds) != feed)).any():
            assert (position, target, "only a") in named(plan, other)


@given(plans(frames=2, side=4), st.data())
def test_a_feed_in_another_step_is_named(case: tuple[Request, Plan], data: st.DataObject) -> None:
    _, plan = case
    assume(plan.steps > 1)
    step = data.draw(st.integers(1, plan.steps - 1))
    first = int(plan.step_offsets[step])
    offsets = plan.step_offsets.copy()
    offsets[step] += 1  # the first feed of a step joins the step before
    other = replace(plan, step_offsets=offsets)
    result = compare_plans(plan, other)
    if plan.source[first] < 0:
        assert "padding" in result.header
    else:
        wanted = Difference(
            position=int(plan.position[first]), target=int(plan.target[first]), what="step", a=step, b=step - 1
        )
        assert wanted in result.feeds


@given(plans(frames=2, side=4), st.data())
def test_feeds_that_change_places_in_a_step_are_named(case: tuple[Request, Plan], data: st.DataObject) -> None:
    _, plan = case
    wide = np.flatnonzero(np.diff(plan.step_offsets) > 1).tolist()
    assume(wide)
    step = data.draw(st.sampled_from(wide))
    first, last = plan.step_offsets[step : step + 2].tolist()
    left, right = data.draw(st.lists(st.integers(first, last - 1), min_size=2, max_size=2, unique=True))
    order = np.arange(plan.feeds)
    order[[left, right]] = order[[right, left]]
    other = replace(plan, **{name: getattr(plan, name)[order] for name in COLUMNS})
    result = compare_plans(plan, other)
    assert result.same == (plan == other)
    if plan != other:
        assert result.header.keys() == {"order"}
        assert all(text.startswith(f"step {step}: ") for text in result.header["order"])


@given(plans(frames=2, side=4), st.data())
def test_a_planted_row_is_named(case: tuple[Request, Plan], data: st.DataObject) -> None:
    _, plan = case
    real = np.flatnonzero(plan.source >= 0).tolist()
    feed = data.draw(st.sampled_from(real))
    runs = mask_rows(plan).row(feed)
    row = {slot for start, end in runs.tolist() for slot in range(start, end)}
    slot = data.draw(st.sampled_from(sorted(row)))
    left = sorted(row - {slot})
    listed = MaskRows(
        feed=np.array([feed]), offsets=np.array([0, len(left)]), runs=np.array([(s, s + 1) for s in left], np.int32)
    )
    result = compare_plans(plan, replace(plan, listed=listed))
    assert result.header == {"listed rows": (0, 1)}
    position, target = int(plan.position[feed]), int(plan.target[feed])
    wanted = Difference(position=position, target=target, what="mask", a=len(row), b=len(row) - 1)
    assert result.feeds == (wanted,)
    # As many rows, but others: named as well.
    ours = replace(plan, listed=listed)
    theirs = replace(plan, listed=replace(listed, runs=listed.runs + 1))
    if left:
        assert compare_plans(ours, theirs).header == {"listed rows": (1, 1)}


def test_every_field_is_planted_somewhere() -> None:
    assert {field.name for field in fields(Plan)} == {*HEADER, *COLUMNS, "step_offsets", "listed"}


@pytest.mark.parametrize("name", HEADER)
def test_a_planted_header_field_is_named(name: str) -> None:
    other = replace(PLAN, **{name: HEADER[name]})
    result = compare_plans(PLAN, other)
    assert not result.same
    assert result.header.keys() == {name}
    ours, theirs = (
        value.tolist() if name == "given" else value for value in (getattr(PLAN, name), getattr(other, name))
    )
    assert result.header[name] == (ours, theirs)
    assert not result.feeds
    assert result.same_feeds == PLAN.feeds
    assert result.masks_compared == (name != "positions")


def test_empty_steps_are_named() -> None:
    other = replace(PLAN, step_offsets=np.append(PLAN.step_offsets, PLAN.feeds))
    assert compare_plans(PLAN, other).header == {"steps": (PLAN.steps, PLAN.steps + 1)}


def test_padding_is_named() -> None:
    layout = Layout(frames=1, rows=3, cols=3, lead=1)
    wide, narrow = (compile_plan(layout, Diagonal(k=1), pad=pad) for pad in ((4,), (3,)))
    counts = tuple(int(np.count_nonzero(plan.source < 0)) for plan in (wide, narrow))
    assert compare_plans(wide, narrow).header == {"padding": counts}


def test_plans_that_number_slots_by_other_rules() -> None:
    layout = Layout(frames=1, rows=3, cols=3, lead=1)
    by_position, in_order = (
        compile_plan(layout, Diagonal(k=1), Policies(row_end="keep"), slots=slots)
        for slots in ("position", "step-order")
    )
    result = compare_plans(by_position, in_order)
    assert by_position.cache_slots != in_order.cache_slots or "cache_slots" not in result.header
    assert result.header["slots"] == ("position", "step-order")
    assert not result.feeds, "what is fed and seen is the same"
    # Next-token prediction has one numbering for both.
    plain = [compile_plan(layout, NextToken(), slots=slots) for slots in ("position", "step-order")]
    assert "slots" not in compare_plans(*plain).header


def test_long_plans_are_compared_without_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagplan.planner.compare._MAX_BITS", PLAN.feeds * PLAN.cache_slots - 1)
    result = compare_plans(PLAN, PLAN)
    assert result.same
    assert not result.masks_compared
