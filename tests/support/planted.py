"""A small plan, and for every field of its header another value: differences to plant."""

from dataclasses import replace
from typing import Any

from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal

__all__ = ["COLUMNS", "HEADER", "PLAN"]

#: The feeds' columns.
COLUMNS = ("source", "position", "slot", "target")

PLAN = compile_plan(Layout(frames=2, rows=3, cols=3, lead=1), Diagonal(k=1), max_width=4)
HEADER: dict[str, Any] = {
    "layout": replace(PLAN.layout, between_rows=1),
    "schedule": replace(PLAN.schedule, label="another"),
    "policies": replace(PLAN.policies, proxy="latest"),
    "positions": PLAN.positions + 1,
    "given": PLAN.given + 1,
    "cache_slots": PLAN.cache_slots + 1,
    "cache_initial": "zeros",
    "trash_slot": PLAN.cache_slots - 1,
    "max_width": 5,
}
