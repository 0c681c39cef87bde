"""The predicates on mask rows, each asked by itself; reads of unwritten slots against a slow interpretation."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from diagplan.planner.checker import masks
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import MaskRows, Plan
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.files import plan_to_json
from tests.support.findings import findings
from tests.support.invalid_plans import BASE, CAUSAL, IN_ORDER, PADDED, listing, promising
from tests.support.semantics import feeds_of, rule_rows
from tests.support.strategies import Request, plans


@given(plans(frames=3, side=4))
def test_rows_by_the_rule_break_no_predicate_on_rows(case: tuple[Request, Plan]) -> None:
    for name in masks.__all__:
        if name != "unwritten_reads":
            assert findings(getattr(masks, name), case[1]) == [], name


@given(plans(frames=3, side=4))
def test_unwritten_reads_are_those_of_a_slow_interpretation(case: tuple[Request, Plan]) -> None:
    plan = case[1]
    document = json.loads(plan_to_json(plan, masks="rule"))
    written: set[int] = set()
    expected = []  # the feed, and the slot that is written last of all that it reads
    first: dict[int, int] = {}
    for step, feeds in enumerate(map(feeds_of, document["steps"])):
        for feed in feeds:
            first.setdefault(feed.slot, step)
    number = 0
    for step, rows in zip(document["steps"], rule_rows(document), strict=True):
        feeds = feeds_of(step)
        written |= {feed.slot for feed in feeds}
        for feed, row in zip(feeds, rows, strict=True):
            unwritten = row - written
            if feed.source >= 0 and unwritten:
                latest = max(first.get(slot, plan.steps) for slot in unwritten)
                expected.append((number, min(slot for slot in unwritten if first.get(slot, plan.steps) == latest)))
            number += 1
    found = findings(masks.unwritten_reads, plan)
    assert [(finding.feed, finding.slot) for finding in found] == expected
    assert {finding.severity for finding in found} <= {"warning"}  # the compiler starts causal caches as zeros


@pytest.mark.parametrize(("initial", "severity"), [("zeros", "warning"), ("undefined", "error")])
def test_what_an_unwritten_read_is_depends_on_the_cache(initial: str, severity: str) -> None:
    causal = compile_plan(BASE.layout, Diagonal(k=1), CAUSAL)
    for plan in (causal, listing({2: [0, 4]})):
        found = findings(masks.unwritten_reads, replace(plan, cache_initial=initial))  # type: ignore[arg-type]
        assert [(finding.feed, finding.slot, finding.severity) for finding in found] == [(2, 2, severity)]
    # A causal row that is listed is judged as it stands.
    listed = replace(listing({2: [0, 2, 3, 4]}, causal), cache_initial=initial)  # type: ignore[arg-type]
    assert findings(masks.unwritten_reads, listed) == []


def test_every_malformed_run_is_found() -> None:
    rows = {1: [0, 1, 3, 8], 2: [3, 2], 4: [4, 5, 5, 6, 6, 7], 6: [0, 2, 1, 3]}
    where = [(finding.feed, finding.slot) for finding in findings(masks.runs_malformed, listing(rows))]
    assert where == [(1, 3), (2, 3), (4, 5), (4, 6), (6, 1)]
    assert findings(masks.runs_malformed, listing({1: [0, 1], 2: [], 4: [0, 1, 2, 7]})) == []


def test_listed_rows_come_once_and_in_order() -> None:
    runs = MaskRows(feed=np.array([2, 1, 1, 6]), offsets=np.array([0, 1, 2, 3, 4]), runs=np.array([[0, 1]] * 4))
    found = findings(masks.runs_malformed, replace(BASE, listed=runs))
    assert [finding.feed for finding in found] == [1, 1]


def test_without_a_rule_every_feed_needs_a_row() -> None:
    some = listing({0: [0, 1], 5: [0, 4]}, visibility="listed")
    assert [finding.feed for finding in findings(masks.not_listed, some)] == [1, 2, 3, 4, 6]
    assert len(findings(masks.not_listed, promising(visibility="listed"))) == BASE.feeds
    assert findings(masks.not_listed, listing({0: [0, 1]})) == []


SEEN = {
    "own_unseen": (listing({3: [0, 2], 4: [0, 3]}), [(3, 2), (4, 4)]),
    "future_seen": (listing({0: [0, 2], 3: [0, 3, 4, 5]}), [(0, 1), (3, 4)]),
    "hidden_seen": (listing({3: [0, 4], 4: [0, 5]}), [(3, 3), (4, 3)]),
    "stale_seen": (listing({5: [0, 6], 6: [0, 7]}, IN_ORDER), [(5, 2), (6, 2)]),
    "trash_misread": (listing({1: [0, 1, 7, 8], 2: [0, 2, 7, 8]}, PADDED), [(1, 0), (2, 7)]),
    "rule_broken": (listing({1: [1, 2], 4: [0, 1, 2, 3, 4, 5]}), [(1, 0), (4, 1)]),
}


@pytest.mark.parametrize("name", SEEN)
def test_a_breach_of_a_listed_row_says_its_first_slot(name: str) -> None:
    plan, where = SEEN[name]
    predicate = getattr(masks, name)
    assert [(finding.feed, finding.slot) for finding in findings(predicate, plan)] == where
    if name not in ("own_unseen", "rule_broken"):
        assert all(f"slot {finding.slot}" in finding.text for finding in findings(predicate, plan))
    assert findings(predicate, BASE) == []


def test_rows_of_other_visibility_have_other_rules() -> None:
    # Under visible proxies and a causal rule the same rows are right.
    layout = Layout(frames=1, rows=2, cols=3, lead=1)
    causal = compile_plan(layout, Diagonal(k=1), CAUSAL)
    assert findings(masks.rule_broken, listing({4: [0, 5]}, causal)) == []
    assert [finding.slot for finding in findings(masks.rule_broken, listing({2: [0, 2, 3, 4]}, causal))] == [2]
    assert findings(masks.hidden_seen, listing({4: [0, 5]}, causal)) == []
