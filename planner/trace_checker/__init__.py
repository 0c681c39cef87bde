"""The checker of traces: recomputes a speculative replay's books from plan and trace, and shares no code with it."""

from diagplan.planner.trace_checker.diagnostics import TraceDiagnostic, TraceVerification
from diagplan.planner.trace_checker.rules import TRACE_RULES, TraceRule
from diagplan.planner.trace_checker.verifier import check_trace

__all__ = ["TRACE_RULES", "TraceDiagnostic", "TraceRule", "TraceVerification", "check_trace"]
