"""Speculation as data, and what a plan's entries say of it."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan import Diagonal, Layout, NextToken, Plan, SpecError, ZipAR, compile_plan
from diagplan.planner.speculation import (
    Speculation,
    deciders,
    draft_schedule,
    frame_borders,
    most_passes,
    plan_entries,
    prompt_entries,
    widest_step,
)
from diagplan.planner.training_plan import training_plan, visible
from tests.support.strategies import Request, plans

VIDEO = Layout(frames=3, rows=3, cols=4, prompt_frames=1, between_frames=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 0}, "expected window >= 1, got window=0. Give a whole number >= 1."),
        ({"window": 2.5}, "expected window to be an integer, got window=2.5."),
        ({"window": 8, "draft": "first"}, "expected draft to be one of previous-frame, above, left, nearest, proxies"),
        ({"window": 8, "adaptive": 1}, "expected adaptive to be True or False, got adaptive=<int>."),
        ({"window": 8, "across_frames": None}, "expected across_frames to be True or False, got across_frames=None."),
    ],
)
def test_fields_are_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        Speculation(**fields)


@settings(max_examples=80)
@given(compiled=plans(frames=3, side=5))
def test_what_an_entry_sees_comes_before_it(compiled: tuple[Request, Plan]) -> None:
    entries = plan_entries(compiled[1])
    seen = visible(entries)[:, : entries.entries]
    assert not np.triu(seen, 1).any()
    assert seen.diagonal().all()
    before = training_plan(compiled[1])
    assert sorted(zip(entries.step.tolist(), entries.position.tolist(), strict=True)) == list(
        zip(entries.step.tolist(), entries.position.tolist(), strict=True)
    )
    assert sorted(entries.target.tolist()) == sorted(before.target.tolist())


@settings(max_examples=80)
@given(compiled=plans(frames=3, side=5), window=st.integers(1, 30))
def test_sources_are_decided_in_earlier_steps(compiled: tuple[Request, Plan], window: int) -> None:
    """Lemma 2 needs it: where an entry's source is not known, its decider is a pending entry of a smaller step."""
    plan = compiled[1]
    entries = plan_entries(plan)
    by = deciders(entries)[entries.source]
    assert (entries.step[by[by >= 0]] < entries.step[by >= 0]).all()
    assert (deciders(entries)[plan.layout.cell_slots()] >= 0).all()
    prompt = prompt_entries(entries)
    assert (entries.target[:prompt] < 0).all()
    assert (entries.step[:prompt] == 0).all()
    assert most_passes(entries, window) >= plan.steps
    assert most_passes(entries, max(window, widest_step(entries))) == plan.steps


def test_borders_of_frames() -> None:
    entries = plan_entries(compile_plan(VIDEO, NextToken()))
    borders = frame_borders(compile_plan(VIDEO, NextToken()), entries)
    frames = [set((entries.target[part] - 13) // 14) for part in np.split(np.arange(entries.entries), borders)]
    assert [frame - {-1} for frame in frames] == [{0}, {1}, {2}]
    overlapping = compile_plan(VIDEO, Diagonal(k=1, d=2))
    assert frame_borders(overlapping, plan_entries(overlapping)).tolist() == []


def test_plans_that_list_rows_are_refused() -> None:
    from dataclasses import replace

    from diagplan.planner.columns import MaskRows

    plan = compile_plan(VIDEO, NextToken())
    rows = MaskRows(feed=np.array([3]), offsets=np.array([0, 1]), runs=np.array([[0, 4]]))
    with pytest.raises(SpecError, match="expected a plan whose mask rows follow from its policies, got 1 listed"):
        plan_entries(replace(plan, listed=rows))


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("plan:k=1", Diagonal(k=1)),
        ("plan:k=3,d=12", Diagonal(k=3, d=12)),
        ("plan:zipar=2", ZipAR(window=2)),
        ("plan:zipar-llamagen=2", ZipAR(window=2, variant="llamagen")),
        ("above", None),
    ],
)
def test_the_name_of_a_draft_s_plan(name: str, schedule: object) -> None:
    assert draft_schedule(name) == schedule
    assert Speculation(window=4, draft=name).draft == name


@pytest.mark.parametrize("name", ["plan:", "plan:k", "plan:k=", "plan:k=01", "plan:k=1,d=", "plan:ntp", "plan:k=1 ", 3])
def test_names_of_no_draft(name: object) -> None:
    with pytest.raises(SpecError, match="draft"):
        Speculation(window=4, draft=name)  # type: ignore[arg-type]
