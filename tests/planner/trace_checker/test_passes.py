"""The golden pairs: every rule of a trace beside invalid traces, and what exactly is said of them."""

import pytest

from diagplan.planner.trace_checker import check_trace
from tests.support.invalid_traces import BASE, PLAN, TraceCase, trace_cases


def test_the_base_is_valid() -> None:
    report = check_trace(PLAN, BASE)
    assert (report.ok, report.errors, report.diagnostics) == (True, 0, ())


@pytest.mark.parametrize("case", list(trace_cases()), ids=lambda case: f"{case.code} {case.message[:40]}")
def test_golden_pairs(case: TraceCase) -> None:
    report = check_trace(PLAN, case.trace)
    assert not report.ok
    said = [
        (one.code, one.message, one.sample, one.number, one.slot) for one in report.diagnostics if one.code == case.code
    ]
    assert (case.code, case.message, case.sample, case.number, case.slot) in said[:1]
