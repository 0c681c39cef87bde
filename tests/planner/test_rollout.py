"""Rollouts: windows in order, few plans, and costs by enumeration and by the closed form."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan import Diagonal, Imported, Layout, NextToken, Policies, ZipAR, compile_plan, verify
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import same_plan
from diagplan.planner.rollout import RolloutCost, Window, compile_rollout, rollout_cost
from diagplan.planner.schedule import Schedule

WHAM = Layout(frames=1, rows=18, cols=30, prompt_frames=9, between_frames=16)
SMALL = Layout(frames=2, rows=2, cols=3, prompt_frames=2, between_frames=1)

SCHEDULES: list[Schedule] = [
    NextToken(), Diagonal(k=1), Diagonal(k=2), Diagonal(k=1, d=2), Diagonal(k=3, d=1), ZipAR(window=2),
    ZipAR(window=2, variant="llamagen"),
]  # fmt: skip


@st.composite
def descriptions(draw: st.DrawFn) -> dict[str, Any]:
    window = Layout(
        frames=draw(st.integers(1, 3)),
        rows=draw(st.integers(1, 3)),
        cols=draw(st.integers(1, 4)),
        prompt_frames=draw(st.integers(0, 3)),
        lead=draw(st.integers(1, 2)),
        between_frames=draw(st.integers(0, 2)),
        between_rows=draw(st.integers(0, 1)),
    )
    prompt = draw(st.none() | st.integers(0, window.prompt_frames + window.frames))
    frames = draw(st.integers(1, 12))
    return {"window": window, "schedule": draw(st.sampled_from(SCHEDULES)), "prompt_frames": prompt, "frames": frames}


@given(description=descriptions())
def test_the_closed_form_is_the_enumeration(description: dict[str, Any]) -> None:
    rollout = compile_rollout(**description)
    assert rollout.cost() == rollout_cost(**description)


@given(description=descriptions())
def test_windows_hand_frames_on(description: dict[str, Any]) -> None:
    """Each window begins with frames that are there, makes the next ones, and is full unless the video ends."""
    rollout, layout = compile_rollout(**description), description["window"]
    context, have = layout.prompt_frames + layout.frames, rollout.prompt_frames
    for number, window in enumerate(rollout.windows):
        assert window.first + window.kept == have
        assert window.first >= 0
        have += window.frames
        assert window.kept + window.frames == context or number == len(rollout.windows) - 1
        assert window.kept == layout.prompt_frames or (number == 0 and window.first == 0)
        plan = rollout.plan_of(window)
        assert plan.layout == replace(layout, prompt_frames=window.kept, frames=window.frames)
        assert same_plan(plan, compile_plan(plan.layout, description["schedule"]))
    assert have == rollout.prompt_frames + rollout.frames
    assert {window.plan for window in rollout.windows} == set(range(len(rollout.plans)))
    assert len(rollout.plans) <= 3


@given(description=descriptions(), more=st.integers(1, 5))
def test_a_frames_window_does_not_depend_on_what_follows(description: dict[str, Any], more: int) -> None:
    """But for the last window, which a longer video completes."""
    short, long = compile_rollout(**description), compile_rollout(**description | {"frames": 12 + more})
    same = [(w.first, w.kept) for w in short.windows]
    assert same == [(w.first, w.kept) for w in long.windows[: len(same)]]
    assert [w.frames for w in short.windows[:-1]] == [w.frames for w in long.windows[: len(same) - 1]]


def test_plans_are_valid() -> None:
    rollout = compile_rollout(
        SMALL, Diagonal(k=1, d=2), Policies(row_end="keep"), frames=6, prompt_frames=1, max_width=2
    )
    assert [(w.plan, w.first, w.kept, w.frames) for w in rollout.windows] == [(0, 0, 1, 3), (1, 2, 2, 2), (2, 4, 2, 1)]
    for plan in rollout.plans:
        assert verify(plan).ok
        assert plan.max_width == 2


def test_whams_windows() -> None:
    """Ten given frames: nine of them are kept. One: the window fills first."""
    full = compile_rollout(WHAM, NextToken(), frames=2, prompt_frames=10)
    assert full.windows == (Window(plan=0, first=1, kept=9, frames=1), Window(plan=0, first=2, kept=9, frames=1))
    grown = compile_rollout(WHAM, NextToken(), frames=11, prompt_frames=1)
    assert [(w.first, w.kept, w.frames) for w in grown.windows] == [(0, 1, 9), (1, 9, 1), (2, 9, 1)]
    assert grown.cost() == RolloutCost(
        windows=3, passes=11 * 540, prefill_tokens=555 + 2 * (9 * 556 - 1), tokens=11 * 540
    )


def test_keeping_fewer_frames_costs_less_prefill() -> None:
    costs = [
        rollout_cost(replace(WHAM, prompt_frames=kept, frames=10 - kept), Diagonal(k=2), frames=90, prompt_frames=kept)
        for kept in (9, 5, 1)
    ]
    assert [cost.passes for cost in costs] == [90 * 64] * 3
    assert [cost.windows for cost in costs] == [90, 18, 10]
    np.testing.assert_array_less(0, -np.diff([cost.prefill_tokens for cost in costs]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": Imported(steps=np.zeros((2, 2, 3), np.int64))}, "expected a schedule by name for a rollout"),
        ({"frames": 0}, "expected frames >= 1, got frames=0."),
        ({"prompt_frames": 0}, "expected prompt_frames >= 1, got prompt_frames=0."),
        ({"prompt_frames": 5}, "expected at most 4 prompt frames, as many as a window holds, got prompt_frames=5."),
        ({"frames": 2.5}, "expected frames to be an integer, got frames=2.5."),
    ],
)
def test_wrong_descriptions(change: dict[str, Any], message: str) -> None:
    description: dict[str, Any] = {"window": SMALL, "schedule": NextToken(), "frames": 3} | change
    for function in (compile_rollout, rollout_cost):
        with pytest.raises(SpecError, match=re.escape(message)):
            function(**description)
