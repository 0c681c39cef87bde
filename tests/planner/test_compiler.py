"""Compiled plans: steps, emissions, given and late feeds, and next-token prediction as the limit."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner import formulas
from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.masks import mask_rows
from diagplan.planner.plan import Plan, same_plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR, cell_steps
from tests.support.simulation import simulate
from tests.support.strategies import PROXIES, Request, compiled, layouts, plans, policies, requests, schedules


@given(plans())
def test_every_plan_verifies(case: tuple[Request, Plan]) -> None:
    _, plan = case
    report = verify_plan(plan)
    assert report.ok, report.diagnostics[0]


def law(request: Request) -> int:
    """The closed form of a request's steps, before any width cap."""
    layout, schedule = request.layout, request.schedule
    grid = layout.frames, layout.rows, layout.cols
    match schedule:
        case NextToken():
            return formulas.total_steps(*grid, k=layout.cols, d=layout.rows * layout.cols)
        case Diagonal():
            return formulas.total_steps(*grid, k=schedule.k, d=schedule.d)
        case ZipAR(variant="llamagen"):
            return formulas.zipar_llamagen_steps(*grid, window=schedule.window)
        case ZipAR():
            return formulas.total_steps(*grid, k=schedule.window, d=None)
        case Imported():
            return len(set(schedule.steps.ravel().tolist()))


@given(plans())
def test_steps_are_the_closed_form_and_the_rules_played(case: tuple[Request, Plan]) -> None:
    request, plan = case
    assert plan.schedule.steps == law(request)
    uncapped = compiled(request, max_width=None)
    assert uncapped.steps == law(request)
    step = uncapped.feed_steps()
    emitted = {int(t): int(s) for t, s in zip(uncapped.target, step, strict=True) if t >= 0}
    schedule = request.schedule
    if isinstance(schedule, Imported):
        played = {cell: int(s) for cell, s in np.ndenumerate(schedule.steps)}
    else:
        played = simulate(request.layout, schedule)
    slots = request.layout.cell_slots()
    assert emitted == {int(slots[cell]): s for cell, s in played.items()}


@given(plans())
def test_every_generated_slot_is_emitted_once(case: tuple[Request, Plan]) -> None:
    request, plan = case
    targets = plan.target[plan.target >= 0].tolist()
    assert sorted(targets) == request.layout.cell_slots().ravel().tolist()


@given(plans(frames=3, side=5))
def test_header_of_a_plan(case: tuple[Request, Plan]) -> None:
    request, plan = case
    assert plan.layout == request.layout
    assert plan.policies == request.policies
    assert plan.max_width == request.max_width
    assert plan.positions == request.layout.positions
    assert plan.cache_initial == ("zeros" if request.policies.visibility == "causal" else "undefined")
    assert (plan.trash_slot is None) == (request.pad is None)
    assert len(plan.listed) == 0
    assert plan.source.dtype == plan.position.dtype == plan.slot.dtype == plan.target.dtype == np.int32
    for column in (plan.source, plan.position, plan.slot, plan.target, plan.step_offsets, plan.given):
        assert not column.flags.writeable


@given(st.data())
def test_full_row_delay_with_frames_in_sequence_is_next_token_prediction(data: st.DataObject) -> None:
    layout = data.draw(layouts(frames=3, side=5))
    policy = data.draw(policies(layout))
    w, alone = layout.cols, layout.rows * layout.cols
    same: list[Schedule] = [
        Diagonal(k=w),
        Diagonal(k=w + 3, d=alone),
        Diagonal(k=w, d=alone + 1),
        ZipAR(window=w),
        ZipAR(window=w, variant="llamagen"),
        Imported(steps=np.arange(layout.tokens).reshape(layout.frames, layout.rows, w)),
    ]
    schedule = data.draw(st.sampled_from(same))
    plan = compile_plan(layout, schedule, policy)
    # Whatever the proxy and row-end policies: with every predecessor known there is nothing for them to decide.
    reference = compile_plan(layout, NextToken(), Policies(proxy_kv=policy.proxy_kv, visibility=policy.visibility))
    for name in ("source", "position", "slot", "target", "step_offsets"):
        assert np.array_equal(getattr(plan, name), getattr(reference, name)), name
    # One token a step, its own predecessor fed, the whole past seen.
    widths = np.bincount(plan.feed_steps()[plan.target >= 0])
    assert (widths == 1).all()
    assert (plan.source == plan.position).all()
    rows, plain = mask_rows(plan), mask_rows(reference)
    assert np.array_equal(rows.runs, plain.runs)
    assert np.array_equal(rows.offsets, plain.offsets)
    assert rows.runs.tolist() == [[0, p + 1] for p in plan.position.tolist()]


@given(requests(frames=3, side=5))
def test_given_tokens_are_fed_when_the_frame_or_row_behind_them_starts(request: Request) -> None:
    plan = compiled(request, max_width=None, pad=None)
    layout = request.layout
    steps = cell_steps(request.schedule, layout)
    slots = layout.cell_slots()
    fed = dict(zip(plan.position.tolist(), plan.feed_steps().tolist(), strict=True))
    for start, end in plan.given.tolist():
        frame, row, col = (int(axis[0]) for axis in np.nonzero(slots == end))
        cells = steps[frame] if row == 0 else steps[frame, row]
        begin = 0 if start == 0 else int(cells.min())
        assert [fed[slot] for slot in range(start, end - 1)] == [begin] * (end - 1 - start)
        # The block's last token predicts the cell behind it, in that cell's own step.
        predictors = plan.feed_steps()[(plan.position == end - 1) & (plan.target == end)]
        assert predictors.tolist() == [steps[frame, row, col]]


@given(requests(frames=3, side=5))
def test_late_feeds(request: Request) -> None:
    plan = compiled(request, max_width=None, pad=None)
    slots = request.layout.cell_slots()
    generated = dict(
        zip(slots.ravel().tolist(), cell_steps(request.schedule, request.layout).ravel().tolist(), strict=True)
    )
    step = plan.feed_steps().tolist()
    own = {
        (position, s)
        for source, position, s in zip(plan.source.tolist(), plan.position.tolist(), step, strict=True)
        if source == position and position in generated
    }
    fed = Counter(position for position, _ in own)
    if request.policies.row_end == "refresh":
        for position, s in generated.items():
            # In the step after it was generated, unless the plan is over; no step is added for it.
            assert ((position, s + 1) in own) == (s + 1 < plan.steps and position != plan.positions - 1)
    else:
        # Every slot is written at most once. In imported orders a given token may be fed before its cell is due,
        # and is then fed again to predict it.
        written = Counter(plan.position.tolist())
        again = {position for position, count in written.items() if count > 1}
        assert not again & generated.keys()
        assert not again or isinstance(request.schedule, Imported)
    assert all(s > generated[position] for position, s in own)
    assert all(count <= 2 for count in fed.values())


def test_feeds_come_in_the_order_of_positions() -> None:
    plan = compile_plan(Layout(frames=3, rows=3, cols=4, prompt_frames=1, between_frames=2), Diagonal(k=1, d=2))
    for first, last in zip(plan.step_offsets[:-1], plan.step_offsets[1:], strict=True):
        assert (np.diff(plan.position[first:last]) > 0).all()


@given(st.data())
def test_the_same_request_gives_the_same_plan(data: st.DataObject) -> None:
    layout = data.draw(layouts(frames=2, side=3))
    request = Request(layout=layout, schedule=data.draw(schedules(layout)), policies=data.draw(policies(layout)))
    assert same_plan(compiled(request), compiled(request))


GRID = Layout(frames=1, rows=2, cols=2, lead=1)
NOT_NAMED = (
    "expected a named policy, got {}. That value marks plans made elsewhere. Choose a policy that says what to do."
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policies": Policies(proxy="custom")}, NOT_NAMED.format("proxy='custom'")),
        ({"policies": Policies(row_end="custom")}, NOT_NAMED.format("row_end='custom'")),
        ({"policies": Policies(visibility="listed")}, NOT_NAMED.format("visibility='listed'")),
        ({"max_width": 0}, "expected max_width >= 1, got max_width=0. Give a whole number >= 1."),
        (
            {"max_width": True},
            "expected max_width to be an integer, got max_width=True. Give a whole number >= 1.",
        ),
        ({"slots": "raster"}, "expected slots to be 'position' or 'step-order', got slots='raster'."),
        (
            {"slots": "step-order", "policies": Policies(visibility="causal")},
            (
                "expected visibility='written' for cache slots in step order, got 'causal'. A causal row sees slots "
                "that are never written. Compile with visibility='written' or slots='position'."
            ),
        ),
        (
            {"pad": ()},
            "expected at least one width to pad to, got none. Give the widths your runtime has.",
        ),
        ({"pad": (4, 0)}, "expected pad >= 1, got pad=0. Give a whole number >= 1."),
        ({"pad": (2.5,)}, "expected pad to be an integer, got pad=2.5. Give a whole number >= 1."),
    ],
)
def test_compile_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        compile_plan(GRID, Diagonal(k=1), **arguments)


def test_default_policies() -> None:
    assert same_plan(compile_plan(GRID, Diagonal(k=1)), compile_plan(GRID, Diagonal(k=1), Policies()))
    assert PROXIES[3] == Policies().proxy
