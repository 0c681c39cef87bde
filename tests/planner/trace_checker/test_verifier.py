"""Walking the table: caps, tiers, and work that does not grow with what a hostile trace claims to have fed."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import NextToken
from diagplan.planner.trace import SampleTrace, TracedPass, sample_trace
from diagplan.planner.trace_checker import check_trace
from tests.support.invalid_traces import BASE, PLAN, with_pass
from tests.support.speculation import speculate
from tests.support.strategies import Request, plans
from tests.support.trace_judge import is_right


def test_caps() -> None:
    report = check_trace(PLAN, with_pass(1, guesses={0: 1, 1: 1, 2: 2}), cap=2)
    assert [one.code for one in report.diagnostics] == ["DT103"] * 2
    assert report.counts == {"DT103": 5}
    for cap in (0, 1.5, None):
        with pytest.raises(SpecError, match="cap"):
            check_trace(PLAN, BASE, cap=cap)  # type: ignore[arg-type]


def test_later_tiers_are_not_asked_after_an_error() -> None:
    broken = with_pass(0, first=1, guesses={})
    assert set(check_trace(PLAN, broken).counts) == {"DT101"}


@given(plans(frames=2, side=3))
def test_windows_that_change_in_width(case: tuple[Request, Plan]) -> None:
    """A wide replay is not valid as one whose windows are all wider still, unless it says what the narrowest was."""
    _, plan = case
    trace = speculate(plan, width=2).trace
    assert check_trace(plan, replace(trace, width=9, narrowest=2)).ok
    assert check_trace(plan, replace(trace, width=9, narrowest=1)).ok
    narrower = check_trace(plan, replace(trace, width=1)).counts
    assert not narrower or set(narrower) == {"DT102"}


@given(plans(frames=2, side=3), st.data())
def test_a_prompt_may_be_fed_in_passes_of_its_own(case: tuple[Request, Plan], data: st.DataObject) -> None:
    """They are not counted: with windows of one such a replay takes as many passes as its bound, and the prompt's."""
    _, plan = case
    trace = speculate(plan, width=1).trace
    first, *rest = (trace.samples[0].traced(number) for number in range(trace.passes))
    prompt = first.end - 1
    assume(prompt > 0)
    cut = data.draw(st.integers(1, prompt))
    chunk = TracedPass(0, cut, {}, {}, cut)
    split = sample_trace(0, [chunk, first._replace(first=cut), *rest], trace.samples[0].tokens)
    assert check_trace(plan, replace(trace, samples=(split,))).ok
    assert is_right(plan, replace(trace, samples=(split,)))


def test_windows_as_wide_as_the_plan_are_never_expanded() -> None:
    """20,000 passes claim to have fed a prompt of 20,000 entries each: 400 million entries, were they laid out."""
    claims = 20_000
    plan = compile_plan(Layout(frames=1, rows=1, cols=2, lead=claims), NextToken())
    none, numbers = np.zeros(0, dtype=np.int64), np.arange(claims, dtype=np.int64)
    sample = SampleTrace(
        number=0,
        first=np.zeros_like(numbers),
        end=np.full_like(numbers, claims - 1),
        accepted=np.zeros_like(numbers),
        guess_offsets=np.zeros(claims + 1, dtype=np.int64),
        guess_slot=none,
        guess_id=none,
        chosen_offsets=np.zeros(claims + 1, dtype=np.int64),
        chosen_slot=none,
        chosen_id=none,
        tokens=np.zeros(plan.positions, dtype=np.int64),
    )
    hostile = replace(BASE, width=claims, samples=(sample,))
    tracemalloc.start()
    try:
        report = check_trace(plan, hostile)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.counts == {"DT106": claims, "DT107": 1}
    assert most < 1 << 24
