"""Plan documents as JSON values, for tests that read, damage and compare them."""

import json
from collections.abc import Callable
from typing import Any

from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.convert import MaskForm
from diagplan.schemas.files import plan_to_json

__all__ = ["EXPLICIT", "FORMS", "RULE", "SMALL", "Document", "edited", "put", "value_of"]

Document = dict[str, Any]

#: The two forms in which mask rows are written.
FORMS: tuple[MaskForm, ...] = ("explicit", "rule")

#: A small plan that has a width cap and padding, and its text in both forms.
SMALL = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), Diagonal(k=1), max_width=3, pad=(2,))
EXPLICIT, RULE = plan_to_json(SMALL), plan_to_json(SMALL, masks="rule")


def value_of(plan: Plan, form: MaskForm = "explicit") -> Document:
    """The document of a plan."""
    document: Document = json.loads(plan_to_json(plan, masks=form))
    return document


def edited(edit: Callable[[Document], object], text: str = EXPLICIT) -> str:
    """The document of a text after a function has changed it."""
    document: Document = json.loads(text)
    edit(document)
    return json.dumps(document)


def put(path: str, value: object, text: str = EXPLICIT) -> str:
    """The document with one value set; the path is written with dots."""

    def edit(document: Document) -> None:
        holder: Any = document
        *first, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in first:
            holder = holder[key]
        holder[last] = value

    return edited(edit, text)
