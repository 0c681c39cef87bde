"""The checker: golden pairs of invalid plan and message, severities, caps, tiers, bundles, and its independence."""

import ast
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from diagplan.planner import checker
from diagplan.planner.checker import RULES, Diagnostic, verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import BUNDLES, Policies, bundle_schedule
from diagplan.planner.presets import PRESETS
from diagplan.planner.schedule import Diagonal, Imported
from diagplan.schemas.files import plan_to_json
from tests.support.invalid_plans import BASE, Case, cases, changed, listing, offsets
from tests.support.semantics import meaning, queries_of
from tests.support.strategies import Request, compiled, requests

CASES = list(cases())
BY_CODE = {rule.code: rule for rule in RULES}


@pytest.mark.parametrize("case", CASES, ids=[f"{case.code}-{i}" for i, case in enumerate(CASES)])
def test_golden_pair(case: Case) -> None:
    report = verify_plan(case.plan)
    found = [diagnostic for diagnostic in report.diagnostics if diagnostic.code == case.code]
    assert found[0] == Diagnostic(
        code=case.code,
        severity=case.severity,
        step=case.step,
        feed=case.feed,
        slot=case.slot,
        message=case.message,
        remedy=BY_CODE[case.code].remedy,
    )
    assert report.ok == (report.errors == 0)
    assert (report.errors if case.severity == "error" else report.warnings) >= 1
    if case.severity == "error":
        assert not report.ok


def test_the_base_of_the_golden_pairs_is_valid() -> None:
    assert verify_plan(BASE).diagnostics == ()
    rows = zip(BASE.source.tolist(), BASE.position.tolist(), BASE.target.tolist(), strict=True)
    assert list(rows) == [(0, 0, 1), (1, 1, 2), (1, 3, 4), (2, 2, 3), (4, 4, 5), (3, 3, -1), (5, 5, 6)]
    assert BASE.step_offsets.tolist() == [0, 1, 3, 5, 7]


def test_cap_and_counts() -> None:
    plan = compile_plan(Layout(frames=1, rows=5, cols=4, lead=1), Diagonal(k=1), Policies(row_end="keep"))
    whole = verify_plan(plan)
    assert dict(whole.counts) == {"DP304": 4}
    assert (whole.errors, whole.warnings, len(whole.diagnostics)) == (0, 4, 4)
    for cap in (1, 2, 3, 4, 9):
        report = verify_plan(plan, cap=cap)
        assert report.diagnostics == whole.diagnostics[:cap]
        assert (report.errors, report.warnings, dict(report.counts)) == (0, 4, {"DP304": 4})


def test_the_cap_is_for_each_rule() -> None:
    # Both texts of one rule share its cap; another rule has its own.
    broken = changed(2, changed(3, source=99, slot=99), target=99)
    report = verify_plan(broken, cap=2)
    assert dict(report.counts) == {"DP101": 3}
    assert [diagnostic.feed for diagnostic in report.diagnostics] == [3, 3]
    both = replace(changed(3, source=99), given=np.array([[0, 2]]))
    assert [diagnostic.code for diagnostic in verify_plan(both, cap=1).diagnostics] == ["DP101", "DP102"]


@pytest.mark.parametrize("cap", [0, -1, 1.5, None, True])
def test_cap_errors(cap: Any) -> None:
    with pytest.raises(SpecError, match=r"^expected cap "):
        verify_plan(BASE, cap=cap)


def test_a_tier_is_asked_only_if_those_before_found_no_error() -> None:
    # No cache, feed 3 out of range (tier 1), a step left empty (tier 2), a source that is not known (tier 3).
    tier_3 = changed(2, source=6)
    tier_2 = replace(tier_3, step_offsets=offsets(0, 1, 3, 3, 5, 7).step_offsets)
    tier_1 = changed(3, tier_2, slot=99)
    tier_0 = replace(tier_1, cache_slots=0)
    assert set(verify_plan(tier_0).counts) == {"DP100"}
    assert set(verify_plan(tier_1).counts) == {"DP101"}
    assert set(verify_plan(tier_2).counts) == {"DP103"}
    assert "DP204" in verify_plan(tier_3).counts


def test_warnings_do_not_stop_a_tier() -> None:
    # A warning of the last tier beside an error of it.
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1), Policies(row_end="keep"))
    report = verify_plan(listing({1: [1, 2]}, plan))
    assert set(report.counts) == {"DP304", "DP406"}
    assert (report.errors, report.warnings) == (1, 1)


def test_diagnostics_come_in_the_order_of_the_rules() -> None:
    report = verify_plan(replace(changed(2, source=6), max_width=1))
    codes = [diagnostic.code for diagnostic in report.diagnostics]
    assert codes == sorted(codes)
    assert len(set(codes)) > 2


@given(requests(frames=3, side=5))
def test_our_own_bundle_has_no_diagnostics(request: Request) -> None:
    # A cap may cut the last step of an imported order; what came in that step is refreshed no more.
    width = None if isinstance(request.schedule, Imported) else request.max_width
    plan = compiled(request, policies=BUNDLES["default"], max_width=width)
    assert verify_plan(plan).diagnostics == ()


def test_a_proxy_of_a_token_that_comes_last_is_not_kept() -> None:
    layout = Layout(frames=1, rows=1, cols=3, lead=1)
    plan = compile_plan(layout, Imported(steps=[[0, 1, 1]]))
    assert plan.source.tolist() == [0, 1, 1]
    assert verify_plan(plan).diagnostics == ()
    capped = compile_plan(layout, Imported(steps=[[0, 1, 1]]), max_width=1)
    assert dict(verify_plan(capped).counts) == {"DP304": 1}


def reads_of_unwritten_slots(plan: Any) -> int:
    """Queries that see a slot nobody has written, counted by slow interpretation."""
    said = meaning(json.loads(plan_to_json(plan)))
    return sum(query.unwritten > 0 for _, query in queries_of(said))


@pytest.mark.parametrize(
    ("bundle", "proxies", "left_out"),
    [
        # 14 x 24, k = 2: 13 of a frame's 336 cache slots keep the values of a proxy, one for each row but the first.
        ("mineworld-image", 3 * 13, 0),
        # Stacked rows: the last token of every frame but the last is never fed at all.
        ("mineworld-video", 3 * 13, 2),
    ],
)
def test_mineworld_warnings(bundle: str, proxies: int, left_out: int) -> None:
    layout = replace(PRESETS["mc-ar"].layout, frames=3)
    plan = compile_plan(layout, bundle_schedule(bundle, layout, 2), BUNDLES[bundle])
    report = verify_plan(plan)
    assert report.ok
    assert report.counts["DP304"] == proxies
    assert report.counts.get("DP305", 0) == left_out
    assert report.counts["DP303"] == reads_of_unwritten_slots(plan) > 0
    assert set(report.counts) <= {"DP303", "DP304", "DP305"}
    assert report.warnings == sum(report.counts.values())
    assert {diagnostic.severity for diagnostic in report.diagnostics} == {"warning"}
    kept = Counter((plan.position[plan.source != plan.position] - layout.first_generated) // layout.frame_stride)
    assert kept == {0: 13, 1: 13, 2: 13}


def test_zipar_warnings() -> None:
    layout = Layout(frames=2, rows=4, cols=4, lead=1)
    plan = compile_plan(layout, bundle_schedule("zipar-llamagen", layout, 2), BUNDLES["zipar-llamagen"])
    report = verify_plan(plan)
    assert report.ok
    assert dict(report.counts) == {"DP303": reads_of_unwritten_slots(plan)}


# What the checker may take from the rest of the planner: inert data, the border's errors, the closed forms.
MAY_IMPORT = {
    "diagplan.planner.chain.Chain",
    "diagplan.planner.chain.MAX_PLANS",
    "diagplan.planner.errors",
    "diagplan.planner.formulas",
    "diagplan.planner.layout.Layout",
    "diagplan.planner.layout.require_int",
    "diagplan.planner.plan.CacheInitial",
    "diagplan.planner.plan.MaskRows",
    "diagplan.planner.plan.Plan",
    "diagplan.planner.policy.Policies",
    "diagplan.planner.schedule.MAX_LABEL",
    "diagplan.planner.schedule.ScheduleName",
    "diagplan.planner.schedule.ScheduleRecord",
    "diagplan.planner.shown.shown",
}
#: Methods of a layout that the compiler computes with: the checker has its own arithmetic for them.
COMPILERS_OWN = {"cell_slots", "given_runs", "first_generated", "row_stride", "frame_stride"}


def test_the_checker_shares_no_code_with_the_compiler() -> None:
    files = sorted(Path(checker.__file__).parent.glob("*.py"))
    assert len(files) > 5
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute):
                assert node.attr not in COMPILERS_OWN, f"{path.name} uses {node.attr}"
            for name in names:
                inside = name.startswith("diagplan.planner.checker.") or not name.startswith("diagplan")
                assert inside or name in MAY_IMPORT, f"{path.name} imports {name}"
                assert name.split(".")[0] not in {"planner", "importlib"}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"__import__", "eval", "exec"}
