"""What the checker derives from a plan alone, against loops over its feeds."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from diagplan.planner.checker.facts import NEVER, Facts
from diagplan.planner.compiler import compile_plan
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, ScheduleRecord
from tests.support.invalid_plans import BASE, GRID, IN_ORDER, PADDED, changed, listing, named, offsets, without
from tests.support.strategies import Request, plans


def feeds_of(plan: Plan) -> list[tuple[int, int, int, int, int]]:
    """Every feed as (step, source, position, slot, target), by walking through the steps."""
    columns = [getattr(plan, name).tolist() for name in ("source", "position", "slot", "target")]
    ends = plan.step_offsets.tolist()
    steps = [step for step in range(plan.steps) for _ in range(ends[step], ends[step + 1])]
    return list(zip(steps, *columns, strict=True))


@given(plans(frames=3, side=4))
def test_columns_are_what_a_walk_through_the_feeds_finds(case: tuple[Request, Plan]) -> None:
    plan = case[1]
    facts, feeds = Facts(plan), feeds_of(plan)
    assert facts.step.tolist() == [step for step, *_ in feeds]
    assert facts.real.tolist() == [source >= 0 for _, source, *_ in feeds]
    assert facts.proxy.tolist() == [source not in (-1, position) for _, source, position, *_ in feeds]
    given_slots = {slot for start, end in plan.given.tolist() for slot in range(start, end)}
    assert np.flatnonzero(facts.given).tolist() == sorted(given_slots)
    chosen = {target: step for step, *_, target in feeds if target >= 0}
    assert facts.known.tolist() == [chosen.get(slot, -1) for slot in range(plan.positions)]
    assert facts.emissions.tolist() == [int(slot in chosen) for slot in range(plan.positions)]


@given(plans(frames=3, side=4))
def test_writes_are_what_a_walk_through_the_feeds_finds(case: tuple[Request, Plan]) -> None:
    plan = case[1]
    facts, feeds = Facts(plan), feeds_of(plan)
    writes = defaultdict(list)
    for feed, (_, source, position, *_) in enumerate(feeds):
        if source >= 0:
            writes[position].append(feed)
    first = [feeds[writes[slot][0]][0] if slot in writes else NEVER for slot in range(plan.positions)]
    assert facts.first_write.tolist() == first
    assert facts.by_position.tolist() == [feed for position in sorted(writes) for feed in writes[position]]
    assert facts.last_of_position.tolist() == [writes[position][-1] for position in sorted(writes)]
    prompt = plan.layout.first_generated
    prefill = [step == 0 and source >= 0 and target < 0 and p < prompt for step, source, p, _, target in feeds]
    assert facts.prefill.tolist() == prefill
    width = [0] * plan.steps
    for (step, source, *_), free in zip(feeds, prefill, strict=True):
        width[step] += source >= 0 and not free
    assert facts.width.tolist() == width


def test_columns_of_plans_that_are_not_valid() -> None:
    assert Facts(offsets(0, 1, 3, 3, 5, 7)).step.tolist() == [0, 1, 1, 3, 3, 4, 4]
    never = Facts(without(6))
    assert never.known.tolist() == [-1, 0, 1, 2, 1, 2, NEVER]
    assert never.emissions.tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert never.first_write.tolist() == [0, 1, 2, 1, 2, NEVER, NEVER]
    twice = Facts(changed(5, target=4))
    assert twice.emissions[4] == 2
    assert twice.known[4] == 1  # the first one
    given_too = Facts(replace(BASE, given=np.array([[0, 2], [1, 3]])))
    assert np.flatnonzero(given_too.given).tolist() == [0, 1, 2]
    everything = Facts(replace(BASE, given=np.array([[0, 7]])))
    assert everything.prefill.sum() == 0  # no feed of step 0 is without a target
    assert everything.known.tolist() == [-1] * 7


@pytest.mark.parametrize(
    ("plan", "capped", "named_too"),
    [
        (BASE, False, True),
        (compile_plan(GRID, Diagonal(k=1), max_width=1), True, True),
        (replace(BASE, schedule=ScheduleRecord(name="custom", steps=4)), False, True),
        (replace(BASE, schedule=ScheduleRecord(name="custom", steps=4), max_width=2), False, False),
        (replace(BASE, policies=replace(BASE.policies, row_end="custom"), max_width=2), False, False),
        (named(k_in_force=None), False, False),
    ],
)
def test_what_the_names_say(plan: Plan, capped: bool, named_too: bool) -> None:
    facts = Facts(plan)
    assert facts.capped is capped
    assert facts.steps_named is named_too
    assert (facts.expected is None) == (plan.schedule.name == "diagonal" and plan.schedule.k_in_force is None)


@pytest.mark.parametrize(
    ("plan", "breaches"),
    [
        (listing({4: [0, 3]}), {"self": [(4, 4)], "rule": [(4, 4)]}),
        (listing({3: [0, 3, 4, 5]}), {"future": [(3, 4)], "rule": [(3, 4)]}),
        (listing({4: [0, 5]}), {"hidden": [(4, 3)], "rule": [(4, 3)]}),
        (listing({2: [0, 4]}), {"unwritten": [(2, 2)], "rule": [(2, 2)]}),
        (listing({6: [0, 7]}, IN_ORDER), {"stale": [(6, 2)], "rule": [(6, 2)]}),
        (listing({1: [0, 1, 7, 8]}, PADDED), {"trash": [(1, 0)], "rule": [(1, 0)]}),
        (listing({1: [1, 2, 7, 8]}, PADDED), {"trash": [(1, 1)], "unwritten": [(1, 1)], "rule": [(1, 1)]}),  # no future
        (listing({2: [0, 2, 7, 8]}, PADDED), {"trash": [(2, 7)], "rule": [(2, 7)]}),
        (listing({3: [0, 1, 2, 3], 6: [1, 6]}), {"rule": [(3, 1), (6, 0)]}),
        (listing({3: [0, 3]}), {}),  # as the rule has it
        (listing({6: [1, 6]}, visibility="listed"), {}),  # no rule
        (BASE, {}),
    ],
)
def test_breaches_of_listed_rows(plan: Plan, breaches: dict[str, list[tuple[int, int]]]) -> None:
    columns = {kind: list(zip(feed.tolist(), slot.tolist(), strict=True)) for kind, (feed, slot) in
               Facts(plan).listed.items()}  # fmt: skip
    assert {kind: where for kind, where in columns.items() if where} == breaches


def test_rows_are_judged_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = listing({feed: [0, 7] for feed in range(7)})
    whole = Facts(plan).listed
    monkeypatch.setattr("diagplan.planner.checker.facts._BITS", 1)
    parts = Facts(plan).listed
    assert whole.keys() == parts.keys() >= {"future", "unwritten", "hidden", "rule"}
    for kind in whole:
        assert all(np.array_equal(a, b) for a, b in zip(whole[kind], parts[kind], strict=True))
