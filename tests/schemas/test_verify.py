"""Plans, and files together with the digest that they state."""

import json
import re
from pathlib import Path

import pytest

from diagplan.planner.checker import Diagnostic, verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.files import plan_to_json, write_plan
from diagplan.schemas.verify import DIGEST_CODE, verify, verify_digest
from tests.support.documents import put, value_of
from tests.support.invalid_plans import changed

LAYOUT = Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=1)
PLAN = compile_plan(LAYOUT, Diagonal(k=1, d=2), max_width=4, pad=(2, 4))


def test_a_changed_fact_breaks_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    document = value_of(PLAN)
    document["max_width"] = 5
    path.write_text(json.dumps(document))
    report = verify(path)
    assert report.counts["DP601"] == 1
    assert not report.ok
    document["max_width"] = 4
    document["producer"] = {"name": "somebody else", "version": "0"}
    document["names"]["schedule"]["label"] = "Größe"
    path.write_text(json.dumps(document))
    assert verify(path).diagnostics == ()


def test_a_plan_and_its_file_get_the_same_report(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    kept = compile_plan(LAYOUT, Diagonal(k=1), Policies(row_end="keep"))
    for plan in (PLAN, kept, changed(2, source=0)):
        write_plan(plan, path)
        assert verify(path) == verify(str(path)) == verify(plan) == verify_plan(plan)
    write_plan(kept, path)
    assert verify(path, cap=1) == verify_plan(kept, cap=1) != verify_plan(kept)


def test_the_digest_is_asked_beside_all_other_rules(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    stated = "sha256:" + "0" * 64
    path.write_text(put("digest", stated, put("names.schedule.k_in_force", 2, plan_to_json(PLAN))))
    report = verify(path)
    assert dict(report.counts) == {"DP501": 1, DIGEST_CODE: 1}
    assert (report.errors, report.warnings) == (2, 0)
    assert report.diagnostics[-1] == Diagnostic(
        code="DP601",
        severity="error",
        step=None,
        feed=None,
        slot=None,
        message=f"expected digest={plan_digest(PLAN)} of the facts, got digest={stated}.",
        remedy="The file was changed after it was written. Compile it again; after a change on purpose write it anew.",
    )


def test_a_right_digest_adds_nothing() -> None:
    report = verify_plan(PLAN)
    assert verify_digest(report, PLAN, plan_digest(PLAN)) is report


def test_files_that_cannot_be_read_are_not_reported_on(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"^cannot read .+\. Check the name and the permissions\.$"):
        verify(tmp_path / "none.json")
    with pytest.raises(SpecError, match=re.escape("expected cap >= 1, got cap=0. Give a whole number >= 1.")):
        verify(PLAN, cap=0)
