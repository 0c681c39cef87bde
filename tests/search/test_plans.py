"""The search over damaged plans: it finds what is planted, and nothing else."""

import json
from random import Random

import pytest

pytest.importorskip("torch")

from diagplan import Diagonal, Layout, compile_plan
from diagplan.planner.checker.diagnostics import Verification
from diagplan.schemas.files import plan_to_json
from tests.search import plans
from tests.search.bounded import EXAMPLES, SEED
from tests.search.guard import Different, search
from tests.search.plans import judge_mutant, judge_plans, plan_of, require_agreement
from tests.support.hash_model import NumpyHashModel
from tests.support.semantics import meaning

PLAN = compile_plan(Layout(frames=2, rows=2, cols=3, lead=2), Diagonal(k=1), pad=(1, 2, 4))
DOCUMENT = json.loads(plan_to_json(PLAN))


def test_a_document_is_the_plan_it_came_from() -> None:
    assert plan_of(DOCUMENT, listed=False) == PLAN
    listed = plan_of(DOCUMENT, listed=True)
    assert len(listed.listed) == PLAN.feeds
    assert meaning(json.loads(plan_to_json(listed))) == meaning(DOCUMENT)


def test_executors_that_disagree_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    require_agreement(PLAN, Random(1))
    right = NumpyHashModel.forward
    monkeypatch.setattr(
        NumpyHashModel,
        "forward",
        lambda self, ids, position, slot, mask, cache, rows=None: right(
            self, ids, position, slot, mask | 1, cache, rows
        ),
    )
    with pytest.raises(Different, match=r"tokens by NumPy"):
        require_agreement(PLAN, Random(1))


def test_a_blind_checker_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = Verification(diagnostics=(), counts={}, errors=0, warnings=0)
    monkeypatch.setattr(plans, "verify_plan", lambda *_, **__: blind)
    for kind in ("row: one slot", "redirect source", "shift feed", "swap steps"):
        with pytest.raises(Different, match="accepted, though it means something else"):
            [judge_mutant(DOCUMENT, meaning(DOCUMENT), (kind,), Random(seed)) for seed in range(20)]


@pytest.mark.slow
def test_search_for_plans_that_are_accepted_and_wrong() -> None:
    row = search("plans in memory", judge_plans, 20 * EXAMPLES, SEED)
    assert row.clean, row.findings
    assert 0 < row.accepted < row.inputs
