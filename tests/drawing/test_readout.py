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
