"""The JSON Schema of traces: the committed copy, and what it says of documents."""

import json
from pathlib import Path

import jsonschema
import pytest

from diagplan.schemas.schema import document_schema, schema_text
from diagplan.schemas.trace import trace_to_json
from tests.support.invalid_traces import BASE, trace_cases

COMMITTED = Path(__file__).parents[2] / "schemas" / "trace.schema.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = document_schema("trace")
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_copy_is_the_models() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == schema_text("trace")
    assert json.loads(schema_text("trace")) == document_schema("trace")


def test_traces_satisfy_it_valid_or_not(validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(json.loads(trace_to_json(BASE)))
    for case in trace_cases():
        if case.code != "DT100":
            validator.validate(json.loads(trace_to_json(case.trace)))


@pytest.mark.parametrize(("key", "value"), [("surplus", 1), ("advance", "fastest"), ("width", 0), ("samples", [])])
def test_what_it_refuses(validator: jsonschema.Draft202012Validator, key: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(json.loads(trace_to_json(BASE)) | {key: value})
