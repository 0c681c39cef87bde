"""The cost curve and the predicted time of plans."""

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.backends.program import program
from diagplan.planner.compiler import compile_plan
from diagplan.planner.cost import CostCurve, plan_cost, rollout_seconds, speculative_cost
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import compile_rollout
from diagplan.planner.schedule import Diagonal, NextToken
from tests.support.strategies import Request, plans

LAYOUT = Layout(frames=3, rows=4, cols=6, prompt_frames=1, between_frames=2)


def curve(**changes: Any) -> CostCurve:
    """1 ms a pass, 0.1 ms a feed, 1 ms for 640 slots."""
    grid = [(width, length) for length in (64, 704) for width in (1, 16, 64)]
    seconds = [1e-3 + 1e-4 * width + 1e-3 * length / 640 for width, length in grid]
    width, length = zip(*grid, strict=True)
    return CostCurve(**{"width": width, "length": length, "seconds": seconds} | changes)


def test_between_and_beyond_the_points_it_is_linear() -> None:
    by_hand = curve()
    width, length = np.array([1, 7, 16, 40, 64, 200]), np.array([64, 100, 704, 300, 64, 600])
    expected = 1e-3 + 1e-4 * width + 1e-3 * length / 640
    assert np.allclose(by_hand.at(width, length), expected)
    assert by_hand.at(3, [64, 128]).shape == (2,)
    growth = 1e-3 / (1e-3 + 1e-4 * 16 + 1.1e-3)  # of the middle one of three widths
    assert by_hand.at(64, 704 + 320) == pytest.approx(by_hand.at(64, 704) * (1 + growth / 2))
    assert by_hand.covers([1, 64], [704, 64])
    assert not by_hand.covers(65, 64)
    assert not by_hand.covers(1, 705)
    assert by_hand.at(1, 10) == by_hand.at(1, 64)  # no pass is shorter than what was timed


points = st.lists(st.floats(1e-6, 10), min_size=12, max_size=12)


@given(points)
def test_the_fit_never_falls(seconds: list[float]) -> None:
    # A longer length has widths that a shorter one has no room for.
    grid = [(w, 64) for w in (1, 8, 64)] + [(w, n) for n in (128, 256) for w in (1, 8, 64, 128)] + [(256, 256)]
    width, length = zip(*grid, strict=True)
    fitted = CostCurve(width=width, length=length, seconds=seconds)
    asked = np.array([1, 2, 5, 8, 30, 64, 100, 128, 200, 256, 300])
    table = fitted.at(asked[None], np.array([64, 90, 128, 200, 256, 400])[:, None])
    assert (np.diff(table, axis=0) >= -1e-12).all()
    assert (np.diff(table, axis=1) >= -1e-12).all()
    assert (table > 0).all()


def test_what_does_not_fall_is_kept_and_residuals_say_how_far_the_fit_is() -> None:
    assert np.array_equal(curve().fitted, curve().seconds)
    assert not curve().residuals.any()
    uneven = CostCurve(width=[1, 2, 4], length=[64] * 3, seconds=[1.0, 3.0, 2.0])
    assert uneven.fitted.tolist() == [1.0, 2.5, 2.5]
    assert np.allclose(uneven.residuals, [0, 1 / 6, 1 / 4])


def test_points_come_in_any_order_and_a_curve_is_a_value() -> None:
    mixed = np.random.default_rng(0).permutation(6)
    one = curve()
    other = CostCurve(width=one.width[mixed], length=one.length[mixed], seconds=one.seconds[mixed])
    assert other == one
    assert hash(other) == hash(one)
    assert pickle.loads(pickle.dumps(one)) == one == copy.deepcopy(one)
    assert curve(batch=2) != one
    assert repr(curve(estimate=True)) == "<CostCurve of 6 points, batch 1, estimate>"


@given(plans(frames=3, side=5))
def test_a_plans_time_is_the_sum_over_its_passes(case: tuple[Request, Plan]) -> None:
    plan, by_hand = case[1], curve(target_seconds=2e-5, shape_seconds=3e-4, length_step=8, chunk=7)
    seconds, seen, first = [], set(), 0
    cells = set(plan.layout.cell_slots()[0].ravel().tolist())
    for i, columns in enumerate(program(plan, chunk=7, length_step=8)):
        n, length, chosen = len(columns.source), columns.mask.shape[1], len(columns.target)
        one = max(float(by_hand.at(1, length)), float(by_hand.at(n, length)) - 2e-5 * (n - chosen))
        seconds.append(one + (3e-4 if (n, length) not in seen else 0))
        seen.add((n, length))
        first = i if cells & set(columns.target.tolist()) else first
    cost = plan_cost(plan, by_hand)
    assert cost.seconds == pytest.approx(sum(seconds))
    assert cost.first_frame_seconds == pytest.approx(sum(seconds[: first + 1]))
    assert cost.shapes == len(seen)
    assert cost.passes == plan.steps


def test_a_rollout_is_its_windows() -> None:
    window = Layout(frames=2, rows=4, cols=6, prompt_frames=1, between_frames=2)
    rollout = compile_rollout(window, Diagonal(k=2), frames=5)
    cost = rollout_seconds(rollout, curve())
    each = [plan_cost(rollout.plan_of(one), curve()) for one in rollout.windows]
    assert cost.seconds == pytest.approx(sum(one.seconds for one in each))
    assert cost.first_frame_seconds == each[0].first_frame_seconds
    assert cost.passes == rollout.cost().passes


def test_speculation_of_all_but_one_feed_is_replay_itself() -> None:
    plan = compile_plan(LAYOUT, NextToken())
    alone = speculative_cost(plan, curve(), window=1, accepted=1)
    assert alone.passes == plan.feeds - pass_prompt(plan)
    wide = speculative_cost(plan, curve(), window=12, accepted=6.0)
    assert wide.passes == -(-(plan.feeds - pass_prompt(plan)) // 6)
    assert wide.seconds < alone.seconds
    assert wide.first_frame_seconds < wide.seconds
    assert wide.widest == 16  # padded


def pass_prompt(plan: Plan) -> int:
    return plan.stats().prefill_feeds


def test_more_accepted_feeds_take_less_time() -> None:
    plan = compile_plan(LAYOUT, NextToken())
    times = [speculative_cost(plan, curve(), window=16, accepted=a).seconds for a in (1.0, 2.5, 7.0, 16.0)]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seconds": [1, 2, 3, 4, 5, float("nan")]},
            "expected finite times above 0, got seconds=nan at width 64, length",
        ),
        ({"seconds": [0, 2, 3, 4, 5, 6]}, "got seconds=0.0 at width 1, length 64. Measure the curve again."),
        ({"seconds": [1, 2]}, "expected 1 to 4096 points of width, length and seconds, got arrays of [2, 6, 6]."),
        ({"seconds": "fast"}, "expected the points of a curve as three arrays of numbers, got others."),
        ({"width": [1, 1, 64, 1, 16, 64]}, "expected one time at each width and length, got several."),
        ({"width": [2, 16, 64, 1, 16, 64]}, "expected the width 1 at every length, got a length without it."),
        ({"width": [1.5, 16, 64, 1, 16, 64]}, "expected widths and lengths of at least 1, as whole numbers"),
        ({"length": [0, 0, 0, 1, 1, 1]}, "expected widths and lengths of at least 1, as whole numbers"),
        ({"batch": 0}, "expected batch >= 1, got batch=0."),
        ({"target_seconds": -1.0}, "expected target_seconds >= 0, got target_seconds=-1.0."),
        ({"shape_seconds": float("inf")}, "expected shape_seconds to be a finite number"),
    ],
)
def test_what_is_no_curve_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        curve(**changes)


def test_arguments_of_other_kinds_are_refused() -> None:
    plan: Any = compile_plan(LAYOUT, NextToken())
    wrong: Any = "curve"
    with pytest.raises(SpecError, match="expected curve to be a CostCurve"):
        plan_cost(plan, wrong)
    with pytest.raises(SpecError, match="expected plan to be a Plan"):
        plan_cost(wrong, curve())
    with pytest.raises(SpecError, match="expected rollout to be a Rollout"):
        rollout_seconds(plan, curve())
    with pytest.raises(SpecError, match=re.escape("expected accepted from 1 to window=4, got accepted=5.0.")):
        speculative_cost(plan, curve(), window=4, accepted=5)
    with pytest.raises(SpecError, match=re.escape("expected accepted from 1 to fed=2, got accepted=3.0.")):
        speculative_cost(plan, curve(), window=4, accepted=3, fed=2)
    with pytest.raises(SpecError, match=re.escape("expected fed from 1 to window=4, got fed=5.")):
        speculative_cost(plan, curve(), window=4, accepted=3, fed=5)
    with pytest.raises(SpecError, match="expected accepted to be a finite number"):
        speculative_cost(plan, curve(), window=4, accepted=float("nan"))
