"""The law: for every valid plan, every executor at every chunk gives the reference executor's tokens.

And the reference executor's are those of an interpreter that reads the document by docs/plan-format.md alone.
"""

import json
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import Diagonal, DiagplanError, Layout, NextToken, Plan, compile_plan  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.planner.checker import verify_plan  # noqa: E402
from diagplan.planner.columns import MaskRows  # noqa: E402
from diagplan.planner.masks import iter_masks, to_runs  # noqa: E402
from diagplan.schemas.files import plan_from_json, plan_to_json  # noqa: E402
from tests.support.claims import damaged  # noqa: E402
from tests.support.executed import interpreted, reference, replayed  # noqa: E402
from tests.support.mutations import FEED_MUTATIONS, MUTATIONS, ROW_MUTATIONS  # noqa: E402
from tests.support.strategies import Request, plans  # noqa: E402

VOCABULARY = 13
CHUNKS = st.one_of(st.integers(1, 6), st.sampled_from([512]))


@cache
def model() -> McAr:
    """Random weights in float64: what differs, differs for a reason."""
    config = McArConfig(
        hidden_size=16, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=VOCABULARY, max_position_embeddings=4096,
    )  # fmt: skip
    return McAr.random(config, seed=3, dtype=torch.float64, portable=True)


def shuffled(plan: Plan, random: Random) -> Plan:
    """The same plan with the feeds of every step in another order, which has no meaning."""
    order = np.arange(plan.feeds)
    for start, end in zip(plan.step_offsets[:-1].tolist(), plan.step_offsets[1:].tolist(), strict=True):
        part = order[start:end].tolist()
        random.shuffle(part)
        order[start:end] = part
    columns = {name: getattr(plan, name)[order] for name in ("source", "position", "slot", "target")}
    place = np.argsort(order)
    by_feed = np.argsort(place[plan.listed.feed], kind="stable")
    runs = [plan.listed.row(j) for j in by_feed.tolist()]
    listed = MaskRows(
        feed=place[plan.listed.feed][by_feed],
        offsets=np.cumsum([0, *map(len, runs)]),
        runs=np.concatenate([np.zeros((0, 2), np.int32), *runs]),
    )
    return replace(plan, listed=listed, **columns)


@settings(max_examples=60)
@given(compiled=plans(frames=2, side=4), seed=st.integers(0, 1 << 16), chunk=CHUNKS, static=st.booleans())
def test_every_order_of_feeds_at_every_chunk(
    compiled: tuple[Request, Plan], seed: int, chunk: int, static: bool
) -> None:
    _, plan = compiled
    expected = reference(plan, model())
    np.testing.assert_array_equal(interpreted(plan, model()), expected)
    other = shuffled(plan, Random(seed))
    assert verify_plan(other).ok
    np.testing.assert_array_equal(reference(other, model()), expected)
    for one in (plan, other):
        np.testing.assert_array_equal(replayed(one, model(), chunk, static=static), expected)


@settings(max_examples=40)
@given(compiled=plans(frames=2, side=4), seed=st.integers(0, 1 << 16), chunk=CHUNKS)
def test_every_damaged_plan_that_still_verifies(compiled: tuple[Request, Plan], seed: int, chunk: int) -> None:
    require_mutants_replay(compiled[1], seed, (chunk,), tries=8)


def require_mutants_replay(plan: Plan, seed: int, chunks: tuple[int, ...], *, tries: int) -> int:
    """How many damaged documents verified; each must replay as the reference executor and the interpreter say."""
    random, accepted = Random(seed), 0
    document = json.loads(plan_to_json(plan))
    for _ in range(tries):
        kinds: tuple[str, ...] = (random.choice(sorted(MUTATIONS)),)
        if random.random() < 0.5:  # two edits: the first must leave steps for the second
            kinds = tuple(random.choices(sorted({*FEED_MUTATIONS, *ROW_MUTATIONS}), k=2))
        mutant = damaged(json.loads(json.dumps(document)), kinds, random)
        if mutant is None:
            continue
        try:
            other = plan_from_json(json.dumps(mutant))
        except DiagplanError:
            continue
        if not verify_plan(other).ok or other.positions > 200:
            continue
        accepted += 1
        expected = reference(other, model())
        np.testing.assert_array_equal(interpreted(other, model()), expected, err_msg=str(kinds))
        for chunk in chunks:
            for static in (False, True):
                np.testing.assert_array_equal(
                    replayed(other, model(), chunk, static=static), expected, err_msg=str(kinds)
                )
    return accepted


def test_reversed_feeds_of_a_long_prompt() -> None:
    """A step of more feeds than the chunk, listed backwards: later positions must not be fed before earlier ones."""
    layout = Layout(frames=1, rows=4, cols=6, prompt_frames=25, between_frames=2)
    plan = compile_plan(layout, Diagonal(k=2))
    first, end = plan.step_offsets[:2].tolist()
    order = np.r_[np.arange(first, end)[::-1], np.arange(end, plan.feeds)]
    backwards = replace(plan, **{n: getattr(plan, n)[order] for n in ("source", "position", "slot", "target")})
    assert verify_plan(backwards).ok
    expected = replayed(plan, model(), 4096, static=False)
    for chunk in (1, 7, 512, 4096):
        np.testing.assert_array_equal(replayed(backwards, model(), chunk, static=False), expected)


def test_listed_rows_that_see_unwritten_slots_above_all_written() -> None:
    """Valid with warnings where the cache is zeroed: what is seen takes part in the softmax, written or not."""
    layout = Layout(frames=1, rows=12, cols=14, lead=2)
    plan = compile_plan(layout, Diagonal(k=1), slots="step-order")
    mask = np.concatenate([block for _, block in iter_masks(plan)])
    written = plan.step_offsets[1:][plan.feed_steps()]
    for feed in range(plan.feeds):
        mask[feed, written[feed] : plan.position[feed] + 1] = True
    count, runs = to_runs(mask)
    listed = MaskRows(feed=np.arange(plan.feeds), offsets=np.cumsum([0, *count]), runs=runs)
    policies = replace(plan.policies, visibility="listed")
    other = replace(plan, cache_initial="zeros", listed=listed, policies=policies)
    report = verify_plan(other)
    assert (report.ok, report.counts.get("DP303", 0) > 0) == (True, True), report.counts
    expected = reference(other, model())
    assert (expected != reference(plan, model())).any()  # zeros in the softmax change tokens
    np.testing.assert_array_equal(interpreted(other, model()), expected)
    for chunk in (1, 3, 512):
        np.testing.assert_array_equal(replayed(other, model(), chunk, static=False), expected)


def test_rows_of_one_step_that_see_each_other_stay_in_one_pass() -> None:
    from diagplan.backends.program import in_passes

    plan = compile_plan(Layout(frames=1, rows=2, cols=4, lead=6), NextToken())
    runs = np.array([[0, 4]])  # the first feed of the prompt sees the fourth one's write
    mutual = replace(plan, listed=MaskRows(feed=np.array([0]), offsets=np.array([0, 1]), runs=runs))
    assert in_passes(plan, 2)[1].tolist()[:4] == [0, 2, 4, 6]
    assert in_passes(mutual, 2)[1].tolist()[:3] == [0, 4, 6]


@pytest.mark.parametrize("chunk", [1, 3, 512])
def test_the_order_of_feeds_has_no_meaning_on_onnx_runtime(chunk: int) -> None:
    pytest.importorskip("onnxruntime")
    exported = pytest.importorskip("tests.support.exported").exported_model()
    from tests.support.mineworld import GIVEN, LAYOUT

    plan = compile_plan(LAYOUT, Diagonal(k=2))
    runs = []
    for one in (plan, shuffled(plan, Random(chunk))):
        prepared = executor.prepare(one, exported, chunk=chunk)
        runs.append(executor.replay(prepared, executor.new_state(prepared, GIVEN[None])).tokens)
    np.testing.assert_array_equal(runs[0], runs[1])
