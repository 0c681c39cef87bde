"""Verify a plan, or a plan file together with the digest it states."""

import os
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from diagplan.planner.arguments import require_kind
from diagplan.planner.checker import Diagnostic, Verification, verify_plan
from diagplan.planner.plan import Plan
from diagplan.schemas.convert import plan_digest, plan_from_document
from diagplan.schemas.files import read_document

__all__ = ["DIGEST_CODE", "verify", "verify_digest"]

DIGEST_CODE = "DP601"


def verify(plan: Plan | str | Path, *, cap: int = 20) -> Verification:
    """Check a plan by every rule; of a file also its digest.

    Args:
        plan: a plan, valid or not, or the path of a plan file.
        cap: the largest number of diagnostics kept of one rule; all are counted.

    Returns:
        the diagnostics; ``ok`` says whether there is no error.

    Raises:
        DocumentError: the file is not a readable plan document.
        SpecError: ``plan`` is neither, or ``cap`` is not an integer of at least 1.

    >>> from diagplan import Layout, NextToken, compile_plan
    >>> verify(compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken())).ok
    True
    """
    if isinstance(plan, Plan):
        return verify_plan(plan, cap=cap)
    remedy = "Compile one, or give the path of a plan file."
    require_kind("plan", plan, str | os.PathLike, remedy, what="a Plan or the path of a plan file")
    document = read_document(plan)
    read = plan_from_document(document)
    return verify_digest(verify_plan(read, cap=cap), read, document.digest)


def verify_digest(report: Verification, plan: Plan, stated: str) -> Verification:
    """Add to a report whether the digest a document states is that of its facts (rule DP601)."""
    actual = plan_digest(plan)
    if stated == actual:
        return report
    mismatch = Diagnostic(
        code=DIGEST_CODE,
        severity="error",
        step=None,
        feed=None,
        slot=None,
        message=f"expected digest={actual} of the facts, got digest={stated}.",
        remedy="The file was changed after it was written. Compile it again; after a change on purpose write it anew.",
    )
    return replace(
        report,
        diagnostics=(*report.diagnostics, mismatch),
        counts=MappingProxyType({**report.counts, DIGEST_CODE: 1}),
        errors=report.errors + 1,
    )
