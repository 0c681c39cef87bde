"""Verify a plan or a chain, or a file of one together with the digests it states."""

import os
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from diagplan.planner.arguments import require_kind
from diagplan.planner.chain import Chain
from diagplan.planner.checker import Diagnostic, Verification, verify_plan
from diagplan.planner.checker.chains import chain_malformed, verify_chain
from diagplan.planner.plan import Plan
from diagplan.schemas.chain_files import chain_digest, chain_from_document, read_any_document
from diagplan.schemas.convert import plan_digest, plan_from_document

if TYPE_CHECKING:
    from diagplan.schemas.chain_document import ChainDocument
    from diagplan.schemas.document import PlanDocument

__all__ = ["DIGEST_CODE", "verify", "verify_digest", "verify_document"]

DIGEST_CODE = "DP601"


def verify(plan: Plan | Chain | str | Path, *, cap: int = 20) -> Verification:
    """Check a plan, or a chain of plans, by every rule; of a file also its digests.

    Args:
        plan: a plan or a chain, valid or not, or the path of a file of one.
        cap: the largest number of diagnostics kept of one rule, and of one plan; all are counted.

    Returns:
        the diagnostics; ``ok`` says whether there is no error.

    Raises:
        DocumentError: the file is not a readable document of a plan or a chain.
        SpecError: ``plan`` is none of these, or ``cap`` is not an integer of at least 1.

    >>> from diagplan import Layout, NextToken, compile_plan
    >>> verify(compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken())).ok
    True
    """
    if isinstance(plan, Plan):
        return verify_plan(plan, cap=cap)
    if isinstance(plan, Chain):
        return verify_chain(plan, cap=cap)
    remedy = "Compile one, or give the path of a file."
    require_kind("plan", plan, str | os.PathLike, remedy, what="a Plan, a Chain or the path of a file of one")
    return verify_document(read_any_document(plan), cap=cap)[1]


def verify_document(document: "PlanDocument | ChainDocument", *, cap: int = 20) -> tuple[Plan | Chain, Verification]:
    """The plan or the chain of a document, and the report on it with that on its digests (rule DP601).

    Raises:
        DocumentError: what the document describes cannot be.
        SpecError: ``cap`` is not an integer of at least 1.
    """
    from diagplan.schemas.document import PlanDocument

    if isinstance(document, PlanDocument):
        read = plan_from_document(document)
        return read, verify_digest(verify_plan(read, cap=cap), read, document.digest)
    chain = chain_from_document(document)
    report = verify_chain(chain, cap=cap)
    if next(chain_malformed(chain), None) is not None:
        return chain, report  # it has no digest
    stated: list[tuple[str, str, int | None]] = [
        (plan_digest(plan), part.digest, number)
        for number, (plan, part) in enumerate(zip(chain.plans, document.plans, strict=True))
    ]
    for actual, claimed, number in [*stated, (chain_digest(chain), document.digest, None)]:
        report = _compared(report, actual, claimed, number)
    return chain, report


def verify_digest(report: Verification, plan: Plan, stated: str) -> Verification:
    """Add to a report whether the digest a document states is that of its facts (rule DP601)."""
    return _compared(report, plan_digest(plan), stated, None)


def _compared(report: Verification, actual: str, stated: str, number: int | None) -> Verification:
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
        plan=number,
    )
    return replace(
        report,
        diagnostics=(*report.diagnostics, mismatch),
        counts=MappingProxyType({**report.counts, DIGEST_CODE: report.counts.get(DIGEST_CODE, 0) + 1}),
        errors=report.errors + 1,
    )
