"""What is read from a trace: the fate of every token in every pass, and the pass of every cell."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.drawing.trace_readout import Fate, read_trace_out
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from tests.support.invalid_traces import BASE, PLAN, columns, with_pass
from tests.support.speculation import speculate
from tests.support.strategies import Request, plans

N, F, W, B, A, C = Fate  # not fed, first, wrong, behind, accepted, corrected


def test_by_hand() -> None:
    """Six tokens in three passes; the guess of token 2 was 7, but 2 was chosen."""
    seen = read_trace_out(PLAN, BASE)
    assert seen.fates.tolist() == [[A, C, F, N, N, N], [N, N, C, B, F, N], [N, N, N, A, A, A]]
    assert seen.passes.tolist() == [[[0, 0, 1], [2, 2, 2]]]
    assert seen.by_cell(1).tolist() == [[[N, N, C], [B, F, N]]]
    assert (seen.count, seen.tokens_a_pass, seen.problems) == (3, 2.0, ())
    wrong = read_trace_out(PLAN, with_pass(1, guesses={3: 8, 4: 9}))
    assert wrong.fates[1].tolist() == [N, N, C, W, F, N]


@given(plans(frames=3, side=4), st.integers(1, 30), st.sampled_from((0, 70, 100)))
def test_every_token_is_accepted_once(case: tuple[Request, Plan], width: int, easy: int) -> None:
    _, plan = case
    trace = speculate(plan, width=width, numbers=(0, 3), easy=easy).trace
    seen = read_trace_out(plan, trace, 1)
    assert ((seen.fates >= Fate.ACCEPTED).sum(axis=0) == 1).all()
    assert seen.passes.min() >= 0
    assert seen.passes.max() < seen.count == trace.samples[1].passes
    assert sorted(seen.cell.tolist()) == list(range(plan.layout.tokens))
    again = np.stack([seen.by_cell(number) for number in range(seen.count)])
    assert (again.argmax(axis=0) >= 0).all()
    assert ((again >= Fate.ACCEPTED).argmax(axis=0) == seen.passes).all()


def test_what_is_wrong_is_said() -> None:
    assert read_trace_out(PLAN, with_pass(2, guesses={4: 4, 5: 9})).problems == ("DT105, 1 time(s)",)
    with pytest.raises(SpecError, match=re.escape("expected a sample from 0 to 0, got sample=1.")):
        read_trace_out(PLAN, BASE, 1)
    with pytest.raises(SpecError, match=re.escape("expected a trace of this plan: expected tokens of 7 slots, got ")):
        read_trace_out(PLAN, columns(tokens=[1, 2]))
    broken = replace(PLAN, target=np.where(PLAN.target == 3, 4, PLAN.target))
    with pytest.raises(SpecError, match="expected a valid plan for a trace, got one with errors"):
        read_trace_out(broken, BASE)


def test_a_picture_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagplan.drawing.trace_readout._MOST", 17)
    with pytest.raises(SpecError, match=re.escape("expected passes x tokens <= 17 in a picture, got 3 x 6.")):
        read_trace_out(PLAN, BASE)
