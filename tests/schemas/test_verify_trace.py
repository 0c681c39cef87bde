"""Plan and trace together, as objects and as files: the digest, and what must be valid first."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagplan import write_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError, InvalidPlanError, SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.trace import write_trace
from diagplan.schemas.verify_trace import TRACE_DIGEST_CODE, verify_trace
from tests.support.invalid_traces import BASE, PLAN, with_pass


def test_objects_and_files(tmp_path: Path) -> None:
    write_plan(PLAN, tmp_path / "plan.json")
    write_trace(BASE, tmp_path / "trace.json")
    assert verify_trace(PLAN, BASE).ok
    assert verify_trace(tmp_path / "plan.json", str(tmp_path / "trace.json")).ok
    report = verify_trace(PLAN, with_pass(0, guesses={}), cap=1)
    assert (report.counts, len(report.diagnostics)) == ({"DT103": 2}, 1)


def test_the_trace_of_another_plan() -> None:
    other = "sha256:" + "0" * 64
    report = verify_trace(PLAN, replace(BASE, plan=other))
    assert report.counts == {TRACE_DIGEST_CODE: 1}
    assert report.diagnostics[0].message == (
        f"expected plan={plan_digest(PLAN)}, the digest of the plan, got plan='{other}'."
    )
    another = verify_trace(compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1)), BASE)
    assert TRACE_DIGEST_CODE in another.counts
    assert another.errors > 1


def test_a_plan_that_is_not_valid() -> None:
    broken = replace(PLAN, target=np.where(PLAN.target == 3, 4, PLAN.target))
    with pytest.raises(InvalidPlanError, match=r"^expected a valid plan, got \d+ error\(s\), the first DP201: "):
        verify_trace(broken, BASE)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=re.escape("The trace comes second.")):
        verify_trace(PLAN, PLAN)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=re.escape("The plan comes first.")):
        verify_trace(BASE, PLAN)  # type: ignore[arg-type]
    with pytest.raises(DocumentError, match="cannot read"):
        verify_trace(PLAN, tmp_path / "none.json")
