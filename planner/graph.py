"""The plan as a networkx graph of typed dependencies."""

from collections.abc import Iterator
from typing import Literal

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from diagplan.planner.columns import PlanColumns
from diagplan.planner.errors import SpecError
from diagplan.planner.masks import iter_masks
from diagplan.planner.shown import shown

__all__ = ["MAX_EDGES", "NodeKind", "levels", "passes_needed", "plan_graph"]

NodeKind = Literal["feeds", "tokens"]

#: The largest graph built, in edges: networkx takes some 400 bytes for each.
MAX_EDGES = 1_000_000

Pairs = NDArray[np.int64]


def plan_graph(plan: PlanColumns, nodes: NodeKind = "feeds", *, cache_edges: bool = True) -> "nx.DiGraph[int]":
    """The dependencies between feeds, or between tokens. Time and memory are linear in the number of edges.

    Feed graph: node i is feed i (attributes step, source, position, slot, target). An edge j -> i of type ``token``
    says that feed j chooses the token that feed i feeds: it needs a pass of its own, weight 1. An edge of type
    ``cache`` says that feed i sees the keys and values that feed j wrote, in the same pass or an earlier one,
    weight 0. Where both hold the type is ``token+cache``.

    Token graph: node t is the token of slot t (attributes step, given). An edge x -> t says that token x must be
    known before the pass that chooses t, weight 1: of type ``token`` if x is fed to choose t, ``cache`` if the query
    sees keys and values made from x.

    Args:
        plan: a valid plan.
        nodes: ``"feeds"`` or ``"tokens"``.
        cache_edges: whether to include edges of type ``cache``; there are about half as many as feeds times slots.

    Raises:
        SpecError: the graph would have more than ``MAX_EDGES`` edges.

    >>> from diagplan.planner.compiler import compile_plan
    >>> from diagplan.planner.layout import Layout
    >>> from diagplan.planner.schedule import Diagonal
    >>> passes_needed(plan_graph(compile_plan(Layout(frames=1, rows=3, cols=3, lead=1), Diagonal(k=1))))
    5
    """
    if nodes not in ("feeds", "tokens"):
        raise SpecError(f"expected nodes to be 'feeds' or 'tokens', got nodes={shown(nodes)}. Choose one of them.")
    graph: nx.DiGraph[int] = nx.DiGraph(nodes=nodes, steps=plan.steps)
    token = _token_edges(plan, nodes)
    cache = np.concatenate([token[:0], *_cache_edges(plan, nodes, len(token))]) if cache_edges else token[:0]
    if nodes == "feeds":
        columns = zip(
            plan.feed_steps().tolist(),
            *(getattr(plan, name).tolist() for name in ("source", "position", "slot", "target")),
            strict=True,
        )
        for i, (step, source, position, slot, target) in enumerate(columns):
            graph.add_node(i, step=step, source=source, position=position, slot=slot, target=target)
    else:
        chooses = plan.target >= 0
        graph.add_nodes_from(
            (slot, {"given": True, "step": -1}) for start, end in plan.given.tolist() for slot in range(start, end)
        )
        graph.add_nodes_from(
            (slot, {"given": False, "step": step})
            for slot, step in zip(plan.target[chooses].tolist(), plan.feed_steps()[chooses].tolist(), strict=True)
        )
    weight = 0 if nodes == "feeds" else 1
    graph.add_edges_from(((a, b) for a, b in cache.tolist()), type="cache", weight=weight)
    for a, b in token.tolist():
        graph.add_edge(a, b, type="token+cache" if graph.has_edge(a, b) else "token", weight=1)
    return graph


def _token_edges(plan: PlanColumns, nodes: NodeKind) -> Pairs:
    if nodes == "tokens":
        feed = np.flatnonzero(plan.target >= 0)
        return np.stack([plan.source[feed], plan.target[feed]], axis=1).astype(np.int64)
    chosen_by = np.full(plan.positions, -1, dtype=np.int64)
    chosen_by[plan.target[plan.target >= 0]] = np.flatnonzero(plan.target >= 0)
    chooser = np.where(plan.source >= 0, chosen_by[plan.source], -1)
    feed = np.flatnonzero(chooser >= 0)
    return np.stack([chooser[feed], feed], axis=1)


def _cache_edges(plan: PlanColumns, nodes: NodeKind, edges: int) -> Iterator[Pairs]:
    writer = np.full(plan.cache_slots, -1, dtype=np.int64)
    written = 0
    ends = plan.step_offsets[1:]
    for first, mask in iter_masks(plan):
        end = int(ends[np.searchsorted(ends, first, side="right")])
        writer[plan.slot[written:end]] = np.arange(written, end)
        written = end
        row, slot = np.nonzero(mask)
        reader, seen = row + first, writer[slot]
        keep = (seen >= 0) & (seen != reader) & (plan.source[reader] >= 0)
        pairs = np.stack([seen, reader], axis=1)
        if nodes == "tokens":
            keep &= plan.target[reader] >= 0
            pairs = np.stack([plan.source[seen], plan.target[reader]], axis=1).astype(np.int64)
        edges += int(np.count_nonzero(keep))
        if edges > MAX_EDGES:
            raise SpecError(
                f"expected a graph of at most {MAX_EDGES} edges, got more by step "
                f"{int(np.searchsorted(plan.step_offsets, first, side='right')) - 1} of {plan.steps}. Build it with "
                "cache_edges=False (--no-cache-edges), or compile a smaller grid or fewer frames."
            )
        yield pairs[keep]


def levels(graph: "nx.DiGraph[int]") -> dict[int, int]:
    """The first pass in which each node's dependencies allow it: its longest path from a source by weight.

    In a feed graph the first pass is 0; in a token graph a given token has level -1. For a plan of a named schedule
    without a width cap the levels of its queries are their steps.
    """
    level: dict[int, int] = {}
    first = 0 if graph.graph["nodes"] == "feeds" else -1
    for node in nx.topological_sort(graph):
        before = (level[other] + data["weight"] for other, _, data in graph.in_edges(node, data=True))
        level[node] = max(before, default=first)
    return level


def passes_needed(graph: "nx.DiGraph[int]") -> int:
    """The forward passes that the graph's dependencies call for: one more than the highest level."""
    return max(levels(graph).values()) + 1
