"""The JSON Schemas of documents, made from the pydantic models; ``KIND.schema.json`` is the committed copy."""

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

__all__ = ["SCHEMAS", "document_schema", "document_schema_text", "plan_schema", "plan_schema_text"]

#: Kind of document -> the module and the name of its pydantic model.
SCHEMAS: Mapping[str, tuple[str, str]] = {
    "plan": ("diagplan.schemas.document", "PlanDocument"),
    "curve": ("diagplan.schemas.curve", "CurveDocument"),
}


def document_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of document, of version 1."""
    module, name = SCHEMAS[kind]
    model = getattr(import_module(module), name)
    schema: dict[str, Any] = model.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def document_schema_text(kind: str) -> str:
    """The schema as the text of its committed copy."""
    return json.dumps(document_schema(kind), indent=2) + "\n"


def plan_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a plan document of version 1."""
    return document_schema("plan")


def plan_schema_text() -> str:
    """The schema as the text of plan.schema.json."""
    return document_schema_text("plan")
