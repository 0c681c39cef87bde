"""The predicates on numbers, tokens and cache writes, each asked by itself: all it finds, not only the first."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from diagplan.planner.checker import feeds
from diagplan.planner.checker.diagnostics import Hits
from diagplan.planner.checker.facts import Facts
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, Imported
from tests.support.findings import findings
from tests.support.invalid_plans import BASE, CAUSAL, GRID, IN_ORDER, PADDED, changed, offsets, promising, without
from tests.support.strategies import Request, plans

Predicate = Callable[[Facts], Iterator[Hits]]

#: Those that no compiled plan breaks, whatever its policies.
ALWAYS: list[Predicate] = [getattr(feeds, name) for name in feeds.__all__ if name not in ("kept_proxies", "never_fed")]


def where(predicate: Predicate, plan: Plan) -> list[tuple[int | None, int | None]]:
    """The feed and the slot of every finding."""
    return [(finding.feed, finding.slot) for finding in findings(predicate, plan)]


@given(plans(frames=3, side=4))
def test_compiled_plans_break_none_of_them(case: tuple[Request, Plan]) -> None:
    for predicate in ALWAYS:
        assert findings(predicate, case[1]) == [], predicate.__name__


def columns(plan: Plan, **changes: dict[int, int]) -> Plan:
    """A plan with numbers of several feeds changed: column -> feed -> number."""
    changed_columns: dict[str, Any] = {name: getattr(plan, name).copy() for name in changes}
    for name, numbers in changes.items():
        changed_columns[name][list(numbers)] = list(numbers.values())
    return replace(plan, **changed_columns)


def test_numbers_in_range() -> None:
    plan = columns(BASE, source={1: -2, 5: 7}, position={0: -1}, slot={2: 7, 3: -1}, target={6: 70})
    assert where(feeds.numbers_in_range, plan) == [(1, -2), (5, 7), (0, -1), (2, 7), (3, -1), (6, 70)]
    edge = columns(BASE, source={0: -1, 1: 6}, position={0: 0, 1: 6}, slot={0: 0, 1: 6}, target={0: -1, 1: 6})
    assert where(feeds.numbers_in_range, edge) == []
    for trash, broken in ((-1, True), (0, False), (6, False), (7, True)):
        assert bool(findings(feeds.numbers_in_range, replace(BASE, trash_slot=trash))) is broken


FRAMES = Layout(frames=2, rows=2, cols=2, prompt_frames=1)  # slots 0 to 3 of 12 are given


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({}, None),
        ({"rows": 1, "cols": 4}, None),  # other cells, the same given slots
        ({"prompt_frames": 0, "lead": 4}, None),
        ({"frames": 1, "prompt_frames": 2}, "expected given slots [[0, 8]] (1 runs) from the layout, got [[0, 4]] (1"),
        ({"frames": 1, "between_frames": 4}, "expected given slots [[0, 8]] (1 runs) from the layout, got [[0, 4]] (1"),
        ({"lead": 1}, "expected positions=13 from the layout, got positions=12"),
        ({"between_rows": 1}, "expected positions=15 from the layout, got positions=12"),
    ],
)
def test_positions_and_given_slots_follow_from_the_layout(stated: dict[str, int], says: str | None) -> None:
    plan = replace(compile_plan(FRAMES, Diagonal(k=2)), layout=replace(FRAMES, **stated))
    texts = [finding.text for finding in findings(feeds.layout_disagrees, plan)]
    assert len(texts) == (says is not None)
    assert all(text.startswith(str(says)) for text in texts)


def test_a_long_list_of_given_runs_is_cut() -> None:
    rows = compile_plan(Layout(frames=1, rows=6, cols=1, lead=1, between_rows=1), Diagonal(k=1))
    (finding,) = findings(feeds.layout_disagrees, replace(rows, given=rows.given[:-1]))
    shown = "[[0, 1], [2, 3], [4, 5], [6, 7]] ..."
    assert finding.text == f"expected given slots {shown} (6 runs) from the layout, got {shown} (5 runs)"


def test_empty_steps() -> None:
    plan = offsets(0, 0, 3, 3, 3, 7)
    assert [finding.step for finding in findings(feeds.empty_steps, plan)] == [0, 2, 3]


def test_padding_misused() -> None:
    plan = columns(PADDED, slot={1: 6, 3: 7}, target={1: 3})
    assert where(feeds.padding_misused, plan) == [(1, 6), (1, 6), (3, 7)]
    without_trash = changed(1, source=-1)
    texts = [finding.text for finding in findings(feeds.padding_misused, without_trash)]
    assert texts == [
        "expected padding to write the trash slot, got slot=1",
        "expected padding to have no target, got target=2",
    ]
    causal = compile_plan(GRID, Diagonal(k=1), CAUSAL, pad=(2,))
    for trash, broken in ((6, True), (7, False)):
        assert ("causal" in str(findings(feeds.padding_misused, replace(causal, trash_slot=trash)))) is broken


def test_tokens_chosen_never_twice_or_though_given() -> None:
    assert where(feeds.never_emitted, columns(BASE, target={0: -1, 6: -1})) == [(None, 1), (None, 6)]
    twice = columns(BASE, target={2: 2, 5: 2, 6: 0})
    assert where(feeds.emitted_twice, twice) == [(2, 2), (5, 2)]
    assert [finding.text[-7:] for finding in findings(feeds.emitted_twice, twice)] == [" feed 1", " feed 1"]
    assert where(feeds.given_emitted, columns(BASE, target={0: 0, 4: 0})) == [(0, 0), (4, 0)]
    assert where(feeds.emitted_twice, columns(BASE, target={0: 0, 4: 0})) == []  # a given slot is the other rule's


def test_sources_are_known_before() -> None:
    plan = columns(BASE, source={0: 1, 2: 2, 6: 6, 4: 3})
    assert where(feeds.source_unknown, plan) == [(0, 1), (2, 2), (4, 3), (6, 6)]
    assert where(feeds.source_unknown, columns(without(6), source={5: 6})) == [(5, 6)]
    assert findings(feeds.source_unknown, columns(without(6), source={5: 6}))[0].text.endswith("which no step chooses")


def test_positions_and_sources_of_feeds() -> None:
    assert where(feeds.position_not_predecessor, columns(BASE, position={1: 2, 5: 0, 6: 6})) == [(1, 2), (6, 6)]
    assert where(feeds.cache_only_source, columns(BASE, source={0: 3, 2: 0, 5: 1})) == [(5, 3)]


def test_writes_of_one_step() -> None:
    plan = columns(IN_ORDER, slot={2: 1, 6: 5}, position={4: 2})
    assert where(feeds.written_twice, plan) == [(2, 1), (6, 5), (4, 2)]
    assert where(feeds.written_twice, columns(PADDED, slot={0: 7})) == []  # padding is asked about elsewhere


def test_slots_stay_with_their_position() -> None:
    assert where(feeds.shared_slots, columns(BASE, slot={4: 1, 6: 1})) == [(4, 1), (6, 1)]
    assert where(feeds.shared_slots, IN_ORDER) == []
    assert where(feeds.shared_slots, promising(IN_ORDER, visibility="causal")) == [(2, 2), (3, 3), (5, 5), (6, 6)]


@pytest.mark.parametrize("k", [1, 2])
def test_kept_proxies_are_one_for_each_row_start(k: int) -> None:
    plan = compile_plan(Layout(frames=2, rows=4, cols=3, lead=1), Diagonal(k=k), Policies(row_end="keep"))
    kept = where(feeds.kept_proxies, plan)
    assert [slot for _, slot in kept] == [3, 6, 9, 15, 18, 21]
    assert all(plan.position[feed] == slot and plan.source[feed] != slot for feed, slot in kept if feed is not None)
    assert where(feeds.kept_proxies, compile_plan(plan.layout, Diagonal(k=k))) == []
    # What comes in the last step nobody could read.
    last = compile_plan(Layout(frames=1, rows=1, cols=3, lead=1), Imported(steps=[[0, 1, 1]]))
    assert last.source.tolist() == [0, 1, 1]
    assert where(feeds.kept_proxies, last) == []


def test_tokens_that_never_enter_the_cache() -> None:
    layout = Layout(frames=3, rows=2, cols=2, lead=1, between_frames=1)
    plan = compile_plan(layout, Diagonal(k=1, d=1), Policies(row_end="keep"))
    assert where(feeds.never_fed, plan) == [(None, 4), (None, 9)]
    assert where(feeds.never_fed, without(6)) == [(None, 5)]
    # Not the last token, though it comes early, and none that comes in the last step.
    early = compile_plan(Layout(frames=1, rows=1, cols=3, lead=1), Imported(steps=[[0, 2, 1]]))
    assert early.position.tolist() == [0, 1, 2, 1]
    assert where(feeds.never_fed, early) == where(feeds.never_fed, columns(early, position={2: 0})) == []


def test_the_declared_width() -> None:
    for width, steps in ((1, [1, 2, 3]), (2, []), (None, [])):
        assert [finding.step for finding in findings(feeds.too_wide, replace(BASE, max_width=width))] == steps
    prefill = compile_plan(Layout(frames=1, rows=2, cols=2, prompt_frames=2), Diagonal(k=1))
    assert [finding.step for finding in findings(feeds.too_wide, replace(prefill, max_width=1))] == [1, 2]
    assert findings(feeds.too_wide, replace(PADDED, max_width=2)) == []
