"""Where the first guess of a slot comes from."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan import Diagonal, Layout, NextToken, Plan, SpecError, compile_plan
from diagplan.planner.drafts import NO_DRAFT, draft_plan, draft_sources
from diagplan.planner.speculation import DraftName, Speculation, deciders, plan_entries
from tests.support.strategies import Request, plans

VIDEO = Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=1)
IMAGE = Layout(frames=1, rows=3, cols=4, lead=1)


def drafts(plan: Plan, draft: DraftName | str, window: int = 6) -> np.ndarray:
    return draft_sources(plan, plan_entries(plan), Speculation(window=window, draft=draft))


@settings(max_examples=100)
@given(compiled=plans(frames=3, side=5), draft=st.sampled_from(get_args(DraftName)), window=st.integers(1, 30))
def test_a_draft_is_given_or_decided_earlier(compiled: tuple[Request, Plan], draft: DraftName, window: int) -> None:
    plan = compiled[1]
    order, sources = deciders(plan_entries(plan)), drafts(plan, draft, window)
    has = sources != NO_DRAFT
    assert (order[sources[has]] < order[has]).all()
    assert not has[order < 0].any()
    if draft == "none":
        assert not has.any()
    elif plan.layout.prompt_frames and plan.schedule.name == "next-token":
        assert has[plan.layout.cell_slots()].all()


def test_the_frame_before() -> None:
    plan = compile_plan(VIDEO, NextToken())
    cells = plan.layout.cell_slots(prompt=True)
    np.testing.assert_array_equal(drafts(plan, "previous-frame")[cells[1:]], cells[:-1])


@pytest.mark.parametrize(
    ("draft", "rows"),
    [
        ("above", [[-1, 1, 2, 3], [1, 2, 3, 4], [5, 6, 7, 8]]),
        ("left", [[-1, 1, 2, 3], [1, 5, 6, 7], [5, 9, 10, 11]]),
        ("previous-frame", [[-1, 1, 2, 3], [1, 2, 3, 4], [5, 6, 7, 8]]),
        ("proxies", [[-1, 1, 2, 3], [1, 2, 3, 4], [5, 6, 7, 8]]),
        ("none", [[-1] * 4] * 3),
    ],
)
def test_within_an_image(draft: DraftName, rows: list[list[int]]) -> None:
    plan = compile_plan(IMAGE, NextToken())
    np.testing.assert_array_equal(drafts(plan, draft)[plan.layout.cell_slots()[0]], rows)


def test_the_nearest_that_is_a_window_old() -> None:
    plan = compile_plan(IMAGE, NextToken())
    cells = plan.layout.cell_slots()[0]
    near = drafts(plan, "nearest", window=3)
    assert near[cells[1, 3]] == cells[0, 3]  # four tokens ago
    assert near[cells[1, 0]] == cells[0, 0]  # the same
    assert near[cells[0, 3]] == cells[0, 2]  # none is so old: the token to the left
    video = compile_plan(VIDEO, NextToken())
    grid = video.layout.cell_slots(prompt=True)
    old = drafts(video, "nearest", window=12)
    assert old[grid[1, 1, 1]] == grid[0, 1, 1]  # in the prompt
    assert old[grid[2, 1, 1]] == grid[0 + 1, 0, 1] or old[grid[2, 1, 1]] == grid[1, 1, 1]


def test_what_the_plan_feeds_in_a_slots_place() -> None:
    plan = compile_plan(IMAGE, Diagonal(k=1))
    entries = plan_entries(plan)
    proxy = np.flatnonzero(entries.source != entries.position)
    assert len(proxy) == 2
    sources = drafts(plan, "proxies")
    for entry in proxy.tolist():
        assert sources[entries.position[entry]] == entries.source[entry]


def test_a_draft_s_plan_is_of_the_same_layout() -> None:
    plan = compile_plan(VIDEO, NextToken())
    first = draft_plan(plan, Speculation(window=4, draft="plan:k=2,d=3"))
    assert first is not None
    assert (first.layout, first.schedule.k, first.schedule.d) == (plan.layout, 2, 3)
    assert draft_plan(plan, Speculation(window=4, draft=first)) is first
    assert draft_plan(plan, Speculation(window=4, draft="above")) is None
    assert (drafts(plan, "plan:k=1") == NO_DRAFT).all()  # all is guessed before
    with pytest.raises(SpecError, match="k="):
        draft_plan(plan, Speculation(window=4, draft="plan:k=0"))
