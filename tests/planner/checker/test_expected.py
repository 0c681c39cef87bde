"""The feeds that a plan's names call for, derived anew, against those that the compiler makes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from diagplan.planner.checker.expected import ExpectedFeeds, expected_feeds
from diagplan.planner.checker.facts import Facts
from diagplan.planner.checker.schedules import named_steps
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies, ProxyPolicy
from diagplan.planner.schedule import Diagonal, Imported
from tests.support.counted import Counted
from tests.support.strategies import Request, plans

COLUMNS = ("step", "position", "source", "target")


def expected_of(plan: Plan) -> ExpectedFeeds:
    facts = Facts(plan)
    known = named_steps(plan, facts.given, facts.known)
    assert known is not None
    return expected_feeds(plan, facts.given, known, capped=plan.max_width is not None)


def rows_of(feeds: ExpectedFeeds) -> list[tuple[int, ...]]:
    return list(zip(*(feeds[name].tolist() for name in COLUMNS), strict=True))


@given(plans(frames=3, side=5))
def test_the_names_call_for_the_compilers_feeds(case: tuple[Request, Plan]) -> None:
    plan = case[1]
    real = np.flatnonzero(plan.source >= 0)
    columns = {"step": plan.feed_steps(), "position": plan.position, "source": plan.source, "target": plan.target}
    actual = sorted(zip(*(columns[name][real].tolist() for name in COLUMNS), strict=True))
    expected = expected_of(plan)
    assert sorted(rows_of(expected)) == actual
    # In the order of (step, position) before a cap.
    if plan.max_width is None:
        assert rows_of(expected) == actual


def test_by_hand() -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
    assert rows_of(expected_of(plan)) == [
        (0, 0, 0, 1), (1, 1, 1, 2), (1, 3, 1, 4), (2, 2, 2, 3), (2, 4, 4, 5), (3, 3, 3, -1), (3, 5, 5, 6),
    ]  # fmt: skip
    capped = compile_plan(plan.layout, Diagonal(k=1), max_width=1)
    assert expected_of(capped)["step"].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_custom_policies_leave_open_what_they_do_not_say() -> None:
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
    proxy = expected_of(replace(plan, policies=replace(plan.policies, proxy="custom")))
    assert rows_of(proxy)[2] == (1, 3, -2, 4)
    assert [row for row in rows_of(proxy) if row[2] != -2] == [row for row in rows_of(expected_of(plan)) if row[3] != 4]
    prompted = compile_plan(Layout(frames=1, rows=2, cols=3, lead=2), Diagonal(k=1))  # slot 0 is fed alone
    row_end = expected_of(replace(prompted, policies=replace(prompted.policies, row_end="custom")))
    assert rows_of(row_end) == [row for row in rows_of(expected_of(prompted)) if row[3] >= 0]
    assert len(rows_of(row_end)) == 6


def test_a_target_without_anything_known_has_no_source() -> None:
    # Nothing is known in step 0 beside the leading token, which is no image token.
    layout = Layout(frames=1, rows=1, cols=2, lead=1)
    plan = compile_plan(layout, Imported(steps=[[0, 1]]))
    both_at_once = replace(plan, schedule=replace(plan.schedule, order=(0, 0), steps=1))
    assert rows_of(expected_of(both_at_once)) == [(0, 0, 0, 1), (0, 1, -2, 2)]


def test_tokens_before_given_ones_are_fed_with_them() -> None:
    # Slot 3 is given, between the frames; token 2 comes in step 1 and is fed alone in step 2, with slot 3's query.
    layout = Layout(frames=2, rows=1, cols=2, lead=1, between_frames=1)
    for row_end in ("keep", "refresh"):
        plan = compile_plan(layout, Diagonal(k=2), Policies(row_end=row_end))
        assert rows_of(expected_of(plan)) == [(0, 0, 0, 1), (1, 1, 1, 2), (2, 2, 2, -1), (2, 3, 3, 4), (3, 4, 4, 5)]


@pytest.mark.parametrize("proxy", ["latest", "previous-frame", "above-predecessor"])
def test_stand_ins_of_a_long_row_take_no_square_of_it(proxy: ProxyPolicy) -> None:
    """Twice the cells are about twice the entries looked at, not four times."""
    looked = []
    for cols in (512, 1024):
        order = Imported(steps=[list(range(cols)), [cols] * cols])  # the whole second row on proxies
        plan = compile_plan(Layout(frames=1, rows=2, cols=cols, lead=1), order, Policies(proxy=proxy))
        given = Facts(plan).given
        known = named_steps(plan, given, Facts(plan).known)
        assert known is not None
        Counted.taken = 0
        expected_feeds(plan, given, known.view(Counted), capped=False)
        looked.append(Counted.taken)
    assert 0 < looked[1] < 3 * looked[0]
    assert looked[1] < 200 * 2 * 1024
