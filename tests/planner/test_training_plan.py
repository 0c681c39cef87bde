"""The training plan: one pass over it gives what step-by-step replay gives, and its mask is the plan's."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.masks import iter_masks
from diagplan.planner.plan import MaskRows, Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, NextToken
from diagplan.planner.training_plan import TrainingPlan, iter_visible, training_plan, visible
from tests.support.strategies import Request, plans


def seen_by_hand(plan: Plan) -> list[set[tuple[str, int]]]:
    """What each feed but padding sees, by its mask row: the newest write of a slot, or the slot if none."""
    holds: dict[int, tuple[str, int]] = {}
    numbers = np.cumsum(plan.source >= 0) - 1
    rows: list[set[tuple[str, int]]] = []
    written = 0
    for first, mask in iter_masks(plan):
        end = int(plan.step_offsets[np.searchsorted(plan.step_offsets, first, side="right")])
        for feed in range(written, end):
            holds[int(plan.slot[feed])] = ("entry", int(numbers[feed]))
        written = end
        for i, row in enumerate(mask):
            if plan.source[first + i] >= 0:
                rows.append({holds.get(slot, ("empty", slot)) for slot in np.flatnonzero(row).tolist()})
    return rows


def seen_by_plan(made: TrainingPlan) -> list[set[tuple[str, int]]]:
    names = [("entry", i) for i in range(made.entries)] + [("empty", int(slot)) for slot in made.unwritten]
    return [{names[j] for j in np.flatnonzero(row)} for row in visible(made)]


@given(plans(frames=3, side=4))
def test_each_entry_sees_the_newest_write_of_every_slot_in_its_mask_row(drawn: tuple[Request, Plan]) -> None:
    _, plan = drawn
    made = training_plan(plan)
    assert seen_by_plan(made) == seen_by_hand(plan)
    parts = [part for _, part in iter_visible(made, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), visible(made))


@given(plans(frames=3, side=4))
def test_entries_are_the_feeds_in_step_order(drawn: tuple[Request, Plan]) -> None:
    _, plan = drawn
    made = training_plan(plan)
    real = plan.source >= 0
    for name in ("source", "position", "slot", "target"):
        assert getattr(made, name).dtype == np.int32
        np.testing.assert_array_equal(getattr(made, name), getattr(plan, name)[real])
    assert (np.diff(made.step) >= 0).all()
    assert sorted(made.target[made.target >= 0]) == sorted(plan.layout.cell_slots().ravel())
    with pytest.raises(ValueError, match="read-only"):
        made.until[0] = 0


def test_next_token_prediction_is_a_causal_sequence() -> None:
    plan = compile_plan(Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=2), NextToken())
    made = training_plan(plan)
    np.testing.assert_array_equal(made.source, np.arange(plan.positions - 1))
    np.testing.assert_array_equal(made.position, np.arange(plan.positions - 1))
    np.testing.assert_array_equal(visible(made), np.tril(np.ones((made.entries,) * 2, np.bool_)))


def test_a_refreshed_slot_has_two_entries() -> None:
    layout = Layout(frames=1, rows=3, cols=3, lead=1)
    kept, fresh = (
        training_plan(compile_plan(layout, Diagonal(k=1), Policies(row_end=row_end, proxy_kv="visible")))
        for row_end in ("keep", "refresh")
    )
    assert len(set(kept.position.tolist())) == kept.entries
    (first, second) = np.flatnonzero(fresh.position == 3)
    assert (fresh.until[first], fresh.until[second]) == (fresh.step[second], fresh.steps)
    seen = visible(fresh)
    assert not (seen[:, first] & seen[:, second]).any()
    assert seen[fresh.step >= fresh.step[second]][:, first].sum() == 0


def test_memory_is_linear_in_the_entries() -> None:
    """MC-AR's 16 frames: under 40 bytes an entry, where one [N, N] mask of floats had 150 MB."""
    layout = Layout(frames=15, rows=14, cols=24, prompt_frames=1, between_frames=11)
    made = training_plan(compile_plan(layout, Diagonal(k=2), Policies(visibility="causal")))
    held = sum(
        getattr(made, name).nbytes for name in TrainingPlan.__dataclass_fields__ if name not in ("positions", "steps")
    )
    assert held < 40 * made.entries
    first, part = next(iter_visible(made))
    assert first == 0
    assert part.size <= 1 << 24


def test_listed_rows_are_refused() -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), Diagonal(k=1))
    listed = MaskRows(feed=np.array([0]), offsets=np.array([0, 1]), runs=np.array([[0, 1]]))
    with pytest.raises(SpecError, match="^" + re.escape("expected a plan whose mask rows follow from its policies")):
        training_plan(replace(plan, listed=listed))
