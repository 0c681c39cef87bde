"""Verify a trace against the plan that was replayed, as objects or files."""

import os
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from diagplan.planner.arguments import require_kind
from diagplan.planner.checker import verify_plan
from diagplan.planner.errors import InvalidPlanError
from diagplan.planner.plan import Plan
from diagplan.planner.shown import shown
from diagplan.planner.trace import Trace
from diagplan.planner.trace_checker import TraceDiagnostic, TraceVerification, check_trace
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.files import read_plan
from diagplan.schemas.trace import read_trace

__all__ = ["TRACE_DIGEST_CODE", "verify_trace"]

TRACE_DIGEST_CODE = "DT601"


def verify_trace(plan: Plan | str | Path, trace: Trace | str | Path, *, cap: int = 20) -> TraceVerification:
    """Check the trace of a speculative replay by every rule, and that it is of this plan.

    No model is needed: the rules see that the books are kept, not that the ids are the model's
    (``diagplan.check_tokens``).

    Args:
        plan: the plan, or the path of its file.
        trace: the trace, or the path of its file.
        cap: the largest number of diagnostics kept of one rule; all are counted.

    Returns:
        the diagnostics; ``ok`` says whether there is none.

    Raises:
        InvalidPlanError: the plan does not verify.
        DocumentError: a file is not a readable document.
        SpecError: arguments of other kinds.
    """
    if not isinstance(plan, Plan):
        require_kind("plan", plan, str | os.PathLike, "The plan comes first.", what="a Plan or the path of a plan file")
        plan = read_plan(plan)
    if not isinstance(trace, Trace):
        what = "a Trace or the path of a trace file"
        require_kind("trace", trace, str | os.PathLike, "The trace comes second.", what=what)
        trace = read_trace(trace)
    checked = verify_plan(plan, cap=1)
    if not checked.ok:
        first = next(one for one in checked.diagnostics if one.severity == "error")
        raise InvalidPlanError(
            f"expected a valid plan, got {checked.errors} error(s), the first {first.code}: {first.message} "
            "`diagplan verify` lists them."
        )
    report, digest = check_trace(plan, trace, cap=cap), plan_digest(plan)
    if trace.plan == digest:
        return report
    other = TraceDiagnostic(
        code=TRACE_DIGEST_CODE,
        sample=None,
        number=None,
        slot=None,
        message=f"expected plan={digest}, the digest of the plan, got plan={shown(trace.plan, 80)}.",
        remedy="Give the plan that was replayed.",
    )
    return replace(
        report,
        diagnostics=(*report.diagnostics, other),
        counts=MappingProxyType({**report.counts, TRACE_DIGEST_CODE: 1}),
    )
