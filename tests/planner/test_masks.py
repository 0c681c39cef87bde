"""Expanded mask rows against a slow reading of the specification's section 4."""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner import masks
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.masks import follow_rule, iter_masks, mask_rows, step_mask, to_runs
from diagplan.planner.plan import MaskRows, Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.files import plan_to_json
from tests.support.semantics import rule_rows, runs_to_set, set_to_runs
from tests.support.strategies import Request, plans


def as_document(plan: Plan) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(plan_to_json(plan, masks="rule"))
    return document


def expanded(plan: Plan) -> list[set[int]]:
    """Every feed's row as ``iter_masks`` gives it."""
    rows: list[set[int]] = []
    for first, mask in iter_masks(plan):
        assert first == len(rows)
        assert mask.dtype == np.bool_
        assert mask.shape[1] == plan.cache_slots
        rows += [set(np.flatnonzero(row).tolist()) for row in mask]
    assert len(rows) == plan.feeds
    return rows


@given(plans(frames=3, side=5))
def test_rows_are_what_the_rule_says(case: tuple[Request, Plan]) -> None:
    _, plan = case
    expected = rule_rows(as_document(plan))
    assert expanded(plan) == [row for of_step in expected for row in of_step]


@given(plans(frames=3, side=4), st.data())
def test_step_mask_is_one_step_of_it(case: tuple[Request, Plan], data: st.DataObject) -> None:
    _, plan = case
    step = data.draw(st.integers(0, plan.steps - 1))
    mask = step_mask(plan, step)
    assert [set(np.flatnonzero(row).tolist()) for row in mask] == rule_rows(as_document(plan))[step]


@given(plans(frames=2, side=4))
def test_mask_rows_are_the_rows_as_runs(case: tuple[Request, Plan]) -> None:
    _, plan = case
    rows = mask_rows(plan)
    assert rows.feed.tolist() == list(range(plan.feeds))
    assert [rows.row(j).ravel().tolist() for j in range(len(rows))] == [set_to_runs(row) for row in expanded(plan)]


# A 2 x 2 frame, k = 1: step 1 feeds token 1 at position 2, the slot of token 2, which is chosen in that step;
# step 2 refreshes it. Slot 0 is the lead.
@pytest.mark.parametrize(
    ("policies", "rows"),
    [
        (Policies(), [[0], [0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3]]),
        (Policies(proxy_kv="visible"), [[0], [0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3]]),
        (Policies(row_end="keep"), [[0], [0, 1], [0, 1, 2], [0, 1, 3]]),
        (Policies(row_end="keep", proxy_kv="visible"), [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]),
    ],
)
def test_rows_by_hand(policies: Policies, rows: list[list[int]]) -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), Diagonal(k=1), policies)
    assert expanded(plan) == [set(row) for row in rows]


def test_hidden_proxies_and_unwritten_slots_by_hand() -> None:
    # 2 x 3, k = 1, slots 1 2 3 | 4 5 6. Step 1: (1, 1, 2), (1, 3, 4): slot 3 holds a proxy, its token comes in step 2.
    # Step 2: (2, 2, 3), (4, 4, 5). Step 3: (3, 3, -), (5, 5, 6).
    layout = Layout(frames=1, rows=2, cols=3, lead=1)
    hidden = compile_plan(layout, Diagonal(k=1))
    assert hidden.position.tolist() == [0, 1, 3, 2, 4, 3, 5]
    assert [sorted(row) for row in expanded(hidden)] == [
        *([0], [0, 1], [0, 1, 3]),  # slot 2 is not written yet
        *([0, 1, 2], [0, 1, 2, 4]),  # slot 3 holds a proxy that is not theirs
        *([0, 1, 2, 3], [0, 1, 2, 3, 4, 5]),
    ]
    causal = compile_plan(layout, Diagonal(k=1), Policies(proxy_kv="visible", visibility="causal"))
    assert [sorted(row) for row in expanded(causal)] == [list(range(p + 1)) for p in causal.position.tolist()]


def test_a_refreshed_position_has_two_slots_in_step_order() -> None:
    layout = Layout(frames=1, rows=2, cols=3, lead=1)
    plan = compile_plan(layout, Diagonal(k=1), Policies(proxy_kv="visible"), slots="step-order")
    assert plan.position.tolist() == [0, 1, 3, 2, 4, 3, 5]
    assert plan.slot.tolist() == list(range(7))
    rows = [sorted(row) for row in expanded(plan)]
    assert rows[4] == [0, 1, 2, 3, 4]  # position 4 sees the proxy of position 3 in slot 2
    assert rows[6] == [0, 1, 3, 4, 5, 6]  # position 5 sees its refreshed write in slot 5 instead


def test_padding_sees_the_trash_slot_only() -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1), pad=(2,))
    assert plan.source.tolist()[:2] == [0, -1]
    assert expanded(plan)[1] == {plan.trash_slot}
    assert not any(
        plan.trash_slot in row for row, source in zip(expanded(plan), plan.source, strict=True) if source >= 0
    )


def test_listed_rows_replace_the_rule() -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
    listed = MaskRows(feed=np.array([1, 4]), offsets=np.array([0, 1, 1]), runs=np.array([[1, 2]]))
    changed = replace(plan, listed=listed)
    rows = expanded(changed)
    assert rows[1] == {1}
    assert rows[4] == set()
    assert [row for i, row in enumerate(rows) if i not in (1, 4)] == [
        row for i, row in enumerate(expanded(plan)) if i not in (1, 4)
    ]
    assert [set(np.flatnonzero(row)) for row in step_mask(changed, 1)] == rows[1:3]
    (_, first), *_ = iter_masks(changed, listed=False)
    assert first.tolist() == [[True, *[False] * 6]]


def test_wide_steps_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = compile_plan(Layout(frames=1, rows=3, cols=3, prompt_frames=2), Diagonal(k=1))
    whole = expanded(plan)
    assert sum(1 for _ in iter_masks(plan)) == plan.steps
    monkeypatch.setattr(masks, "_CHUNK", 2 * plan.cache_slots)
    assert max(len(mask) for _, mask in iter_masks(plan)) == 2
    assert expanded(plan) == whole


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), max_size=5))
def test_to_runs_and_back(bits: list[list[bool]]) -> None:
    mask = np.array(bits, dtype=np.bool_).reshape(len(bits), 7)
    count, runs = to_runs(mask)
    assert count.sum() == len(runs)
    bounds = np.concatenate([[0], np.cumsum(count)]).tolist()
    for row, first, last in zip(bits, bounds[:-1], bounds[1:], strict=True):
        flat = runs[first:last].ravel().tolist()
        assert runs_to_set(flat) == {i for i, bit in enumerate(row) if bit}
        # Not empty and not touching: there is one way to write a row.
        assert all(a < b for a, b in itertools.pairwise(flat))


@given(plans(frames=2, side=4), st.data())
def test_rows_that_follow_the_rule_are_told_from_others(case: tuple[Request, Plan], data: st.DataObject) -> None:
    """Some rows of a plan, of which some are spelled or filled otherwise."""
    _, plan = case
    feeds = sorted(data.draw(st.sets(st.integers(0, plan.feeds - 1))))
    rule = mask_rows(plan)
    rows, expected = [], []
    for feed in feeds:
        row = rule.row(feed).tolist()
        other = {
            "the same": row,
            "longer": [*row, [plan.cache_slots + 1, plan.cache_slots + 2]],
            "shorter": row[1:],
            "in two runs": [[s, s + 1] for start, end in row for s in range(start, end)],
            "of another slot": [*row[:-1], [row[-1][0], row[-1][1] + 1]],
        }[data.draw(st.sampled_from(["the same"] * 3 + ["longer", "shorter", "in two runs", "of another slot"]))]
        rows.append(other)
        expected.append(other == row)
    listed = MaskRows(
        feed=np.array(feeds, dtype=np.int64),
        offsets=np.cumsum([0, *(len(row) for row in rows)]),
        runs=np.array([run for row in rows for run in row], dtype=np.int32),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "_COMPARED", data.draw(st.sampled_from([1, 3 * plan.cache_slots, 1 << 22])))
        assert follow_rule(plan, listed).tolist() == expected
