"""The JSON Schemas of plan and trace documents, generated from the pydantic models, with their committed copies."""

import json
from typing import Any

__all__ = ["plan_schema", "plan_schema_text", "trace_schema", "trace_schema_text"]

_DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def plan_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a plan document of version 1."""
    from diagplan.schemas.document import PlanDocument

    return _DIALECT | PlanDocument.model_json_schema()


def plan_schema_text() -> str:
    """The schema as the text of plan.schema.json."""
    return json.dumps(plan_schema(), indent=2) + "\n"


def trace_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a trace document of version 1."""
    from diagplan.schemas.trace_document import TraceDocument

    return _DIALECT | TraceDocument.model_json_schema()


def trace_schema_text() -> str:
    """The schema as the text of trace.schema.json."""
    return json.dumps(trace_schema(), indent=2) + "\n"
