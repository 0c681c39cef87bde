"""The DAG of a plan: against the plan's columns read one by one, and the closed forms."""

import json
import re
from itertools import pairwise
from typing import Any

import networkx as nx
import pytest
from hypothesis import given

from diagplan.planner import graph as graphs
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.graph import levels, passes_needed, plan_graph
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, Imported, NextToken
from diagplan.schemas.files import plan_to_json
from tests.support.semantics import rule_rows
from tests.support.strategies import Request, compiled, plans, requests

Edge = tuple[int, int]


def feed_edges(plan: Plan) -> tuple[set[Edge], set[Edge]]:
    """Token and cache edges between feeds, read off the columns feed by feed."""
    rows = [row for of_step in rule_rows(json.loads(plan_to_json(plan, masks="rule"))) for row in of_step]
    chooser = {target: feed for feed, target in enumerate(plan.target.tolist()) if target >= 0}
    source, slot = plan.source.tolist(), plan.slot.tolist()
    tokens = {(chooser[source[i]], i) for i in range(plan.feeds) if source[i] in chooser}
    writer: dict[int, int] = {}  # cache slot -> the feed that wrote it last
    cache = set()
    for first, last in pairwise(plan.step_offsets.tolist()):
        writer.update((slot[i], i) for i in range(first, last))
        for i in range(first, last):
            if source[i] >= 0:
                cache |= {(writer[seen], i) for seen in rows[i] if seen in writer and writer[seen] != i}
    return tokens, cache


def nodes_of(graph: "nx.DiGraph[int]") -> dict[int, dict[str, Any]]:
    """The attributes of every node."""
    return {node: graph.nodes[node] for node in graph}


def edges_of(graph: "nx.DiGraph[int]", kind: str) -> set[Edge]:
    """The edges whose type names a kind."""
    return {(a, b) for a, b, data in graph.edges(data=True) if kind in data["type"].split("+")}


@given(plans(frames=3, side=4))
def test_nodes_are_the_columns_and_edges_the_dependencies(case: tuple[Request, Plan]) -> None:
    _, plan = case
    graph = plan_graph(plan)
    step = plan.feed_steps().tolist()
    columns = {name: getattr(plan, name).tolist() for name in ("source", "position", "slot", "target")}
    assert nodes_of(graph) == {
        i: {"step": step[i]} | {name: column[i] for name, column in columns.items()} for i in range(plan.feeds)
    }
    tokens, cache = feed_edges(plan)
    assert (edges_of(graph, "token"), edges_of(graph, "cache")) == (tokens, cache)
    assert {data["weight"] for *edge, data in graph.edges(data=True) if tuple(edge) in tokens} <= {1}
    assert {data["weight"] for *edge, data in graph.edges(data=True) if tuple(edge) not in tokens} <= {0}
    assert edges_of(plan_graph(plan, cache_edges=False), "token") == tokens
    assert not edges_of(plan_graph(plan, cache_edges=False), "cache")


@given(plans(frames=3, side=4))
def test_cache_edges_come_from_the_newest_write_not_later_than_the_reader(case: tuple[Request, Plan]) -> None:
    _, plan = case
    step, slot, position = plan.feed_steps().tolist(), plan.slot.tolist(), plan.position.tolist()
    readers: set[tuple[int, int]] = set()
    for writer, reader in edges_of(plan_graph(plan), "cache"):
        assert step[writer] <= step[reader]
        assert position[writer] <= position[reader]
        newer = [i for i in range(plan.feeds) if slot[i] == slot[writer] and step[writer] < step[i] <= step[reader]]
        assert not newer, (writer, reader)
        assert (slot[writer], reader) not in readers, "a reader sees a slot once"
        readers.add((slot[writer], reader))


@given(plans(frames=3, side=4))
def test_the_graph_has_no_circle_and_sources_are_ancestors(case: tuple[Request, Plan]) -> None:
    _, plan = case
    graph, tokens = plan_graph(plan), plan_graph(plan, "tokens")
    for one in (graph, tokens):
        # Edges of weight 0 may run within a step: acyclic, too, for positions rise along them.
        assert nx.is_directed_acyclic_graph(one)
    known = {target: i for i, target in enumerate(plan.target.tolist()) if target >= 0}
    step = plan.feed_steps().tolist()
    for i, (source, target) in enumerate(zip(plan.source.tolist(), plan.target.tolist(), strict=True)):
        if source in known:
            assert known[source] in nx.ancestors(graph, i)
            assert step[known[source]] < step[i]
        if target >= 0:
            assert source in nx.ancestors(tokens, target)


@given(plans(frames=3, side=4))
def test_the_token_graph_is_the_feed_graph_contracted(case: tuple[Request, Plan]) -> None:
    _, plan = case
    tokens = plan_graph(plan, "tokens")
    source, target, step = plan.source.tolist(), plan.target.tolist(), plan.feed_steps().tolist()
    given_slots = {slot: -1 for start, end in plan.given.tolist() for slot in range(start, end)}
    chosen = {target[i]: step[i] for i in range(plan.feeds) if target[i] >= 0}
    assert nodes_of(tokens) == {
        slot: {"given": slot in given_slots, "step": first} for slot, first in (given_slots | chosen).items()
    }
    fed = {(source[i], target[i]) for i in range(plan.feeds) if target[i] >= 0}
    seen = {(source[j], target[i]) for j, i in edges_of(plan_graph(plan), "cache") if target[i] >= 0}
    assert (edges_of(tokens, "token"), edges_of(tokens, "cache")) == (fed, seen)
    assert {data["weight"] for *_, data in tokens.edges(data=True)} == {1}
    without = plan_graph(plan, "tokens", cache_edges=False)
    assert (edges_of(without, "token"), edges_of(without, "cache")) == (fed, set())


def longest_path(graph: "nx.DiGraph[int]") -> int:
    """The most edges of weight 1 on any path, by repeated relaxation."""
    length = dict.fromkeys(graph, 0)
    for _ in range(len(graph)):
        better = {
            b: max(length[b], *(length[a] + graph.edges[a, b]["weight"] for a in graph.predecessors(b)))
            for b in graph
            if graph.in_degree(b)
        }
        if all(length[b] == now for b, now in better.items()):
            break
        length |= better
    return max(length.values())


@given(plans(frames=3, side=4))
def test_no_level_is_later_than_its_step(case: tuple[Request, Plan]) -> None:
    _, plan = case
    graph, tokens = plan_graph(plan), plan_graph(plan, "tokens")
    for one in (graph, tokens):
        assert all(level <= one.nodes[node]["step"] for node, level in levels(one).items())
    assert passes_needed(graph) == longest_path(graph) + 1 <= plan.steps
    assert passes_needed(tokens) == longest_path(tokens) <= plan.steps
    assert passes_needed(plan_graph(plan, cache_edges=False)) <= passes_needed(graph)


@given(requests(frames=3, side=5))
def test_levels_are_steps_where_a_closed_form_says_how_many(request: Request) -> None:
    if isinstance(request.schedule, Imported):
        request = Request(layout=request.layout, schedule=NextToken(), policies=request.policies)
    plan = compiled(request, max_width=None)
    graph, tokens = plan_graph(plan), plan_graph(plan, "tokens")
    level, token_level = levels(graph), levels(tokens)
    for i, (step, target) in enumerate(zip(plan.feed_steps().tolist(), plan.target.tolist(), strict=True)):
        if target >= 0:
            assert level[i] == token_level[target] == step, (i, target)
    assert passes_needed(graph) == passes_needed(tokens) == plan.steps == plan.schedule.steps


@given(requests(frames=2, side=4))
def test_lowering_keeps_what_depends_on_what(request: Request) -> None:
    """Slots and padding change names and add feeds that nothing depends on; the token graph stays."""
    bare = compiled(request, slots="position", pad=None)
    assert nx.utils.graphs_equal(plan_graph(compiled(request), "tokens"), plan_graph(bare, "tokens"))


PLAN = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), Diagonal(k=1))


def test_a_graph_by_hand() -> None:
    # Feeds (source, position, target): (0, 0, 1) | (1, 1, 2), (1, 2, 3) a proxy | (2, 2, -) again, (3, 3, 4).
    graph = plan_graph(PLAN)
    assert PLAN.source.tolist() == [0, 1, 1, 2, 3]
    assert {(a, b): (data["type"], data["weight"]) for a, b, data in graph.edges(data=True)} == {
        (0, 1): ("token+cache", 1),
        (0, 2): ("token+cache", 1),
        (1, 2): ("cache", 0),
        (0, 3): ("cache", 0),
        (1, 3): ("token+cache", 1),
        (0, 4): ("cache", 0),
        (1, 4): ("cache", 0),
        (2, 4): ("token", 1),
        (3, 4): ("cache", 0),
    }
    assert levels(graph) == {0: 0, 1: 1, 2: 1, 3: 2, 4: 2}
    assert levels(plan_graph(PLAN, "tokens")) == {0: -1, 1: 0, 2: 1, 3: 1, 4: 2}
    assert nx.utils.graphs_equal(PLAN.to_networkx("tokens"), plan_graph(PLAN, "tokens"))
    assert PLAN.to_networkx(cache_edges=False).number_of_edges() == 4


def test_nodes_are_feeds_or_tokens() -> None:
    message = "expected nodes to be 'feeds' or 'tokens', got nodes='steps'. Choose one of them."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        plan_graph(PLAN, "steps")  # type: ignore[arg-type]


def test_a_graph_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = plan_graph(PLAN).number_of_edges()
    token = edges_of(plan_graph(PLAN), "token")
    asked = len(token) + len(edges_of(plan_graph(PLAN), "cache"))
    monkeypatch.setattr(graphs, "MAX_EDGES", asked)
    assert plan_graph(PLAN).number_of_edges() == edges
    monkeypatch.setattr(graphs, "MAX_EDGES", asked - 1)
    message = f"expected a graph of at most {asked - 1} edges, got more by step 2 of 3. "
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        plan_graph(PLAN)
