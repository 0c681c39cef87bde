"""Which plan is taken, and what is said when there is none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.budget import Budget, parse_budget
from diagplan.planner.cost import PlanCost
from diagplan.planner.errors import SpecError
from diagplan.planner.front import Loss, choose_plan, pareto_front
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal, NextToken
from diagplan.planner.tuning import Accepted, Candidate, Priced, price
from tests.support.curves import curve, seconds_of_pass

LAYOUT = Layout(frames=3, rows=6, cols=8, prompt_frames=1, between_frames=2)
CURVE = curve()


def one(number: int, seconds: float, passes: int, first: float | None = None) -> Priced:
    cost = PlanCost(seconds, seconds / 2 if first is None else first, passes, 4, 3, True)
    return Priced(candidate=Candidate(schedule=Diagonal(k=number)), cost=cost)


A, B, C = one(1, 1.0, 100, 0.9), one(2, 2.0, 200, 0.5), one(3, 2.5, 150, 0.1)


def test_without_a_study_more_passes_are_better() -> None:
    assert pareto_front([C, B, A]) == [A, B]
    assert choose_plan([A, B, C], parse_budget("2.6 s/clip"), CURVE, frames=3).best == B
    assert choose_plan([A, B, C], parse_budget("1.9 s/clip"), CURVE, frames=3).best == A
    assert choose_plan([A, B, C], parse_budget("fastest"), CURVE, frames=3).best == A
    assert choose_plan([A, B, C], parse_budget("1 fps"), CURVE, frames=3).best == B  # 3 s for 3 frames


def test_with_a_study_less_loss_is_better_and_the_rest_is_left_out() -> None:
    losses = {A.candidate: Loss(mean=0.1, low=0.0, high=0.2), C.candidate: Loss(mean=0.05)}
    assert pareto_front([A, B, C], losses) == [A, C]
    assert choose_plan([A, B, C], parse_budget("9 s/clip"), CURVE, frames=3, losses=losses).best == C
    limited = choose_plan([A, B, C], parse_budget("fastest"), CURVE, frames=3, losses=losses, max_loss=0.15)
    assert limited.best == C  # A's interval reaches 0.2
    assert choose_plan([A, B, C], parse_budget("fastest"), CURVE, frames=3, losses=losses, max_loss=0.2).best == A


def test_the_first_frame_can_be_favoured() -> None:
    assert choose_plan([A, B, C], parse_budget("9 s/clip"), CURVE, frames=3, latency="first-frame").best == C
    assert choose_plan([A, B, C], parse_budget("2 s/clip"), CURVE, frames=3, latency="first-frame").best == B
    assert pareto_front([A, B, C], latency="first-frame") == [C, B]


def test_exact_speculation_counts_as_next_token_prediction() -> None:
    priced = price(LAYOUT, CURVE, accepted=[Accepted(window=16, mean=12.0)])
    best = choose_plan(priced, Budget(seconds=1e9), CURVE, frames=3).best
    assert best is not None
    assert best.candidate.speculation is not None
    front = pareto_front(priced)
    assert front[-1] == best
    assert Candidate(schedule=NextToken()) not in [row.candidate for row in front]  # it is beaten


@given(st.lists(st.tuples(st.floats(0.1, 9), st.integers(1, 99)), min_size=1, max_size=30))
def test_nothing_beats_the_front_and_the_front_beats_the_rest(rows: list[tuple[float, int]]) -> None:
    priced = [one(i + 1, seconds, passes) for i, (seconds, passes) in enumerate(rows)]
    front = pareto_front(priced)
    for row in priced:
        better = [f for f in front if f.cost.seconds <= row.cost.seconds and f.cost.passes >= row.cost.passes]
        assert better
        assert row not in front or better == [row]


def test_what_limits_is_said() -> None:
    priced = price(LAYOUT, CURVE)
    least = min(row.cost.seconds for row in priced)
    passes = choose_plan(priced, Budget(seconds=1e-6), CURVE, frames=3)
    assert passes.best is None
    assert passes.nearest is not None
    assert passes.nearest.cost.seconds == least
    assert passes.limits.startswith(f"The passes limit: {passes.nearest.cost.passes} of them, at 1.16 ms")
    wide = curve(lambda w, n: seconds_of_pass(w, n, launch=1e-6))
    dear = price(LAYOUT, wide)
    feeds = choose_plan(dear, Budget(seconds=0.9 * min(row.cost.seconds for row in dear)), wide, frames=3)
    assert feeds.limits.startswith("The feeds limit:")


def test_quality_can_be_what_limits() -> None:
    losses = {A.candidate: Loss(mean=0.1), B.candidate: Loss(mean=0.02)}
    slow = choose_plan([A, B], parse_budget("1.5 s/clip"), CURVE, frames=3, losses=losses, max_loss=0.05)
    assert slow.nearest == B
    assert slow.limits == "Quality limits: without the limit of loss a plan takes 1 s."
    none = choose_plan([A, B], parse_budget("9 s/clip"), CURVE, frames=3, losses=losses, max_loss=0.01)
    assert none.nearest == B
    assert "is up to 0.02." in none.limits
    assert "judged none" in choose_plan([A], parse_budget("9 s/clip"), CURVE, frames=3, losses={}).limits


@pytest.mark.parametrize("most", [-0.1, float("nan"), float("inf")])
def test_limits_that_are_none_are_refused(most: float) -> None:
    with pytest.raises(SpecError, match=re.escape(f"expected max_loss >= 0, got max_loss={most}.")):
        choose_plan([A], parse_budget("9 s/clip"), CURVE, frames=3, losses={A.candidate: Loss(mean=0)}, max_loss=most)


def test_a_limit_of_loss_needs_a_study_and_a_choice_needs_plans() -> None:
    with pytest.raises(SpecError, match="expected a study with max_loss, got none"):
        choose_plan([A], parse_budget("9 s/clip"), CURVE, frames=3, max_loss=0.1)
    with pytest.raises(SpecError, match="expected plans to choose from, got none"):
        choose_plan([], parse_budget("9 s/clip"), CURVE, frames=3)
