"""The JSON Schemas of documents, generated from the pydantic models; the committed copies are those of ``NAMES``."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["NAMES", "document_schema", "plan_schema", "plan_schema_text", "schema_text"]

#: What there is a schema of, and the file in schemas/ that is its copy.
NAMES: Mapping[str, str] = {
    "plan": "plan.schema.json",
    "chain": "chain.schema.json",
    "trace": "trace.schema.json",
    "curve": "curve.schema.json",
    "speculation": "speculation.schema.json",
}


def document_schema(of: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the documents of version 1 of a kind in ``NAMES``."""
    from pydantic import BaseModel

    from diagplan.schemas.chain_document import ChainDocument
    from diagplan.schemas.curve import CurveDocument
    from diagplan.schemas.document import PlanDocument
    from diagplan.schemas.speculation import SpeculationDocument
    from diagplan.schemas.trace_document import TraceDocument

    kinds: dict[str, type[BaseModel]] = {
        "plan": PlanDocument,
        "chain": ChainDocument,
        "trace": TraceDocument,
        "curve": CurveDocument,
        "speculation": SpeculationDocument,
    }
    kind = kinds[of]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | kind.model_json_schema()


def plan_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a plan document of version 1."""
    return document_schema("plan")


def schema_text(of: str) -> str:
    """A schema as the text of its file."""
    return json.dumps(document_schema(of), indent=2) + "\n"


def plan_schema_text() -> str:
    """The schema as the text of plan.schema.json."""
    return schema_text("plan")
