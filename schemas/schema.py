"""The JSON Schema of plan documents, generated from the pydantic models; plan.schema.json is its committed copy."""

import json
from typing import Any

__all__ = ["plan_schema", "plan_schema_text"]


def plan_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a plan document of version 1."""
    from diagplan.schemas.document import PlanDocument

    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | PlanDocument.model_json_schema()


def plan_schema_text() -> str:
    """The schema as the text of plan.schema.json."""
    return json.dumps(plan_schema(), indent=2) + "\n"
