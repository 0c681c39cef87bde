"""Candidates and their prices."""

from dataclasses import replace

import pytest

from diagplan.planner.checker import verify_plan
from diagplan.planner.cost import PASS_GRANULE, plan_cost
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import BUNDLES, Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR
from diagplan.planner.trace import Trace, TracedPass, sample_trace
from diagplan.planner.tuning import (
    Accepted,
    Candidate,
    accepted_of,
    candidate_plan,
    name_of_schedule,
    price,
    schedules_for,
)
from tests.support.curves import curve

LAYOUT = Layout(frames=3, rows=6, cols=8, prompt_frames=1, between_frames=2)


def test_every_candidate_costs_what_its_plan_costs() -> None:
    made_of = curve(shape_seconds=1e-4)
    priced = price(LAYOUT, made_of, caps=(4, 8), pads=((1, 4, 16),))
    assert len(priced) > 60
    assert len({one.candidate for one in priced}) == len(priced)
    for one in priced[::7]:
        plan = candidate_plan(LAYOUT, one.candidate)
        assert plan_cost(plan, made_of) == one.cost
        assert verify_plan(plan).ok
    caps = {one.candidate.max_width for one in priced}
    assert caps == {None, 4, 8}
    assert {one.candidate.max_width for one in priced if one.candidate.schedule == NextToken()} == {None}
    assert all(one.cost.widest <= (one.candidate.max_width or 99) or one.candidate.pad for one in priced)


def test_padding_is_tried_where_shapes_cost() -> None:
    assert {one.candidate.pad for one in price(LAYOUT, curve())} == {None}
    assert len({one.candidate.pad for one in price(LAYOUT, curve(shape_seconds=1e-3))}) == 3
    few = price(LAYOUT, curve(shape_seconds=1.0), pads=((8, 64),))
    best = min(few, key=lambda one: one.cost.seconds)
    assert best.candidate.pad == (8, 64)  # shapes are all that costs


def test_schedules_fit_the_layout() -> None:
    schedules = schedules_for(LAYOUT)
    assert schedules[0] == NextToken()
    assert Diagonal(k=2) in schedules
    assert all(one.k < 8 for one in schedules if isinstance(one, Diagonal))
    picture = schedules_for(replace(LAYOUT, frames=1))
    assert all(one.d is None for one in picture if isinstance(one, Diagonal))
    assert schedules_for(Layout(frames=1, rows=1, cols=1, lead=1)) == [NextToken()]


def test_policies_and_other_schedules_are_tried_too() -> None:
    keep = Policies(row_end="keep")
    also: list[tuple[Schedule, Policies]] = [(ZipAR(window=2), BUNDLES["zipar-llamagen"]), (NextToken(), Policies())]
    priced = price(LAYOUT, curve(), policies=[Policies(), keep], also=also)
    assert {one.candidate.policies.row_end for one in priced} == {"refresh", "keep"}
    assert sum(one.candidate.schedule == ZipAR(window=2) for one in priced) >= 1
    assert sum(one.candidate == Candidate(schedule=NextToken()) for one in priced) == 1


def test_speculation_is_one_more_candidate() -> None:
    priced = price(LAYOUT, curve(), accepted=[Accepted(window=16, mean=8.0)])
    exact = priced[-1]
    assert exact.candidate.name == "next-token exact, window 16"
    assert exact.cost.passes < priced[0].cost.passes
    assert exact.cost.seconds < priced[0].cost.seconds
    with pytest.raises(SpecError, match="expected accepted from 1 to window=16"):
        price(LAYOUT, curve(), accepted=[Accepted(window=16, mean=17.0)])


def traced(*samples: list[tuple[int, int, int]], width: int = 4) -> Trace:
    """Passes as (first, end, accepted)."""
    made = tuple(
        sample_trace(i, [TracedPass(first, end, {}, {}, accepted) for first, end, accepted in passes], [0])
        for i, passes in enumerate(samples)
    )
    return Trace(
        plan="p", model="m", dtype="float32", sampler={"name": "greedy"}, seed=0, guidance=None, width=width,
        draft="above", advance="own", samples=made,
    )  # fmt: skip


def test_a_trace_tells_what_passes_accept() -> None:
    # Behind the prompt of 10 and its pass: 4 fed and 3 accepted, 2 and 1, 3 and 3; and of another sample 4 and 4.
    trace = traced([(0, 14, 12), (12, 16, 15), (15, 17, 16), (16, 19, 19)], [(0, 14, 14), (14, 18, 18)])
    assert accepted_of(trace) == Accepted(window=4, mean=11 / 4, fed=13 / 4, draft="above")
    exact = price(LAYOUT, curve(), accepted=[accepted_of(trace)])[-1]
    assert exact.candidate.speculation == accepted_of(trace)
    full = price(LAYOUT, curve(), accepted=[Accepted(window=4, mean=11 / 4)])[-1]
    assert exact.cost.passes == full.cost.passes


def test_narrower_windows_take_less_time() -> None:
    wide, narrow = (price(LAYOUT, curve(), accepted=[Accepted(window=32, mean=5.0, fed=fed)])[-1] for fed in (None, 9))
    assert narrow.cost.seconds < wide.cost.seconds
    assert (narrow.cost.widest, wide.cost.widest) == (16, 32)  # 9 feeds are padded to 16


@pytest.mark.parametrize("samples", [[], [[]], [[(0, 14, 12)]], [[(0, 14, 12), (12, 16, 12)]]])
def test_a_trace_of_nothing_is_refused(samples: list[list[tuple[int, int, int]]]) -> None:
    with pytest.raises(SpecError, match="expected a trace with passes behind its first that accept something, got "):
        accepted_of(traced(*samples))


def test_passes_are_padded_as_the_executor_pads_them() -> None:
    window = pytest.importorskip("diagplan.backends.window")
    assert window.GRANULE == PASS_GRANULE


def test_a_width_cap_is_taken_where_wide_passes_cost_more_than_their_feeds() -> None:
    """A pass costs the same up to 16 feeds and is bound by arithmetic above, where a feed costs a third more."""

    def bound(width: int, length: int) -> float:
        return 1e-3 if width <= 16 else 1.3e-3 * width / 16

    layout = Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3)
    priced = price(layout, curve(bound, widths=(1, 16, 17, 32, 64, 128, 512)))
    best = min(priced, key=lambda one: one.cost.seconds)
    uncapped = min(one.cost.seconds for one in priced if one.candidate.max_width is None)
    assert best.candidate.max_width == 16
    assert best.cost.seconds < 0.9 * uncapped
    assert verify_plan(candidate_plan(layout, best.candidate)).ok


def test_no_width_cap_is_taken_where_passes_cost_in_proportion() -> None:
    priced = price(LAYOUT, curve(lambda width, _: 1e-3 + 1e-4 * width))
    assert min(priced, key=lambda one: one.cost.seconds).candidate.max_width is None


def test_schedules_that_no_proxy_can_serve_are_left_out() -> None:
    bare = Layout(frames=1, rows=3, cols=4, lead=1)
    priced = price(bare, curve(), policies=[Policies(proxy="prompt")])
    assert [one.candidate.name for one in priced] == ["next-token prompt"]


def test_progress_and_names() -> None:
    seen: list[tuple[int, int]] = []
    price(LAYOUT, curve(), caps=(), on_progress=lambda done, of: seen.append((done, of)))
    assert seen[-1][0] == seen[-1][1] == len(seen)
    named = Candidate(schedule=Diagonal(k=2), policies=Policies(row_end="keep"), max_width=8, pad=(1, 8))
    assert named.name == "k=2 keep cap 8 padded to 1,8"
    assert name_of_schedule(ZipAR(window=1, variant="llamagen")) == "zipar-llamagen window=1"
    assert name_of_schedule(Imported(steps=[[0, 1]], label="nar")) == "nar"


def test_arguments_of_other_kinds_are_refused() -> None:
    with pytest.raises(SpecError, match="expected layout to be a Layout"):
        price("cosmos", curve())  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected curve to be a CostCurve"):
        price(LAYOUT, "curve")  # type: ignore[arg-type]
