"""Damage that slips through: a changed trace passes exactly where a plain judge finds every rule kept."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan.planner.plan import Plan
from diagplan.planner.trace import Trace, TracedPass, sample_trace
from diagplan.planner.trace_checker import check_trace
from tests.support.speculation import VOCABULARY, Run, one_by_one, speculate
from tests.support.strategies import Request, plans
from tests.support.trace_judge import is_right

Draw = Any


@st.composite
def runs(draw: st.DrawFn) -> tuple[Plan, Run]:
    """A small plan, replayed in windows of any width, with drafts that come true never, sometimes and always."""
    plan = draw(plans(frames=2, side=4))[1]
    numbers = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))
    shift = draw(st.integers(0, 1))
    return plan, speculate(
        plan,
        width=draw(st.integers(1, 6) | st.integers(1, 40)),
        numbers=numbers,
        advance=draw(st.sampled_from(("own", "slowest"))),
        draft=lambda slot: (slot * 5 + shift) % VOCABULARY,
        easy=draw(st.sampled_from((0, 60, 90, 100))),
    )


@given(runs())
def test_a_valid_trace_passes(case: tuple[Plan, Run]) -> None:
    plan, run = case
    assert check_trace(plan, run.trace).ok, check_trace(plan, run.trace).diagnostics[:3]
    assert is_right(plan, run.trace)


def _nudged(draw: Draw, value: int) -> int:
    return value + int(draw(st.sampled_from((-1, 1, 1, -2, 5))))


def _ids(draw: Draw, ids: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    """One id changed, left out, moved to another slot, or added; or all in another order."""
    changed = dict(ids)
    kind = draw(st.sampled_from(("change", "leave out", "move", "add", "turn")))
    if kind == "add" or not ids:
        changed[draw(st.integers(0, 40) | st.sampled_from(sorted(other) or [0]))] = draw(st.integers(0, VOCABULARY))
        return changed
    slot = draw(st.sampled_from(sorted(ids)))
    if kind == "change":
        changed[slot] = draw(st.integers(-1, VOCABULARY))
    elif kind == "turn":
        return dict(reversed(ids.items()))
    else:
        token = changed.pop(slot)
        if kind == "move":
            changed[_nudged(draw, slot)] = token
    return changed


def _passes(draw: Draw, passes: list[TracedPass]) -> list[TracedPass]:
    kind = draw(
        st.sampled_from(
            ("first", "end", "accepted", "guesses", "guesses", "chosen", "chosen", "drop", "twice", "swap", "cut")
        )
    )
    at = draw(st.integers(0, len(passes) - 1))
    one, listed = passes[at], list(passes)
    if kind in ("first", "end", "accepted"):
        listed[at] = one._replace(**{kind: _nudged(draw, getattr(one, kind))})
    elif kind == "guesses":
        listed[at] = one._replace(guesses=_ids(draw, dict(one.guesses), dict(one.chosen)))
    elif kind == "chosen":
        listed[at] = one._replace(chosen=_ids(draw, dict(one.chosen), dict(one.guesses)))
    elif kind == "drop":
        del listed[at]
    elif kind == "twice":
        listed.insert(at, one)
    elif kind == "swap":
        other = draw(st.integers(0, len(passes) - 1))
        listed[at], listed[other] = listed[other], listed[at]
    else:  # a pass cut short by one, the books kept
        listed[at] = one._replace(end=one.end - 1, accepted=min(one.accepted, one.end - 1))
    return listed


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Plan, Trace]:
    """A trace with one or two things changed."""
    plan, run = draw(runs())
    trace = run.trace
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(trace.samples) - 1))
        one = trace.samples[at]
        kind = draw(st.sampled_from(("passes",) * 8 + ("tokens", "width", "narrowest", "advance", "samples")))
        if kind == "passes" and one.passes:
            listed = _passes(draw, [one.traced(number) for number in range(one.passes)])
            one = sample_trace(one.number, listed, one.tokens)
        elif kind == "tokens":
            tokens = one.tokens.copy()
            slot = draw(st.integers(0, len(tokens) - 1))
            tokens[slot] = draw(st.integers(-1, VOCABULARY))
            one = replace(one, tokens=tokens[: len(tokens) - draw(st.sampled_from((0, 0, 0, 1)))])
        elif kind == "width":
            trace = replace(trace, width=_nudged(draw, trace.width))
        elif kind == "narrowest":
            trace = replace(trace, narrowest=draw(st.integers(0, trace.width + 1)))
        elif kind == "advance":
            trace = replace(trace, advance="own" if trace.advance == "slowest" else "slowest")
        if kind == "samples" and len(trace.samples) > 1:
            trace = replace(trace, samples=trace.samples[:at] + trace.samples[at + 1 :])
        else:
            trace = replace(trace, samples=(*trace.samples[:at], one, *trace.samples[at + 1 :]))
    return plan, trace


@settings(max_examples=200)
@given(damaged())
def test_damage_is_found_exactly_where_a_rule_is_broken(case: tuple[Plan, Trace]) -> None:
    plan, trace = case
    report = check_trace(plan, trace)
    assert report.ok == is_right(plan, trace), report.diagnostics[:3]


@pytest.mark.slow
@given(damaged())
def test_damage_is_found_in_a_longer_search(case: tuple[Plan, Trace]) -> None:
    plan, trace = case
    assert check_trace(plan, trace).ok == is_right(plan, trace)


@given(plans(frames=2, side=4), st.integers(1, 30))
def test_a_trace_is_of_its_own_plan(case: tuple[Request, Plan], width: int) -> None:
    """The trace of a plan is valid for the plan alone: another sample of tokens for the same plan is too."""
    _, plan = case
    run = speculate(plan, width=width)
    again = replace(run.trace, samples=(replace(run.trace.samples[0], tokens=one_by_one(plan)),))
    assert check_trace(plan, again).ok
