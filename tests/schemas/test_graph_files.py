"""Graph files, read back: by networkx, and DOT by a reader of its own."""

import json
import re
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import given

from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.graph import NodeKind, levels, plan_graph
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.graph_files import GRAPH_FORMATS, write_graph
from tests.support.strategies import Request, plans


def read_graphml(path: Path) -> "nx.DiGraph[int]":
    """By networkx; it adds the defaults of nodes and edges, which are empty."""
    graph = nx.read_graphml(path, node_type=int)
    assert isinstance(graph, nx.DiGraph)
    assert (graph.graph.pop("node_default"), graph.graph.pop("edge_default")) == ({}, {})
    return graph


def read_json(path: Path) -> "nx.DiGraph[int]":
    """By networkx."""
    graph = nx.node_link_graph(json.loads(path.read_text()), edges="edges")
    assert isinstance(graph, nx.DiGraph)
    return graph


def read_dot(path: Path) -> "nx.DiGraph[int]":
    """Line by line. DOT's attributes are texts: numbers and truth values are turned back."""

    def value(text: str) -> Any:
        return {"True": True, "False": False}[text] if text in ("True", "False") else _number(text)

    def attributes(text: str) -> dict[str, Any]:
        found = re.findall(r'(\w+)="([^"]*)"(?:, )?', text)
        assert ", ".join(f'{key}="{quoted}"' for key, quoted in found) == text
        return {key: value(quoted) for key, quoted in found}

    graph: nx.DiGraph[int] = nx.DiGraph()
    opening, *lines, closing = path.read_text().splitlines()
    assert (opening, closing) == ("digraph plan {", "}")
    for line in lines:
        match = re.fullmatch(r"  (graph|\d+)(?: -> (\d+))? \[(.*)\];", line)
        assert match, line
        if match[1] == "graph":
            graph.graph |= attributes(match[3])
        elif match[2] is None:
            graph.add_node(int(match[1]), **attributes(match[3]))
        else:
            assert {int(match[1]), int(match[2])} <= set(graph), "nodes come first"
            graph.add_edge(int(match[1]), int(match[2]), **attributes(match[3]))
    return graph


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


READERS = {".graphml": read_graphml, ".dot": read_dot, ".json": read_json}


def test_every_format_has_a_reader() -> None:
    assert READERS.keys() == set(GRAPH_FORMATS)


def typed(graph: "nx.DiGraph[int]") -> tuple[Any, ...]:
    """All that a graph holds, with the types of its values, in an order of its own."""
    return (
        sorted((key, repr(value)) for key, value in graph.graph.items()),
        sorted(
            (node, sorted((key, repr(value)) for key, value in data.items())) for node, data in graph.nodes(data=True)
        ),
        sorted(
            (a, b, sorted((key, repr(value)) for key, value in data.items())) for a, b, data in graph.edges(data=True)
        ),
    )


@pytest.mark.parametrize("suffix", GRAPH_FORMATS)
@pytest.mark.parametrize("nodes", ["feeds", "tokens"])
@given(case=plans(frames=2, side=3))
def test_a_graph_is_read_back(
    suffix: str, nodes: NodeKind, tmp_path_factory: pytest.TempPathFactory, case: tuple[Request, Plan]
) -> None:
    _, plan = case
    graph = plan_graph(plan, nodes)
    path = tmp_path_factory.getbasetemp() / f"graph{suffix}"
    write_graph(graph, path)
    back = READERS[suffix](path)
    assert back.is_directed()
    assert typed(back) == typed(graph)
    assert levels(back) == levels(graph)


GRAPH = plan_graph(compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), Diagonal(k=1)))


def test_dot_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "graph.dot"
    write_graph(GRAPH.subgraph([0, 1]), path)
    assert path.read_text().splitlines() == [
        "digraph plan {",
        '  graph [nodes="feeds", steps="3"];',
        '  0 [step="0", source="0", position="0", slot="0", target="1"];',
        '  1 [step="1", source="1", position="1", slot="1", target="2"];',
        '  0 -> 1 [type="token+cache", weight="1"];',
        "}",
    ]


@pytest.mark.parametrize("name", ["graph.png", "graph", "graph.json.gz"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    message = f"expected a name ending in .graphml, .dot, .json, got {name}. Choose one of them."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        write_graph(GRAPH, tmp_path / name)
    assert not list(tmp_path.iterdir())
