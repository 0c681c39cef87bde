"""The passes of a plan: its own columns and masks, cut into chunks and padded, nothing lost and nothing added."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diagplan.backends.program import program, reaches
from diagplan.planner.masks import iter_masks
from diagplan.planner.plan import Plan
from tests.support.strategies import Request, plans

CHUNKS, STEPS = st.sampled_from([1, 2, 3, 7, 512]), st.sampled_from([1, 8, 64])


@given(compiled=plans(frames=3, side=5), chunk=CHUNKS, length_step=STEPS)
def test_the_columns_are_the_plans(compiled: tuple[Request, Plan], chunk: int, length_step: int) -> None:
    _, plan = compiled
    passes = list(program(plan, chunk=chunk, length_step=length_step))
    assert max(len(p.source) for p in passes) <= chunk
    for name in ("position", "slot"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in passes]), getattr(plan, name))
    np.testing.assert_array_equal(np.concatenate([p.source for p in passes]), np.maximum(plan.source, 0))
    np.testing.assert_array_equal(np.concatenate([p.target for p in passes]), plan.target[plan.target >= 0])
    steps = np.concatenate([np.full(len(p.source), p.step) for p in passes])
    np.testing.assert_array_equal(steps, plan.feed_steps())
    # A step is complete after its last pass, and only then.
    assert [p.step for p in passes if p.last] == list(range(plan.steps))
    assert all(p.last == (q is None or q.step != p.step) for p, q in zip(passes, [*passes[1:], None], strict=True))
    first = 0
    for p in passes:
        np.testing.assert_array_equal(plan.target[first + p.rows], p.target)
        first += len(p.source)


@given(compiled=plans(frames=3, side=5), chunk=CHUNKS, length_step=STEPS)
def test_the_masks_are_the_plans(compiled: tuple[Request, Plan], chunk: int, length_step: int) -> None:
    _, plan = compiled
    whole = np.concatenate([mask for _, mask in iter_masks(plan)])
    first = 0
    for p in program(plan, chunk=chunk, length_step=length_step):
        rows = whole[first : first + len(p.source)]
        padding = plan.source[first : first + len(p.source)] < 0
        if not padding.all():
            rows = np.where(padding[:, None], rows[np.flatnonzero(~padding)[0]], rows)
        length = p.mask.shape[1]
        assert length % length_step == 0
        assert p.slot.max() < length
        shared = min(length, plan.cache_slots)
        np.testing.assert_array_equal(p.mask[:, :shared], rows[:, :shared])
        assert not p.mask[:, shared:].any()
        assert not rows[:, shared:].any()
        assert rows[np.arange(len(rows)), p.own].all()
        first += len(p.source)


@given(compiled=plans(frames=3, side=5))
def test_reaches_cover_what_is_written_and_what_is_seen(compiled: tuple[Request, Plan]) -> None:
    _, plan = compiled
    reach = reaches(plan)
    whole = np.concatenate([mask for _, mask in iter_masks(plan)])
    seen = np.where(whole.any(1), whole.shape[1] - whole[:, ::-1].argmax(1), 0)
    assert (np.diff(reach) >= 0).all()
    assert (reach > plan.slot).all()
    # A feed sees nothing that its step has not reached; a step is written before it is read.
    ends = plan.step_offsets[1:][plan.feed_steps()] - 1
    assert (reach[ends] >= seen).all()
