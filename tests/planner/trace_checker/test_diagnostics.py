"""What the checker of traces hands over."""

import numpy as np

from diagplan.planner.trace_checker import check_trace
from diagplan.planner.trace_checker.diagnostics import TraceHits
from tests.support.invalid_traces import BASE, PLAN, with_pass


def test_hits_count_their_rows() -> None:
    assert len(TraceHits(text="one")) == 1
    assert len(TraceHits(text="none", sample=np.zeros(0, dtype=int))) == 0
    assert len(TraceHits(text="three", values={"x": np.arange(3)})) == 3


def test_errors_are_all_breaches() -> None:
    assert check_trace(PLAN, BASE).errors == 0
    report = check_trace(PLAN, with_pass(0, guesses={3: 7, 0: 9}), cap=1)
    assert (report.ok, report.errors, dict(report.counts), len(report.diagnostics)) == (False, 4, {"DT103": 4}, 1)
