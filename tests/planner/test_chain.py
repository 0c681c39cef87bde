"""Chains as data: what is run of each plan, which slots are given, and what it costs, all counted feed by feed."""

import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings

from diagplan import Diagonal, Layout, NextToken, compile_chain, compile_plan
from diagplan.planner.chain import Chain, ChainCost, members, prompt_feeds
from diagplan.planner.masks import iter_masks
from diagplan.planner.plan import MaskRows
from tests.support.strategies import chain_requests

FIRST, SECOND = Layout(frames=1, rows=2, cols=3, lead=3), Layout(frames=1, rows=2, cols=2, lead=11)


@settings(max_examples=40)
@given(request=chain_requests())
def test_what_is_run_is_the_plan_less_what_is_kept_under_the_same_rows(request: dict[str, Any]) -> None:
    chain = compile_chain(**request)
    for number, plan in enumerate(chain.plans):
        part = chain.continued(number)
        kept = {slot for start, end in chain.kept[number] for slot in range(start, end)}
        first = int(plan.step_offsets[1])
        stays = [f for f in range(plan.feeds) if not (f < first and plan.target[f] < 0 and plan.position[f] in kept)]
        for name in ("source", "position", "slot", "target"):
            np.testing.assert_array_equal(getattr(part.plan, name), getattr(plan, name)[stays])
        assert part.plan.steps == plan.steps
        np.testing.assert_array_equal(part.plan.feed_steps(), plan.feed_steps()[stays])
        assert sorted(part.held.position.tolist()) == sorted(kept)
        assert part.before == tuple(earlier.layout for earlier in chain.plans[:number])
        rows = np.concatenate([mask for _, mask in iter_masks(plan)])[stays]
        np.testing.assert_array_equal(np.concatenate([m for _, m in iter_masks(part.plan, held=part.held)]), rows)


@settings(max_examples=30)
@given(request=chain_requests())
def test_given_slots_are_those_that_no_plan_generates(request: dict[str, Any]) -> None:
    chain = compile_chain(**request)
    cells = {int(slot) for plan in chain.plans for slot in plan.layout.cell_slots().ravel()}
    assert chain.layout == chain.plans[-1].layout
    assert chain.given_slots().tolist() == [slot for slot in range(chain.layout.positions) if slot not in cells]
    assert chain.between(0) == chain.plans[0].layout.lead
    for number, (before, plan) in enumerate(pairwise(chain.plans), start=1):
        assert chain.between(number) == plan.layout.lead - before.layout.positions


def test_glm_images_passes() -> None:
    """Preview and picture: 94, 140 and 232 passes against 1,281 tokens, the end id one of them."""
    preview, picture = Layout(frames=1, rows=16, cols=16, lead=30), Layout(frames=1, rows=32, cols=32, lead=30 + 256)
    costs = [compile_chain([preview, picture], Diagonal(k=k)).cost() for k in (1, 2, 4)]
    assert [cost.passes for cost in costs] == [94, 140, 232]
    assert costs[0] == ChainCost(plans=2, passes=94, prefill_tokens=29, kept_tokens=285, tokens=1280)
    assert compile_chain([preview, picture], NextToken()).cost().passes == 1280


def test_a_step_with_nothing_left_to_feed_is_left_out() -> None:
    """Of a plan made elsewhere, whose step 0 only writes the prompt."""
    chain = compile_chain([FIRST, SECOND], NextToken())
    plan = chain.plans[1]
    split = replace(plan, step_offsets=np.concatenate([[0, plan.step_offsets[1] - 1], plan.step_offsets[1:]]))
    whole = Chain(plans=(chain.plans[0], split), kept=((), ((0, 10),)))
    part = whole.continued(1)
    assert part.plan.steps == plan.steps == split.steps - 1
    assert part.plan.source.tolist()[:2] == [10, 11]
    assert len(part.held.position) == 10
    assert whole.cost().passes == chain.cost().passes


def test_listed_rows_go_with_their_feeds() -> None:
    chain = compile_chain([FIRST, SECOND], NextToken())
    plan = chain.plans[1]
    dropped = len(chain.continued(1).held.position)
    last = plan.feeds - 1
    listed = MaskRows(feed=np.array([0, last]), offsets=np.array([0, 1, 3]), runs=np.array([[0, 1], [0, 2], [4, 15]]))
    part = replace(chain, plans=(chain.plans[0], replace(plan, listed=listed))).continued(1)
    assert dropped == 8
    assert part.plan.listed.feed.tolist() == [last - dropped]
    assert part.plan.listed.row(0).tolist() == [[0, 2], [4, 15]]


def test_chains_are_values() -> None:
    chain = compile_chain([FIRST, SECOND], NextToken())
    assert pickle.loads(pickle.dumps(chain)) == chain == compile_chain([FIRST, SECOND], NextToken())
    assert hash(chain) == hash(compile_chain([FIRST, SECOND], NextToken()))
    assert chain != compile_chain([FIRST, SECOND], NextToken(), refeed=True)


def test_members_and_the_feeds_of_a_prompt() -> None:
    assert np.flatnonzero(members(((0, 2), (4, 5)), 6)).tolist() == [0, 1, 4]
    plan = compile_plan(replace(FIRST, prompt_frames=1), NextToken())
    assert plan.position[prompt_feeds(plan)].tolist() == [0, 1, 2]  # of the lead, not of a prompt frame
