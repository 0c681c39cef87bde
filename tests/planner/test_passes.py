"""The shapes of passes, against what the executors lay out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.backends.program import program
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.lowering import pad_steps
from diagplan.planner.passes import pass_shapes
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, NextToken
from tests.support.strategies import Request, plans


@given(plans(frames=3, side=5), st.sampled_from([1, 3, 8, 512]), st.sampled_from([1, 8, 64]))
def test_they_are_those_of_the_program(case: tuple[Request, Plan], chunk: int, step: int) -> None:
    plan = case[1]
    shapes, laid_out = (
        pass_shapes(plan, chunk=chunk, length_step=step),
        list(program(plan, chunk=chunk, length_step=step)),
    )
    assert shapes.width.tolist() == [len(columns.source) for columns in laid_out]
    assert shapes.target.tolist() == [len(columns.target) for columns in laid_out]
    assert shapes.length.tolist() == [columns.mask.shape[1] for columns in laid_out]
    assert shapes.widest == plan.stats().max_width or plan.trash_slot is not None
    first = set(plan.layout.cell_slots()[0].ravel().tolist())
    last = max(i for i, columns in enumerate(laid_out) if first & set(columns.target.tolist()))
    assert shapes.first_frame == last + 1


@given(plans(frames=2, side=4))
def test_a_runtime_that_pads_is_counted_as_it_pads(case: tuple[Request, Plan]) -> None:
    plan, widths = case[1], (2, 4, 16)
    padded = plan if plan.trash_slot is not None else pad_steps(plan, widths)
    counted = pass_shapes(plan, static_widths=widths)
    assert counted.width.tolist() == pass_shapes(padded).width.tolist()
    assert counted.length.tolist() == pass_shapes(padded).length.tolist()


def test_the_prompt_is_told_apart() -> None:
    layout = Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=2)
    shapes = pass_shapes(compile_plan(layout, NextToken()), chunk=5)
    assert (shapes.prompt, shapes.prompt_passes) == (13, 3)
    assert shapes.width[:4].tolist() == [5, 5, 4, 1]
    assert len(shapes.feed_reach) == compile_plan(layout, NextToken()).feeds
    assert shapes.feed_reach[shapes.first_frame_feed] == layout.cell_slots()[0].max()


@pytest.mark.parametrize("settings", [{"chunk": 0}, {"length_step": 0}])
def test_numbers_below_one_are_refused(settings: dict[str, Any]) -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
    with pytest.raises(SpecError, match=">= 1"):
        pass_shapes(plan, **settings)
