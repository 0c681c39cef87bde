"""The predicates that hold a plan against its names, each asked by itself: everything that differs is found."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from diagplan.planner.checker import names
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ScheduleRecord, ZipAR, record
from tests.support.findings import findings
from tests.support.invalid_plans import BASE, GRID, named, promising, without
from tests.support.pages import DOCS
from tests.support.strategies import Request, plans

PREDICATES = [getattr(names, name) for name in names.__all__]


@given(plans(frames=3, side=4))
def test_compiled_plans_are_what_their_names_say(case: tuple[Request, Plan]) -> None:
    for predicate in PREDICATES:
        assert findings(predicate, case[1]) == [], predicate.__name__


def texts(predicate: Any, plan: Plan) -> list[str]:
    return [finding.text for finding in findings(predicate, plan)]


@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=2), ZipAR(window=2), ZipAR(window=2, variant="llamagen")])
@pytest.mark.parametrize("lacking", [("k_in_force",), ("d_in_force",), ("k_in_force", "d_in_force")])
def test_delays_in_force_are_required(schedule: Schedule, lacking: tuple[str, ...]) -> None:
    right = record(schedule, GRID)
    wrong = replace(right, **dict.fromkeys(lacking))  # type: ignore[arg-type]
    want, got = ((each.k_in_force, each.d_in_force) for each in (right, wrong))
    needed = f"the schedule {right.name} needs both k_in_force and d_in_force"
    text = f"expected the delays (k, d) = {want} in force on this grid, got {got}: {needed}"
    assert texts(names.delays_wrong, replace(BASE, schedule=wrong)) == [text]


def test_every_field_without_room_is_found() -> None:
    imported = compile_plan(GRID, Imported(steps=[[0, 1, 2], [1, 2, 3]]))
    crowded = named(imported, k=1, d=2, k_in_force=3, d_in_force=4)
    assert texts(names.delays_wrong, crowded) == [
        f"expected no {field} beside the schedule imported, got {field}={value}"
        for field, value in (("k", 1), ("d", 2), ("k_in_force", 3), ("d_in_force", 4))
    ]
    next_token = compile_plan(GRID, NextToken())
    assert len(texts(names.delays_wrong, named(next_token, k=3, d=6, order=(0,)))) == 3
    assert texts(names.delays_wrong, replace(BASE, schedule=ScheduleRecord(name="custom", steps=1, k=99))) == []


def test_totals() -> None:
    assert texts(names.total_differs, named(steps=9)) == [
        "expected steps=4 by the closed form of diagonal, got steps=9 named"
    ]
    other = replace(BASE, schedule=record(NextToken(), GRID))
    assert texts(names.total_differs, other) == ["expected 6 steps by the closed form of next-token, got 4"]
    custom = replace(BASE, schedule=ScheduleRecord(name="custom", steps=5))
    assert texts(names.total_differs, custom) == ["expected steps=4 by the closed form of custom, got steps=5 named"]
    # With a cap that no name explains, only the named number is compared.
    assert texts(names.total_differs, promising(replace(other, max_width=9), row_end="custom")) == []


def test_every_token_in_another_step_is_found() -> None:
    other = replace(BASE, schedule=record(NextToken(), GRID))
    late = [(finding.feed, finding.slot, finding.text) for finding in findings(names.steps_differ, other)]
    assert late == [
        (2, 4, "expected token 4 in step 3 by next-token, got step 1"),
        (4, 5, "expected token 5 in step 4 by next-token, got step 2"),
        (6, 6, "expected token 6 in step 5 by next-token, got step 3"),
    ]
    assert findings(names.steps_differ, named(k_in_force=None)) == []  # nothing to compare with


def test_every_other_source_is_found() -> None:
    source = BASE.source.copy()
    source[[2, 4]] = 0
    plan = replace(BASE, source=source)
    text = "expected source={} for token {} (proxy=previous-frame), got source=0"
    assert texts(names.sources_differ, plan) == [text.format(1, 4), text.format(4, 5)]
    # A custom proxy may be any token; one's own token, where it is known, may not be replaced.
    free = promising(plan, proxy="custom")
    assert texts(names.sources_differ, free) == [text.replace("previous-frame", "custom").format(4, 5)]


def test_every_feed_alone_is_compared() -> None:
    missing = findings(names.feeds_differ, without(5))
    assert [(finding.step, finding.slot, finding.text[-8:]) for finding in missing] == [(3, 3, "got none")]
    layout = Layout(frames=1, rows=4, cols=3, lead=1)
    kept = compile_plan(layout, Diagonal(k=1), Policies(row_end="keep"))
    promised = findings(names.feeds_differ, promising(kept, row_end="refresh"))
    assert [(finding.step, finding.slot) for finding in promised] == [(3, 3), (4, 6), (5, 9)]
    refreshed = compile_plan(layout, Diagonal(k=1))
    surplus = findings(names.feeds_differ, promising(refreshed, row_end="keep"))
    alone = np.flatnonzero((refreshed.target < 0) & (refreshed.position > 0))
    assert [finding.feed for finding in surplus] == alone.tolist()
    assert [finding.slot for finding in surplus] == refreshed.position[alone].tolist()
    assert findings(names.feeds_differ, promising(refreshed, row_end="custom")) == []


# What is asked of a plan whose names say less: the rules of the table in docs/checker-rules.md.

LATE, OTHER_SOURCE, LACKING = "DP503", "DP504", "DP505"


@pytest.mark.parametrize("cap", [None, 3])
@pytest.mark.parametrize(
    ("custom", "not_asked", "not_asked_under_a_cap"),
    [
        ("schedule", {LATE}, {LATE, OTHER_SOURCE, LACKING}),
        ("proxy", set(), set()),
        ("row_end", {LACKING}, {LATE, LACKING}),
        (None, set(), set()),
    ],
)
def test_what_a_custom_name_leaves_unasked(
    custom: str | None, not_asked: set[str], not_asked_under_a_cap: set[str], cap: int | None
) -> None:
    plan = compile_plan(GRID, Diagonal(k=1), max_width=cap)
    late = replace(plan, step_offsets=plan.step_offsets + (np.arange(plan.steps + 1) == 1))  # one feed a step early
    sources = plan.source.copy()
    own = np.flatnonzero((plan.target > 1) & (plan.source == plan.position))[0]  # no proxy, so custom ones are asked
    sources[own] = 0
    alone = int(np.flatnonzero(plan.target < 0)[-1])
    damaged = {LATE: late, OTHER_SOURCE: replace(plan, source=sources), LACKING: without(alone, plan)}
    found = set()
    for code, predicate in (
        (LATE, names.steps_differ),
        (OTHER_SOURCE, names.sources_differ),
        (LACKING, names.feeds_differ),
    ):
        case = damaged[code]
        if custom == "schedule":
            case = replace(case, schedule=ScheduleRecord(name="custom", steps=case.steps))
        elif custom is not None:
            case = promising(case, **{custom: "custom"})
        found |= {code} if findings(predicate, case) else set()
    assert found == {LATE, OTHER_SOURCE, LACKING} - (not_asked_under_a_cap if cap else not_asked)


def test_the_page_says_what_a_custom_name_leaves_unasked() -> None:
    rows = dict(
        re.findall(r'^\| `(\w+)` is `"custom"` \| (.*) \|$', (DOCS / "checker-rules.md").read_text(), re.MULTILINE)
    )
    assert {name: re.findall(r"DP\d+|max_width", text) for name, text in rows.items()} == {
        "schedule": ["DP501", "DP503", "DP502", "max_width", "DP504", "DP505"],
        "proxy": ["DP504"],
        "row_end": ["DP505", "max_width", "DP503", "DP502"],
    }
