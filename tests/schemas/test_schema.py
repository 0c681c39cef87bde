"""The JSON Schema of plan documents: the committed copy, and what it says of documents that diagplan reads."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given

from diagplan.planner.plan import Plan
from diagplan.schemas.schema import NAMES, document_schema, plan_schema, schema_text
from tests.support.documents import FORMS, RULE, put, value_of
from tests.support.strategies import Request, plans

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = plan_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("of", NAMES)
def test_the_committed_copies_are_the_models(of: str) -> None:
    assert (SCHEMAS / NAMES[of]).read_text(encoding="utf-8") == schema_text(of)
    assert json.loads(schema_text(of)) == document_schema(of)
    assert schema_text(of).endswith("}\n")


@given(plans(frames=2, side=3))
def test_every_plan_satisfies_it(validator: jsonschema.Draft202012Validator, case: tuple[Request, Plan]) -> None:
    for form in FORMS:
        validator.validate(value_of(case[1], form))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("surplus", 1),
        ("layout.depth", 1),
        ("version", 2),
        ("format", "onnx"),
        ("layout.rows", 0),
        ("layout.rows", "2"),
        ("positions", 2**24 + 1),
        ("cache.initial", "ones"),
        ("names.schedule.name", "spiral"),
        ("names.policies.proxy", "left"),
        ("steps", []),
        ("steps.0.source.0", -2),
        ("steps.0.position.0", 2**31),
        ("given.0", [1, 2, 3]),
        ("digest", "sha256:0"),
    ],
)
def test_what_the_models_refuse_by_themselves_it_refuses(
    validator: jsonschema.Draft202012Validator, path: str, value: object
) -> None:
    document = json.loads(put(path, value, RULE))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)
