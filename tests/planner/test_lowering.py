"""The passes that fit a plan to a runtime: each keeps what the plan means, or says what it changes."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.lowering import cap_width, pad_steps, prefill_feeds, step_order_slots
from diagplan.planner.plan import Plan, same_plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, NextToken
from diagplan.schemas.files import plan_to_json
from tests.support.semantics import Meaning, Query, meaning, queries_of
from tests.support.strategies import Request, compiled, requests


def meant(plan: Plan) -> Meaning:
    return meaning(json.loads(plan_to_json(plan)))


def widths(plan: Plan) -> list[int]:
    """Feeds of each step; padding and the prompt's prefill not counted."""
    begin = plan.layout.first_generated
    counts = [0] * plan.steps
    for step, source, position, target in zip(
        plan.feed_steps().tolist(), plan.source.tolist(), plan.position.tolist(), plan.target.tolist(), strict=True
    ):
        prefill = step == 0 and position < begin and target < 0
        counts[step] += source >= 0 and not prefill
    return counts


@given(requests(frames=3, side=5), st.integers(1, 12))
def test_no_step_is_wider_than_the_cap(request: Request, cap: int) -> None:
    plan = compiled(request, max_width=cap)
    assert max(widths(plan)) <= cap
    assert min(np.diff(plan.step_offsets)) > 0
    assert plan.max_width == cap
    assert plan.schedule.steps == compiled(request, max_width=None, pad=None).steps
    real = sum(widths(plan))
    assert plan.steps >= max(plan.schedule.steps, -(-real // cap))


@given(requests(frames=3, side=5), st.integers(0, 3))
def test_a_wide_cap_changes_nothing(request: Request, more: int) -> None:
    free = compiled(request, max_width=None)
    cap = max(widths(free)) + more
    capped = compiled(request, max_width=cap)
    assert meant(capped) == meant(free)
    assert np.array_equal(capped.step_offsets, free.step_offsets)
    if cap > 1 and more == 0:
        assert compiled(request, max_width=cap - 1).steps >= free.steps


def asked(said: Meaning) -> dict[tuple[int, int, int], Query]:
    """Queries by (target, source, position), which occur once each."""
    queries = [query for _, query in queries_of(said)]
    found = {query[:3]: query for query in queries}
    assert len(found) == len(queries)
    return found


@given(requests(frames=3, side=4), st.integers(1, 6))
def test_under_a_cap_no_query_sees_less(request: Request, cap: int) -> None:
    before = asked(meant(compiled(request, max_width=None)))
    after = asked(meant(compiled(request, max_width=cap)))
    assert before.keys() == after.keys()
    for key, query in before.items():
        now = {write.position: write.source for write in after[key].sees}
        for write in query.sees:
            # The same writer, or the position's own token where a proxy stood in before.
            assert now[write.position] in (write.source, write.position), (key, write)
        assert after[key].unwritten <= query.unwritten


def test_cap_by_hand() -> None:
    # 3 x 3, k = 1, lead: steps of the cells 0 1 2 | 1 2 3 | 2 3 4, and late feeds of 3 and 6, which had proxies.
    layout = Layout(frames=1, rows=3, cols=3, lead=1)
    free = compile_plan(layout, Diagonal(k=1))
    assert np.split(free.position, free.step_offsets[1:-1].tolist())[2].tolist() == [2, 4, 6]
    capped = compile_plan(layout, Diagonal(k=1), max_width=2)
    positions = [part.tolist() for part in np.split(capped.position, capped.step_offsets[1:-1].tolist())]
    # The cut step 2 4 | 6 takes in 3 and 5, the first feeds of the next step: they lie before 6, but only one has room.
    assert positions == [[0], [1, 3], [2, 4], [3, 6], [5, 7], [6, 8]]
    assert capped.source.tolist() == [0, 1, 1, 2, 4, 3, 4, 5, 7, 6, 8]


def test_cap_of_one_is_one_feed_a_step() -> None:
    layout = Layout(frames=2, rows=2, cols=3, prompt_frames=1)
    plan = compile_plan(layout, Diagonal(k=1, d=2), max_width=1)
    assert set(widths(plan)) == {1}
    # The prefill does not count: step 0 holds the whole prompt beside the first predictor.
    assert int(plan.step_offsets[1]) == layout.first_generated == prefill_feeds(plan) + 1


@given(requests(frames=3, side=4))
def test_slots_in_step_order_mean_the_same(request: Request) -> None:
    policies = Policies(
        proxy=request.policies.proxy, row_end=request.policies.row_end, proxy_kv=request.policies.proxy_kv
    )
    by_position = compiled(request, slots="position", policies=policies)
    in_order = compiled(request, slots="step-order", policies=policies)
    assert meant(in_order) == meant(by_position)
    real = in_order.source >= 0
    assert in_order.slot[real].tolist() == list(range(int(real.sum())))
    for first, last in zip(in_order.step_offsets[:-1], in_order.step_offsets[1:], strict=True):
        written = in_order.slot[first:last][real[first:last]].tolist()
        assert written == list(range(written[0], written[0] + len(written)))
    assert in_order.cache_slots == int(real.sum()) + (in_order.trash_slot is not None)


@given(requests(frames=3, side=4), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_padding_means_nothing(request: Request, pad: list[int]) -> None:
    bare = compiled(request, pad=None)
    padded = compiled(request, pad=tuple(pad))
    assert meant(padded) == meant(bare)
    for real, full in zip(np.diff(bare.step_offsets).tolist(), np.diff(padded.step_offsets).tolist(), strict=True):
        assert full == min((width for width in pad if width >= real), default=real)
    filling = padded.source == -1
    assert padded.trash_slot == bare.cache_slots == padded.cache_slots - 1
    assert (padded.slot[filling] == padded.trash_slot).all()
    assert (padded.target[filling] == -1).all()
    assert (padded.position[filling] == 0).all()
    for name in ("source", "position", "slot", "target"):
        assert np.array_equal(getattr(padded, name)[~filling], getattr(bare, name))


@given(requests(frames=2, side=4))
def test_passes_between_them_give_valid_plans(request: Request) -> None:
    plan = compiled(request, max_width=None, slots="position", pad=None)
    assert verify_plan(plan).ok
    if request.max_width is not None:
        plan = cap_width(plan, request.max_width)
        assert verify_plan(plan).ok
    if request.slots == "step-order":
        plan = step_order_slots(plan)
        assert verify_plan(plan).ok
    if request.pad is not None:
        plan = pad_steps(plan, request.pad)
        assert verify_plan(plan).ok
    assert same_plan(plan, compiled(request))


@pytest.mark.parametrize("width", [0, -3, 1.5, None])
def test_cap_errors(width: Any) -> None:
    plan = compile_plan(Layout(frames=1, rows=1, cols=2, lead=1), NextToken())
    with pytest.raises(SpecError, match="^" + re.escape("expected max_width ")):
        cap_width(plan, width)


def test_padding_of_a_causal_plan_with_few_cache_slots() -> None:
    """Its last position is never written, so the cache may do without it; the trash slot may not be of its number."""
    causal = Policies(proxy_kv="visible", visibility="causal")
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1), causal)
    small = replace(plan, cache_slots=plan.positions - 1)
    assert verify_plan(small).ok
    padded = pad_steps(small, (4,))
    assert verify_plan(padded).ok
    assert padded == pad_steps(plan, (4,))
