"""The plan: a static decode DAG as read-only integer columns. It does nothing; functions take it.

What feeds, steps and mask rows are is said in planner/columns.py, which those functions are written against.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from diagplan.planner.columns import CacheInitial, MaskRows, PlanColumns, well_formed
from diagplan.planner.errors import SpecError
from diagplan.planner.stats import PlanStats, plan_stats

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["CacheInitial", "MaskRows", "Plan", "same_plan", "well_formed"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Plan(PlanColumns):
    """A decoding plan: which tokens each step emits, from which proxy token and position, under which mask rows.

    Plans are values: equal where every field, column and listed row is, hashable, and picklable.

    Args:
        layout: the geometry; slots are numbered as there.
        schedule: name, delays and uncapped steps of the schedule, for people and for the checker.
        policies: how proxies and their cache slots are treated; ``visibility`` and ``proxy_kv`` are the mask rule.
        positions: slots of the sequence, given and generated.
        given: the given slots as sorted half-open runs, int32 [G, 2].
        step_offsets: the feeds of step s are ``step_offsets[s] : step_offsets[s + 1]``, int64 [S + 1].
        source, position, slot, target: per feed the slot of the token that goes in (-1: padding), the slot whose
            position embedding it has, the cache slot it writes, and the slot its logits choose (-1: none),
            int32 [N] each.
        cache_slots: cache slots the plan uses, numbered from 0, the trash slot included.
        cache_initial: what the cache holds before step 0: ``"undefined"`` or ``"zeros"``.
        trash_slot: the cache slot padding writes to, or ``None``.
        max_width: the declared largest width of a step (feeds less the prompt's), or ``None``.
        listed: the mask rows that differ from the rule.
    """

    def stats(self) -> PlanStats:
        """Counts, widths, cache use and speed-up in passes; see ``PlanStats``.

        >>> from diagplan import Diagonal, Layout, compile_plan
        >>> compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1)).stats().steps
        4
        """
        return plan_stats(self)

    def to_networkx(
        self, nodes: Literal["feeds", "tokens"] = "feeds", *, cache_edges: bool = True
    ) -> "nx.DiGraph[int]":
        """The plan as a graph of typed dependencies; see ``diagplan.planner.graph.plan_graph``.

        >>> from diagplan import Diagonal, Layout, compile_plan
        >>> plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
        >>> plan.to_networkx("tokens").number_of_nodes()
        7
        """
        from diagplan.planner.graph import plan_graph  # networkx is loaded by those who ask for a graph

        return plan_graph(self, nodes, cache_edges=cache_edges)

    def _repr_html_(self) -> str:
        """For notebooks: a small version of what ``diagplan.show`` makes; in words, where it is too large for that."""
        # NOTE: why by name? planner/ draws nothing and imports none of those that do; a notebook asks for this.
        from html import escape
        from importlib import import_module

        try:
            page: str = import_module("diagplan.drawing.explorer").show(self)._repr_html_()
        except SpecError as error:
            return f"<p>{escape(repr(self))}</p><p>{escape(str(error))}</p>"
        return page

    def __repr__(self) -> str:
        layout, schedule = self.layout, self.schedule
        delays = ", ".join(f"{key}={value}" for key in ("k", "d") if (value := getattr(schedule, key)) is not None)
        return (
            f"<Plan {schedule.label or schedule.name}({delays}) on {layout.frames} x {layout.rows} x {layout.cols}: "
            f"{self.steps} steps, {layout.tokens} tokens, {np.count_nonzero(self.source >= 0)} feeds>"
        )


def same_plan(a: Plan, b: Plan) -> bool:
    """Whether two plans agree in every field, column and listed row: ``a == b``."""
    return a == b
