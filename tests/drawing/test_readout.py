"""What is read out of a plan: steps, kinds of feeds, what a query sees, and what is wrong with it."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diagplan.drawing.readout import (
    Sight,
    check_frames,
    feed_of_query,
    frames_of_step,
    query,
    read_out,
    step_feeds,
)
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import NextToken, cell_steps
from tests.support.pictured import CASES, SMALL, compiled


def test_the_order_of_the_cache_slots_does_not_change_what_a_query_sees() -> None:
    layout, schedule = CASES["overlap"]
    for policies in (Policies(), Policies(proxy="latest", proxy_kv="visible"), Policies(row_end="keep")):
        plain = compile_plan(layout, schedule, policies)
        packed = compile_plan(layout, schedule, policies, slots="step-order", pad=(4, 16))
        for step in range(plain.steps):
            a, b = (step_feeds(read_out(plan), step) for plan in (plain, packed))
            for feed in range(len(a.source)):
                row = query(packed, b, step, feed).sight
                np.testing.assert_array_equal(query(plain, a, step, feed).sight, row)


def test_a_slot_that_was_written_over_no_longer_holds_its_position() -> None:
    plan = compile_plan(Layout(frames=1, rows=1, cols=6, lead=1), NextToken())
    reused = replace(plan, slot=np.where(plan.position == 3, 1, plan.slot))  # position 3 takes the slot of position 1
    sight = query(reused, step_feeds(read_out(reused), 4), 4, 0).sight
    assert sight.tolist() == [Sight.SEEN, Sight.UNWRITTEN, *[Sight.SEEN] * 3, Sight.UNWRITTEN, Sight.UNWRITTEN]


def test_valid_plans_have_no_problems() -> None:
    for layout, schedule in CASES.values():
        for slots, pad in (("position", None), ("step-order", (8, 64))):
            plan = compile_plan(layout, schedule, slots=slots, pad=pad)  # type: ignore[arg-type]
            assert read_out(plan).problems == ()
            np.testing.assert_array_equal(read_out(plan).steps, cell_steps(schedule, layout))


def test_the_steps_and_widths_are_counted_feed_by_feed() -> None:
    plan = compile_plan(*CASES["overlap"], pad=(4,))
    readout = read_out(plan)
    slots, widths = plan.layout.cell_slots(), [0] * plan.steps
    for step in range(plan.steps):
        for feed in range(*plan.step_offsets[step : step + 2].tolist()):
            if plan.target[feed] >= 0:
                (cell,) = np.argwhere(slots == plan.target[feed]).tolist()
                assert readout.steps[tuple(cell)] == step
            widths[step] += int(plan.source[feed] >= 0)
    widths[0] -= readout.prefill
    assert readout.widths.tolist() == widths
    assert readout.padding == np.count_nonzero(plan.source < 0) > 0
    assert readout.speed_up == plan.layout.tokens / plan.steps


def test_feeds_are_of_the_kinds_that_the_columns_say() -> None:
    plan = compile_plan(*CASES["overlap"], pad=(4,))
    readout, cells, seen = read_out(plan), set(plan.layout.cell_slots().ravel().tolist()), set()
    for step in range(plan.steps):
        feeds = step_feeds(readout, step)
        assert feeds.first == plan.step_offsets[step]
        for j, kind in enumerate(feeds.kinds):
            source, position, target = (int(column[j]) for column in (feeds.source, feeds.position, feeds.target))
            expected = (
                "padding" if source < 0 else "proxy" if source != position else "predictor" if target >= 0
                else "late" if position in cells else "given"
            )  # fmt: skip
            assert kind == expected
            assert j in feeds.which(kind)
            seen.add(kind)
    assert seen == {"padding", "proxy", "predictor", "late", "given"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"target": np.full(SMALL.feeds, -1)}, "192 cells are never generated"),
        ({"step_offsets": np.r_[0, 999, SMALL.step_offsets[2:]]}, "the step offsets do not rise"),
        ({"slot": np.r_[-7, SMALL.slot[1:]]}, "1 feed names a slot that does not exist or is not theirs"),
        ({"position": np.full(SMALL.feeds, 10**6)}, f"{SMALL.feeds} feeds name a slot that does not exist"),
    ],
    ids=["no targets", "offsets", "slot", "positions"],
)
def test_what_is_wrong_is_said(change: dict[str, Any], problem: str) -> None:
    said = "; ".join(read_out(replace(SMALL, **change)).problems)
    assert problem in said


def test_the_feed_of_a_query() -> None:
    feeds = step_feeds(read_out(SMALL), 9)
    chosen = feed_of_query(feeds, 9, None)
    assert chosen == np.flatnonzero(feeds.target >= 0)[-1]
    assert feed_of_query(feeds, 9, 0) == 0
    silent = replace(feeds, target=np.full_like(feeds.target, -1))
    assert feed_of_query(silent, 9, None) == len(feeds.source) - 1
    nothing = replace(silent, source=np.full_like(feeds.source, -1))
    assert feed_of_query(nothing, 9, None) is None
    with pytest.raises(SpecError, match=re.escape("got feed=99, at step 9. Feeds are counted within their step.")):
        feed_of_query(feeds, 9, 99)
    none = np.zeros(0, dtype=np.int32)
    empty = replace(feeds, source=none, position=none, slot=none, target=none, kinds=())
    with pytest.raises(SpecError, match=re.escape("expected a step with feeds, got feed=0, at step 9.")):
        feed_of_query(empty, 9, 0)


def test_frames_are_checked_and_sorted() -> None:
    layout = SMALL.layout
    assert check_frames(layout, None) == [0, 1, 2, 3]
    assert check_frames(layout, [2, 0, 2]) == [0, 2]
    for wrong, got in (([-1], "frame=-1"), ([0, 4], "frame=4"), ([], "none")):
        with pytest.raises(SpecError, match=re.escape(f"expected frames from 0 to 3, got {got}.")):
            check_frames(layout, wrong)


def test_frames_of_a_step_are_those_that_take_part() -> None:
    plan = compiled("many")
    layout, readout = plan.layout, read_out(plan)
    feeds = step_feeds(readout, 300)
    chosen = feed_of_query(feeds, 300, None)
    busy = set(np.argwhere(readout.steps == 300)[:, 0].tolist())
    shown = frames_of_step(layout, feeds, chosen, None, 8)
    assert len(shown) <= 8
    assert {0, layout.prompt_frames - 1} | {layout.prompt_frames + frame for frame in busy} <= set(shown)
    asked = frames_of_step(layout, feeds, chosen, [3], 8)
    assert asked == (0, layout.prompt_frames - 1, layout.prompt_frames + 3)
    assert frames_of_step(layout, feeds, chosen, None, 99) == tuple(range(layout.prompt_frames + layout.frames))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"positions": 2**31 - 1}, "the step has too many mask bits"),
        ({"step_offsets": np.r_[SMALL.step_offsets[:10], 0, SMALL.step_offsets[11:]]}, "its step offsets are damaged"),
        ({"slot": np.r_[-7, SMALL.slot[1:]]}, "a feed up to this step names a slot that does not exist"),
    ],
    ids=["positions", "offsets", "slot"],
)
def test_a_mask_row_that_cannot_be_drawn_says_why(change: dict[str, Any], why: str) -> None:
    plan = replace(SMALL, **change)
    row = query(plan, step_feeds(read_out(plan), 9), 9, 0)
    assert row.why_not == why
    assert not row.sight.any()
