"""What a damaged plan document must still be where the checker accepts it."""

import copy
import json
from dataclasses import asdict
from random import Random
from typing import Any

import numpy as np

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ScheduleRecord, ZipAR, record
from diagplan.schemas.files import plan_to_json
from tests.support.mutations import MUTATIONS, Document, forget_rows
from tests.support.semantics import meaning

__all__ = ["broken_claim", "damaged"]


def named_schedule(names: Document, layout: Layout) -> Schedule:
    """The schedule that a document names."""
    k: Any = names.get("k")
    d: Any = names.get("d")
    match names["name"]:
        case "next-token":
            return NextToken()
        case "diagonal":
            return Diagonal(k=k, d=d)
        case "zipar":
            return ZipAR(window=k)
        case "zipar-llamagen":
            return ZipAR(window=k, variant="llamagen")
        case _:
            grid = layout.frames, layout.rows, layout.cols
            return Imported(steps=np.array(names["order"]).reshape(grid))


def as_record(names: Document) -> ScheduleRecord:
    order = names.get("order")
    return ScheduleRecord(**names | {"order": None if order is None else tuple(order)})


def broken_claim(document: Document) -> str | None:
    """What a document's names claim and its facts are not; the compiler, asked for the same by name, is the judge."""
    names, masks = document["names"], document["masks"]
    policies = Policies(**names["policies"], visibility=masks["visibility"], proxy_kv=masks["proxy_kv"])
    if names["schedule"]["name"] == "custom":
        return None
    layout = Layout(**document["layout"])
    try:
        schedule = named_schedule(names["schedule"], layout)
        remembered = asdict(record(schedule, layout)) | {"label": names["schedule"].get("label")}
        if ScheduleRecord(**remembered) != as_record(names["schedule"]):
            return f"the schedule is not {remembered}"
        if "custom" in (policies.proxy, policies.row_end) or policies.visibility == "listed":
            return None
        plan = compile_plan(layout, schedule, policies, max_width=document["max_width"])
    except SpecError as error:
        return f"the compiler refuses what the names say: {error}"
    promised = meaning(json.loads(plan_to_json(plan)))
    return None if promised.steps == meaning(document).steps else "the steps are not those that the names promise"


def damaged(document: Document, kinds: tuple[str, ...], random: Random, *, rule_form: bool = False) -> Document | None:
    """A copy of a document with explicit rows, damaged in these ways; ``None`` where the edits changed nothing."""
    mutant = copy.deepcopy(document)
    for kind in kinds:
        MUTATIONS[kind](mutant, random)
    if mutant == document:
        return None
    if rule_form:
        forget_rows(mutant)
    return mutant
