"""The chain document: what it holds, and what is refused before a chain is made of it."""

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from diagplan import Diagonal, Layout, chain_layouts, compile_chain
from diagplan.planner.errors import DocumentError
from diagplan.schemas.chain_files import any_document, chain_from_json, chain_to_json
from diagplan.schemas.files import plan_from_json, plan_to_json
from diagplan.schemas.schema import document_schema
from tests.support.documents import FORMS, put
from tests.support.strategies import chain_requests

GRID = Layout(frames=1, rows=2, cols=2, lead=3)
CHAIN = compile_chain(chain_layouts([GRID, GRID], 1), Diagonal(k=1))
TEXT = chain_to_json(CHAIN)


def test_a_complete_document() -> None:
    value = json.loads(TEXT)
    assert list(value) == ["format", "version", "producer", "kept", "digest", "plans"]
    assert (value["format"], value["version"], value["kept"]) == ("diagplan-chain", 1, [[], [[0, 6]]])
    assert value["plans"] == [json.loads(plan_to_json(plan)) for plan in CHAIN.plans]


@settings(max_examples=12)
@given(chain_requests())
def test_every_chain_satisfies_the_schema(request: dict[str, Any]) -> None:
    schema = document_schema("chain")
    jsonschema.Draft202012Validator.check_schema(schema)
    chain = compile_chain(**request)
    for form in FORMS:
        jsonschema.Draft202012Validator(schema).validate(json.loads(chain_to_json(chain, masks=form)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("surplus", 1, "1 problem(s): surplus: Extra inputs are not permitted"),
        ("version", 2, "expected version 1 in chain, got version=2."),
        ("format", "diagplan-plans", 'expected a chain document in chain, got JSON without "format": "diagplan-chain"'),
        ("kept", [[]], "expected runs kept for each of 2 plans, got 1"),
        ("kept", [[], [[0, 6, 7]]], "kept.1.0: List should have at most 2 items"),
        ("kept", [[], [[0, 6.0]]], "kept.1.0.1: Input should be a valid integer"),
        ("kept", [[], [[0, True]]], "kept.1.0.1: Input should be a valid integer"),
        ("kept", [[], [[-1, 6]]], "kept.1.0.0: Input should be greater than or equal to 0"),
        ("kept", [[], [[0, 2**31]]], "kept.1.0.1: Input should be less than or equal to 2147483647"),
        ("kept", {}, "kept: Input should be a valid list"),
        ("digest", "sha256:", "digest: String should match pattern"),
        ("plans", [], "plans: List should have at least 2 items"),
        ("plans.1.steps.0.target", [], "plans.1.steps.0: Value error, expected"),
        ("plans.0.layout.lead", 0, "the plan's layout is not valid: expected a given token before the first cell"),
        ("producer.name", "x" * 201, "producer.name: String should have at most 200 characters"),
    ],
)
def test_what_is_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(message)) as caught:
        chain_from_json(put(path, value, TEXT))
    assert len(str(caught.value)) < 700


def test_a_plan_is_no_chain_and_the_reverse() -> None:
    with pytest.raises(DocumentError, match=re.escape('expected a chain document in chain, got JSON without "format"')):
        chain_from_json(plan_to_json(CHAIN.plans[0]))
    with pytest.raises(DocumentError, match=r"expected one plan in x\.json, got a chain of plans\. read_chain"):
        plan_from_json(TEXT, name="x.json")
    assert any_document(TEXT).format == "diagplan-chain"
    assert any_document(plan_to_json(CHAIN.plans[0])).format == "diagplan-plan"
    with pytest.raises(DocumentError, match='expected a plan document in plan, got JSON without "format": "diagplan-p'):
        any_document("{}")
