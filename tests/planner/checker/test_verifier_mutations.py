"""Damaged plan documents: each is refused, or is proven to mean what the undamaged one means. No third outcome."""

import copy
import json
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.files import plan_from_json, plan_to_json
from diagplan.schemas.verify import verify_digest
from tests.support.claims import broken_claim, damaged
from tests.support.mutations import FEED_MUTATIONS, MUTATIONS, ROW_MUTATIONS, Document
from tests.support.semantics import Meaning, meaning
from tests.support.strategies import Request, plans

#: Damage that the rule form shows as well as explicit rows do. What the rule itself says is left alone: under another
#: rule the rows are others, and rightly so.
RULE_FORM = {*FEED_MUTATIONS, "cache: slots", "cache: trash", "max_width", "layout: regroup"}

#: Per kind of damage and verdict the number of mutants.
Tally = Counter[tuple[str, str]]
TWO_EDITS = "two edits"


def judge(mutant: Document, original: Meaning) -> str:
    """``"same"``, or the codes of what is wrong with a damaged document. Fails where it is neither."""
    try:
        plan = plan_from_json(json.dumps(mutant))
    except DocumentError:
        return "document"
    mutant["digest"] = plan_digest(plan)  # not to be caught by its digest alone
    report = verify_digest(verify_plan(plan), plan, mutant["digest"])
    if not report.ok:
        assert "DP601" not in report.counts
        return " ".join(sorted({d.code for d in report.diagnostics if d.severity == "error"}))
    assert meaning(mutant) == original, "accepted, though it means something else"
    broken = broken_claim(mutant)
    assert broken is None, f"accepted, but {broken}"
    return "same"


def judge_all(plan: Plan, seed: int) -> Tally:
    """The verdicts on one mutant of every kind and on some of two edits, in both forms of rows where it makes sense."""
    tally: Tally = Counter()
    document: Document = json.loads(plan_to_json(plan))
    original = meaning(document)
    random = Random(seed)
    single = [(kind,) for kind in MUTATIONS]
    double = [(random.choice([*FEED_MUTATIONS]), random.choice([*FEED_MUTATIONS, *ROW_MUTATIONS])) for _ in range(8)]
    for kinds in (*single, *double):
        for rule_form in (False, True) if RULE_FORM.issuperset(kinds) else (False,):
            mutant = damaged(document, kinds, Random(seed), rule_form=rule_form)
            if mutant is None:
                continue
            try:
                verdict = judge(mutant, original)
            except AssertionError as error:
                raise AssertionError(f"{kinds}, seed={seed}, rule_form={rule_form}: {error}") from None
            tally[kinds[0] if len(kinds) == 1 else TWO_EDITS, verdict] += 1
    return tally


@settings(max_examples=25)
@given(plans(frames=3, side=4), st.integers(0, 2**32))
def test_damage_is_refused_or_means_nothing(case: tuple[Request, Plan], seed: int) -> None:
    judge_all(case[1], seed)


@pytest.mark.slow
def test_search_for_damage_that_slips_through() -> None:
    tally: Tally = Counter()

    @given(plans(frames=3, side=4), st.integers(0, 2**32))
    def search(case: tuple[Request, Plan], seed: int) -> None:
        tally.update(judge_all(case[1], seed))

    search()
    print(f"\n{'mutation':24} {'document':>8} {'checker':>8} {'same':>8}   {tally.total()} mutants")
    for kind in (*MUTATIONS, TWO_EDITS):
        verdicts = Counter({verdict: count for (of, verdict), count in tally.items() if of == kind})
        checker = verdicts.total() - verdicts["document"] - verdicts["same"]
        print(f"{kind:24} {verdicts['document']:8} {checker:8} {verdicts['same']:8}")
        assert verdicts.total() > 0, kind
    # The search would be worth nothing if no damage were harmless, or if one rule caught it all.
    codes = {code for _, verdict in tally for code in verdict.split() if code.startswith("DP")}
    print(" ".join(sorted(codes)))
    assert sum(count for (_, verdict), count in tally.items() if verdict == "same") > 0


@given(plans(frames=2, side=3), st.integers(0, 2**32))
def test_slots_may_be_renamed(case: tuple[Request, Plan], seed: int) -> None:
    # Under causal visibility a slot is its position; everywhere else its number is but a name.
    request, plan = case
    document: Document = json.loads(plan_to_json(plan))
    mutant = damaged(document, ("rename slots",), Random(seed))
    if mutant is not None:
        verdict = judge(mutant, meaning(document))
        assert verdict == "same" or request.policies.visibility == "causal"


@given(plans(frames=2, side=3))
def test_a_plan_may_give_up_its_names(case: tuple[Request, Plan]) -> None:
    document: Document = json.loads(plan_to_json(case[1]))
    mutant = copy.deepcopy(document)
    blank = dict.fromkeys(("k", "d", "k_in_force", "d_in_force", "label", "order"))
    mutant["names"]["schedule"] = {"name": "custom", "steps": len(document["steps"])} | blank
    mutant["names"]["policies"] = {"proxy": "custom", "row_end": "custom"}
    assert judge(mutant, meaning(document)) == "same"
    mutant["masks"]["visibility"] = "listed"
    assert judge(mutant, meaning(document)) == "same"


def test_every_kind_of_mutation_has_one_place() -> None:
    assert not set(FEED_MUTATIONS) & set(ROW_MUTATIONS)
    assert set(MUTATIONS) >= RULE_FORM


def test_the_judge_sees_a_difference() -> None:
    # What the checker has to catch, were it blind: one visible slot less, one other source, one step later.
    plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
    document: Document = json.loads(plan_to_json(plan))
    original = meaning(document)
    for kind in ("row: one slot", "redirect source", "shift feed", "swap steps", "redirect position"):
        changed = [damaged(document, (kind,), Random(seed)) for seed in range(20)]
        assert any(mutant is not None and meaning(mutant) != original for mutant in changed), kind
