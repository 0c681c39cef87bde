"""Plan to document and back: the two forms of mask rows, and the digest."""

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError, InvalidPlanError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan, same_plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal
from diagplan.schemas import convert
from diagplan.schemas.convert import MaskForm, plan_digest
from diagplan.schemas.files import plan_from_json, plan_to_json
from tests.support.documents import FORMS, value_of
from tests.support.invalid_plans import IN_ORDER, listing
from tests.support.semantics import meaning
from tests.support.strategies import Request, plans

LAYOUT = Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=1)
PLAN = compile_plan(LAYOUT, Diagonal(k=1, d=2), max_width=4, pad=(2, 4))


@given(plans(frames=3, side=4))
def test_both_forms_say_the_same(case: tuple[Request, Plan]) -> None:
    _, plan = case
    explicit, rule = value_of(plan), value_of(plan, "rule")
    assert meaning(explicit) == meaning(rule)
    assert explicit["digest"] == rule["digest"] == plan_digest(plan)
    assert explicit.keys() == rule.keys()


def test_rows_that_differ_from_the_rule_survive() -> None:
    for plan in (listing({1: [1, 2], 4: []}), listing({6: [0, 7]}, IN_ORDER), listing({3: [5, 2, 9, 9]})):
        for form in FORMS:
            back = plan_from_json(plan_to_json(plan, masks=form))
            assert same_plan(back, plan)
            assert plan_digest(back) == plan_digest(plan)
    # A row listed as the rule has it anyway is no exception: explicit rows do not keep it.
    redundant = listing({1: [0, 2]})
    assert len(plan_from_json(plan_to_json(redundant)).listed) == 0


def test_listed_visibility_keeps_every_row() -> None:
    document = value_of(PLAN)
    document["masks"]["visibility"] = "listed"
    back = plan_from_json(json.dumps(document))
    assert len(back.listed) == back.feeds
    assert meaning(value_of(back)) == meaning(value_of(PLAN))
    assert same_plan(plan_from_json(plan_to_json(back)), back)


def test_rows_that_nobody_has_listed_are_not_made_up() -> None:
    other = replace(PLAN, policies=replace(PLAN.policies, visibility="listed"))
    assert not verify_plan(other).ok  # DP407; written with a rule's rows it would verify
    message = (
        f"expected a listed row of every feed under visibility='listed', got 0 of {PLAN.feeds}. No rule says what "
    )
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}"):
        plan_to_json(other)
    assert plan_from_json(plan_to_json(other, masks="rule")) == other


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a JSON value that is no container."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from leaves(entry, (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from leaves(entry, (*path, index))
    else:
        yield path


def other_values(value: Any) -> tuple[Any, ...]:
    """Values of the same kind that the format may take in its place."""
    words = ("zeros", "undefined", "visible", "hidden", "written", "causal", "listed", "keep", "latest", "custom")
    if isinstance(value, str):
        return (*words, "1.0")
    return (value + 1, value - 1, None) if isinstance(value, int) else (1, 7)


@pytest.mark.parametrize("form", FORMS)
def test_digest_is_of_the_facts(form: MaskForm) -> None:
    document = value_of(PLAN, form)
    seen = {True: 0, False: 0}
    for path in leaves(document):
        *holders, last = path
        changed = copy.deepcopy(document)
        holder = changed
        for key in holders:
            holder = holder[key]
        old = holder[last]
        for new in other_values(old):
            if new == old:
                continue
            holder[last] = new
            try:
                digest = plan_digest(plan_from_json(json.dumps(changed)))
            except DocumentError:
                continue
            fact = path[0] not in ("producer", "names", "digest")
            assert (digest != document["digest"]) == fact, (path, new)
            seen[fact] += 1
    assert seen[True] > 150
    assert seen[False] > 10


def test_digest_by_hand() -> None:
    # The canonical form written out: keys sorted, no blanks, and nothing of producer and names.
    plan = compile_plan(Layout(frames=1, rows=1, cols=1, lead=1), Diagonal(k=1))
    facts = (
        '{"cache":{"initial":"undefined","slots":2,"trash":null},"format":"diagplan-plan","given":[[0,1]],'
        '"layout":{"between_frames":0,"between_rows":0,"cols":1,"frames":1,"lead":1,"prompt_frames":0,"rows":1},'
        '"masks":{"listed":[],"proxy_kv":"hidden","visibility":"written"},"max_width":null,"positions":2,'
        '"steps":[{"position":[0],"slot":[0],"source":[0],"target":[1]}],"version":1}'
    )
    assert plan_digest(plan) == "sha256:" + hashlib.sha256(facts.encode()).hexdigest()


def test_plans_too_long_for_explicit_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, explicit = plan_to_json(PLAN, masks="rule"), plan_to_json(PLAN)
    monkeypatch.setattr(convert, "MAX_EXPLICIT_BITS", PLAN.feeds * PLAN.cache_slots)
    assert plan_to_json(PLAN) == explicit
    monkeypatch.setattr(convert, "MAX_EXPLICIT_BITS", PLAN.feeds * PLAN.cache_slots - 1)
    assert plan_to_json(PLAN, masks="rule") == rule
    assert same_plan(plan_from_json(rule), PLAN)
    refused = pytest.raises(
        DocumentError, match=rf"^expected mask rows x cache slots <= \d+ and .*, got {PLAN.feeds} rows, "
    )
    with refused:
        plan_to_json(PLAN)
    with refused:
        plan_from_json(explicit)
    few = json.loads(rule)  # in rule form only the rows that are listed count
    few["masks"]["listed"] = [{"feed": 1, "runs": [1, 2]}]
    assert len(plan_from_json(json.dumps(few)).listed) == 1
    monkeypatch.setattr(convert, "MAX_EXPLICIT_BITS", 1 << 30)
    monkeypatch.setattr(convert, "MAX_EXPLICIT_ROWS", PLAN.feeds + PLAN.steps)
    assert plan_to_json(PLAN) == explicit
    monkeypatch.setattr(convert, "MAX_EXPLICIT_ROWS", PLAN.feeds + PLAN.steps - 1)
    with refused:
        plan_to_json(PLAN)
    with refused:
        plan_from_json(explicit)


@settings(max_examples=20)
@given(plans(frames=2, side=3))
def test_policies_that_name_no_rule_are_kept(case: tuple[Request, Plan]) -> None:
    policies = Policies(proxy="custom", row_end="custom", proxy_kv=case[1].policies.proxy_kv)
    plan = replace(case[1], policies=policies)
    for form in FORMS:
        assert same_plan(plan_from_json(plan_to_json(plan, masks=form)), plan)


@pytest.mark.parametrize("changes", [{"source": [0.5]}, {"layout": None}, {"cache_slots": 10**5000}, {"listed": "{x}"}])
def test_what_is_no_plan_has_no_document(changes: dict[str, Any]) -> None:
    plan = replace(compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), Diagonal(k=1)), **changes)
    for asked in (plan_digest, plan_to_json):
        with pytest.raises(InvalidPlanError, match=rf"^expected {next(iter(changes))} to be .* says all \(DP100\)\.$"):
            asked(plan)
